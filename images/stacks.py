"""Stacks: what is put into an image, from which source at which revision. Data, a file each in `stacks/`."""

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from infra import border
from infra.errors import UsageError

FOLDER = Path(__file__).parent / "stacks"

Flavour = Literal["cpu", "cuda"]


class Stack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stack.

    What it can stand on: `flavours`, base `kinds`, `distributions`, `rows` and CUDA from `cuda_first` to `cuda_last`
    (empty or None: any); `because` says why no other; `prefers` are distributions, best first. `revision` is the
    commit of `source`, `licence` that of its code (as SPDX writes it; empty: none of others'). `settings` are the
    source's own build options. `files` (out of `context/`) and what the templates in `rendered` give are handed to
    docker. `packages` are exact versions of packages; `hashes`, a file in `hashes/`, has the checksums of Python's.
    `leave_out` are paths that are not unpacked (dpkg's patterns). `checks` are names out of `images.check`,
    `gpu_checks` those for hosts with a GPU. `own_source` are packages of ours that go in, as they are here.
    `stop_signal` makes the program save its work and end.
    """

    about: str
    source: str
    revision: str
    flavours: tuple[Flavour, ...]
    kinds: tuple[str, ...]
    because: str
    template: str
    environment: dict[str, str]
    stop_signal: str
    checks: tuple[str, ...]
    gpu_checks: tuple[str, ...] = ()
    licence: str = ""
    rows: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    prefers: tuple[str, ...] = ()
    cuda_first: str | None = None
    cuda_last: str | None = None
    patched: bool = False
    settings: dict[str, str] = {}
    packages: dict[str, str] = {}
    hashes: str = ""
    leave_out: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    own_source: tuple[str, ...] = ()
    rendered: tuple[str, ...] = ()
    name: str = ""


def load(folder: Path = FOLDER) -> dict[str, Stack]:
    """Stacks by name, sorted. UsageError with file and key path where one is wrong."""
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise UsageError(f"{folder} holds no stacks", "each stack is a file NAME.yaml")
    return {path.stem: msgspec.structs.replace(border.load_yaml(path, Stack), name=path.stem) for path in paths}


@cache
def stacks() -> dict[str, Stack]:
    """Our own stacks, by name."""
    return load()
