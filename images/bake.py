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
from types import MappingProxyType
from typing import Any

from images.build import LABEL, Order, Stage, hash_of, stage_in, tag_of
from images.render import Context
from images.source import PINNED, Source
from infra.buildx import PLATFORM
from infra.disk import writing

NAME = "docker-bake.json"
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Baked:
    """One target of the file: a context, how it is built, and its folder beside the file."""

    context: Context
    order: Order
    folder: str


def bake_file(baked: Sequence[Baked], secrets: Mapping[str, str] = NONE) -> str:
    """The text of docker-bake.json. `secrets`: id → where bake finds the secret, `src=PATH` or `env=NAME`.

    The group `default` holds all targets; each stack has a group of its own.
    """
    targets: dict[str, Any] = {}
    groups: dict[str, list[str]] = {"default": []}
    for item in baked:
        name = key(item.context.target.name)
        targets[name] = target(item, secrets)
        groups["default"].append(name)
        groups.setdefault(key(item.context.target.stack.name), []).append(name)
    whole = {"group": {name: {"targets": found} for name, found in groups.items()}, "target": targets}
    return json.dumps(whole, indent=2, sort_keys=True) + "\n"


def target(baked: Baked, secrets: Mapping[str, str] = NONE) -> dict[str, Any]:
    """One target of docker-bake.json, as a value for JSON."""
    made: dict[str, Any] = {
        "context": baked.folder,
        "dockerfile": "Dockerfile",
        "tags": [tag_of(baked.context, baked.order)],
        "platforms": [PLATFORM],
        "labels": {LABEL: hash_of(baked.context, baked.order)},
        "output": ["type=docker"],
    }
    if arguments := baked.order.source.arguments:
        made["args"] = arguments
    if stage := stage_in(baked.context, baked.order):
        made["target"] = stage
    if secret := [f"id={name},{where}" for name, where in sorted(secrets.items())]:
        made["secret"] = secret
    return made


def key(name: str) -> str:
    """The name with only those characters that bake allows: letters, digits, _ and -."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def write(
    contexts: Sequence[Context], out: Path, stage: Stage, secrets: Mapping[str, str], sources: Mapping[str, Source]
) -> Path:
    """Write all contexts and docker-bake.json into `out`; `sources` are by stack. Gives the file's path.

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
