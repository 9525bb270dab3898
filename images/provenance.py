"""Where an image comes from: an in-toto statement with SLSA's provenance, version 1 (https://slsa.dev/spec/v1.0/provenance).

It is not signed: whoever passes the image on signs it (cosign attest takes the predicate as it is). The kind of build
and the builder are names of ours, not addresses: there is no place where they could be looked up.
"""

import json
import re
from typing import Any

from images.made import Made

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:provision:image-build:1"
BUILDER = "urn:provision:builder:buildkit"


def statement(made: Made, versions: dict[str, str]) -> dict[str, Any]:
    """The statement as it is written. `versions` are those of the builder's parts."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": made.image.tag, "digest": {"sha256": made.sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _asked(made),
                "internalParameters": _followed(made),
                "resolvedDependencies": [*_bases(made), *_source(made), *_wheels(made)],
            },
            "runDetails": {"builder": {"id": BUILDER, "version": versions}, "metadata": _times(made)},
        },
    }


def text(made: Made, versions: dict[str, str]) -> str:
    return json.dumps(statement(made, versions), indent=2, sort_keys=True) + "\n"


def _asked(made: Made) -> dict[str, Any]:
    """What the user asked for."""
    source = made.order.source
    return {
        "target": made.image.target.name,
        "stage": made.image.stage,
        "source": {"kind": source.kind, "url": source.url or made.image.target.stack.source, "revision": made.revision},
        "locked": made.context.lock is not None,
    }


def _followed(made: Made) -> dict[str, Any]:
    """What followed from that."""
    row, lock = made.image.target.variant, made.context.lock
    found: dict[str, Any] = {"context": made.context.hash, "row": row.id, "patches": list(made.patches)}
    if lock is not None:
        found |= {"SOURCE_DATE_EPOCH": lock.epoch, "snapshot": lock.snapshot, "lockDate": lock.date}
    return found


def _bases(made: Made) -> list[dict[str, Any]]:
    found = []
    for reference, pin in made.bases.items():
        name = reference.partition("@")[0]
        sha256 = (pin.digest or pin.made_here or "").removeprefix("sha256:")
        base = {"name": name, "uri": f"docker://{name}", "digest": {"sha256": sha256}}
        found.append(base if pin.digest else {**base, "annotations": {"madeHere": True}})
    return found


def _source(made: Made) -> list[dict[str, Any]]:
    """The tree that was compiled: by its commit, and by the SHA-256 of the tar that was handed in."""
    stack = made.image.target.stack
    if not made.is_compiled:
        return []
    commit = {"gitCommit": made.revision} if re.fullmatch("[0-9a-f]{40}", made.revision) else {}
    tree = {"sha256": made.tree_sha256} if made.tree_sha256 else {}
    url = made.order.source.url or stack.source
    return [{"name": stack.name, "uri": f"git+{url}@{made.revision}", "digest": {**commit, **tree}}]


def _wheels(made: Made) -> list[dict[str, Any]]:
    """Each file that pip may take; of a package with several it takes the one that fits best."""
    return [
        {
            "name": f"{wheel.name}=={wheel.version}",
            "uri": f"pkg:pypi/{wheel.name}@{wheel.version}",
            "digest": {"sha256": sha256},
        }
        for wheel in made.wheels
        for sha256 in wheel.sha256
    ]


def _times(made: Made) -> dict[str, str]:
    found = {"invocationId": f"{made.image.tag}@{made.image.digest}"}
    for name, moment in (("startedOn", made.begun), ("finishedOn", made.ended)):
        if moment is not None:
            found[name] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    return found
