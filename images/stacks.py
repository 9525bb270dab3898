"""Stacks: what is put into an image, from which source at which revision. Data in `stacks.yaml`."""

from functools import cache
from pathlib import Path

import msgspec

from infra import border

PATH = Path(__file__).parent / "stacks.yaml"


class Stack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stack.

    `distributions` are those it can be made for, and `because` says why no other. `packages` are exact versions of
    the distribution's packages. `leave_out` are paths that are not unpacked (dpkg's patterns). `checks` are names
    out of `images.check`. `stop_signal` makes the program save its work and end.
    """

    about: str
    source: str
    revision: str
    distributions: tuple[str, ...]
    because: str
    template: str
    packages: dict[str, str]
    leave_out: tuple[str, ...]
    environment: dict[str, str]
    stop_signal: str
    checks: tuple[str, ...]
    name: str = ""


def load(path: Path = PATH) -> dict[str, Stack]:
    """Stacks by name. UsageError with the key path where the file is wrong."""
    found = border.load_yaml(path, dict[str, Stack])
    return {name: msgspec.structs.replace(stack, name=name) for name, stack in found.items()}


@cache
def stacks() -> dict[str, Stack]:
    """Our own stacks, by name."""
    return load()
