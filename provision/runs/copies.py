"""The copies of data and code that a machine made in the run's folder in S3: whole, or not to be used.

inputs/KIND.json is written last and names each file; yet objects may go one by one, and the machine wrote it all.
"""

import json
import os
from collections.abc import Sequence

import msgspec

from infra.errors import RunError
from infra.shell import Shell
from provision.runs.store import AnyRun


class Copied(msgspec.Struct, frozen=True):
    """One file of a copy: its path below the folder, its size in bytes, and its sha256."""

    path: str
    size: int
    sha256: str


def whole(run: AnyRun, kind: str) -> Sequence[Copied] | None:
    """The files of the copy of `kind` ("data", "project"), where S3 has all of them; None where it has not."""
    raw = run.store.read(run.key("inputs", f"{kind}.json"))
    try:
        index = msgspec.convert(json.loads(raw or b"null"), tuple[Copied, ...])
    except (ValueError, RecursionError, msgspec.ValidationError):  # absent, or damaged
        return None
    below = run.key("inputs", kind) + "/"
    sizes = {stored.key: stored.size for stored in run.store.objects(below)}
    return index if all(sizes.get(below + file.path) == file.size for file in index if _is_text(file.path)) else None


def _is_text(path: str) -> bool:
    """Whether S3's listing shows the name as it is: one that is not UTF-8 it shows otherwise."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def check(shell: Shell, run: AnyRun, kind: str, index: Sequence[Copied], folder: str) -> None:
    """Hold what was pulled to the host's folder against the sums of the index. RunError where it differs."""
    lines = b"".join(_line(file) for file in index)
    words = ["sh", "-c", 'cd "$1" && sha256sum --check --quiet --strict -', "sh", folder]
    found = shell.run(words, stdin=lines, check=False) if index else None
    if found is not None and not found.ok:
        said = (found.out or found.err).strip().splitlines()
        raise RunError(
            f"the {kind} of {run.id} in S3 is damaged: {said[0] if said else 'its sums differ'}",
            f"give its folder: --{kind} DIR",
        )


def _line(file: Copied) -> bytes:
    """A line for sha256sum, which escapes what would end the line."""
    plain = file.path.replace("\\", "\\\\").replace("\n", "\\n")
    mark = "\\" if plain != file.path else ""
    return os.fsencode(f"{mark}{file.sha256}  {plain}\n")
