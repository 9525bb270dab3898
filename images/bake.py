"""docker-bake.json: many images in one call of `docker buildx bake`, with the tags and labels of `image build`.

Contexts lie beside the file, each in STACK/ROW or STACK/ROW@GPU,GPU. Its paths are relative: bake reads them from
where it is called.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images.build import LABEL, Order, Stage, hash_of, stage_in, tag_of
from images.render import Context
from images.source import PINNED, Source
from infra.buildx import PLATFORM
from infra.disk import writing

NAME = "docker-bake.json"


@dataclass(frozen=True)
class Baked:
    """One target of the file: a context, how it is built, and its folder beside the file."""

    context: Context
    order: Order
    folder: str


def bake_file(baked: Sequence[Baked], secrets: Sequence[str] = ()) -> str:
    """The text of docker-bake.json; `secrets` are names of files in secrets/.

    Groups: `default` is all, and one for each stack.
    """
    targets: dict[str, Any] = {}
    groups: dict[str, list[str]] = {"default": []}
    for one in baked:
        name = key(one.context.target.name)
        targets[name] = target(one, secrets)
        groups["default"].append(name)
        groups.setdefault(key(one.context.target.stack.name), []).append(name)
    whole = {"group": {name: {"targets": found} for name, found in groups.items()}, "target": targets}
    return json.dumps(whole, indent=2, sort_keys=True) + "\n"


def target(one: Baked, secrets: Sequence[str] = ()) -> dict[str, Any]:
    """One target of the file."""
    made: dict[str, Any] = {
        "context": one.folder,
        "dockerfile": "Dockerfile",
        "tags": [tag_of(one.context, one.order)],
        "platforms": [PLATFORM],
        "labels": {LABEL: hash_of(one.context, one.order)},
        "output": ["type=docker"],
    }
    if arguments := one.order.source.arguments:
        made["args"] = arguments
    if stage := stage_in(one.context, one.order):
        made["target"] = stage
    if secret := [f"id={name},src=secrets/{name}" for name in sorted(secrets)]:
        made["secret"] = secret
    return made


def key(name: str) -> str:
    """A name as bake takes it: letters, digits, _ and -."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def write(
    contexts: Sequence[Context], out: Path, stage: Stage, secrets: Sequence[str], sources: Mapping[str, Source]
) -> Path:
    """Write all contexts and docker-bake.json into `out`; `sources` are by stack. The path of that file.

    DiskError or UsageError where `out` cannot be written.
    """
    baked = []
    for context in contexts:
        order = Order(sources.get(context.target.stack.name, PINNED), stage)
        folder = context.write(out)
        if order.source.tar is not None:
            with writing(folder):
                shutil.copyfile(order.source.tar, folder / "source.tar")
        baked.append(Baked(context, order, folder.relative_to(out).as_posix()))
    path = out / NAME
    with writing(path):
        path.write_text(bake_file(baked, secrets), encoding="utf-8")
    return path
