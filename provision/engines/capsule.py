"""The capsule: all that a machine needs to begin any attempt of a run by itself, with no laptop.

It is made once, when the run is handed over, and lies beside the run's manifest as capsules/SHA256.json. The machine
takes it by that sum, which stands in the user data: nobody who may write the bucket can put other code in its place,
and who begins the same run at the same time, and comes too late, leaves it as it is. What changes from one attempt to
the next is not in it: the attempt's number, the GPUs, the snapshot that it goes on from.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from infra import containers, ecr_name
from infra.aws import ecr
from infra.aws.regions import s3_endpoint
from infra.aws.s3 import S3, parse
from infra.aws.session import Cloud
from infra.errors import UsageError
from provision.engines import container, proofs
from provision.hosts import image
from provision.runs import copies, inputs, weights
from provision.runs.manifest import Attempt, Manifest, Source
from provision.runs.store import Run

VERSION = 1
SNAPSHOT = "@SNAPSHOT@"  # stands for the stem of the snapshot in the words that go on from one
IMAGES = "images/"
NO_SUMS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Capsule:
    """The capsule as JSON values; `text` is what lies in S3, `digest` its sha256 in hex."""

    plain: Mapping[str, Any]

    @property
    def text(self) -> bytes:
        return json.dumps(self.plain, sort_keys=True, separators=(",", ":")).encode()

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text).hexdigest()

    @property
    def name(self) -> str:
        """Where it lies in the run's folder."""
        return f"capsules/{self.digest}.json"


def compose(
    run: Run, name: str, chosen: Sequence[tuple[int, int]] = (), index: str = "", sums: Mapping[str, str] = NO_SUMS
) -> Capsule:
    """The capsule of a run whose machines have that name. `chosen` are the numbers of attempts that went on from an
    earlier snapshot by choice, each with the iteration of it. `index`: the sha256 of the image's index where this
    laptop vouches for it; else a machine takes the image by its id alone. `sums`: by kind, the sha256 of the index of
    the run's copy of its data or code, so that a machine takes these files and no others.

    UsageError for trained weights of which no sum is known yet: a machine by itself can ask nobody. RunError for an
    image on GPUs whose GPUs nothing of ours can count.
    """
    manifest = run.manifest
    rendered, plain = manifest.rendered, container.spec(manifest, ())
    return Capsule(
        {
            "version": VERSION,
            "id": run.id,
            "name": name,
            "image": _image(run.store.cloud, manifest, index),
            "files": {"log/": "", "snapshots/": "", **rendered.files},
            "inputs": _inputs(run, sums),
            "weights": _weights(manifest),
            "container": {
                "flags": containers.plain_flags(plain),
                "image": manifest.image,
                "command": list(rendered.command),
                "resumed": list(rendered.resumed(SNAPSHOT)),
                "environment": containers.environment(plain),
            },
            "gpus": manifest.gpus,
            "proof": _proof(manifest),
            "plan": _plan(run, name),
            "chosen": [list(pair) for pair in chosen],
            "stem": {
                "pattern": manifest.recipe.snapshots.pattern,
                "parts": list(manifest.recipe.snapshots.parts),
            },
        }
    )


def chosen_of(attempts: Sequence[Attempt]) -> list[tuple[int, int]]:
    """The attempts that went on by choice from an earlier snapshot, as `compose` takes them."""
    return [(attempt.number, attempt.resumed_from) for attempt in attempts if attempt.chosen]


def is_pulled(image: str) -> bool:
    """Whether a machine fetches the image from a registry by itself: it is named with its digest there."""
    return "@sha256:" in image


def index_key(digest: str) -> str:
    """Where the index of the image of that id (sha256:HEX) lies in the account's bucket."""
    return f"{IMAGES}sha256/{digest.removeprefix('sha256:')}.json"


def refuse_unpinned(manifest: Manifest) -> None:
    """UsageError for trained weights of which no sum is known yet."""
    for file in manifest.rendered.weights:
        if not file.sha1 and not weights.expected(file, manifest.weights)[0]:
            raise UsageError(
                f"no sum is known yet of the trained weights {file.file}, and a machine that nobody watches takes no "
                "file unseen",
                f"train once without --detach, which pins them; or put their sha256 into {weights.pins_path()}",
            )


def _image(cloud: Cloud, manifest: Manifest, index: str) -> dict[str, Any]:
    if is_pulled(manifest.image):
        named = ecr_name.parse(manifest.image)
        asks = (
            {"host": named.host, "region": named.region, "endpoint": ecr.endpoint(cloud, named.region)} if named else {}
        )
        return {"id": "", "tag": manifest.image, "pull": manifest.image, **({"login": asks} if asks else {})}
    vouched = {"sum": index} if index else {}
    return {"id": manifest.digest, "tag": manifest.image, "index": index_key(manifest.digest), **vouched}


def sums_of(run: Run) -> dict[str, str]:
    """The sums of the indexes of the run's copies in S3, for `compose`."""
    found = {kind: copies.sum_of(run, kind) for kind in copies.KINDS if copies.source(run.manifest, kind).kind}
    return {kind: known for kind, known in found.items() if known}


def _inputs(run: Run, sums: Mapping[str, str]) -> list[dict[str, str]]:
    wishes = (("data", run.manifest.data, ""), ("project", run.manifest.project, inputs.code_folder(run.id)))
    return [_input(run, kind, source, copy, sums.get(kind, "")) for kind, source, copy in wishes if source.kind]


def _input(run: Run, kind: str, source: Source, copy: str, digest: str) -> dict[str, str]:
    """Where a machine finds the data or code: in the user's own prefix, or in the run's copy, of that index."""
    store, prefix, region = run.store, copies.below(run, kind), ""
    if source.kind == "s3":
        place = parse(source.value)
        store, prefix, digest = S3(run.store.cloud, place.bucket, source.owner), place.prefix, ""
        region = store.region()
    return {
        "kind": kind, "bucket": store.bucket, "owner": store.owner, "prefix": prefix, "folder": source.folder,
        "copy": copy, "sum": digest, **_elsewhere(run.store.cloud, store.bucket, region),
    }  # fmt: skip


def _elsewhere(cloud: Cloud, bucket: str, region: str) -> dict[str, str]:
    """The region of data that is not in the run's, and S3's address there: in China the guard knows none by itself."""
    if region in ("", cloud.region):
        return {"region": "", "endpoint": ""}
    return {"region": region, "endpoint": s3_endpoint(replace(cloud, region=region), bucket)}


def _weights(manifest: Manifest) -> list[dict[str, Any]]:
    refuse_unpinned(manifest)
    return weights.asked(manifest.rendered.weights, manifest.weights)


def _proof(manifest: Manifest) -> dict[str, Any] | None:
    target = image.target_of(manifest.stack)
    if not manifest.gpus or not target.variant.cuda:
        return None
    proof = proofs.of(target)
    return {"words": list(proof.words), "found": proof.found, "counts": proof.counts}


def _plan(run: Run, name: str) -> dict[str, object]:
    store = run.store
    return {
        **container.guard_plan(run.manifest), "bucket": store.bucket, "prefix": run.prefix,
        "region": store.cloud.region, "endpoint": s3_endpoint(store.cloud, store.bucket), "owner": store.owner,
        "machine": name,
    }  # fmt: skip
