"""The copies of data and code in the run's folder in S3, by a machine or by a laptop: whole, or not to be used.

inputs/NAME/… are the files; inputs/NAME.json is written last and names each; yet objects may go one by one, and a
machine may have written it all. NAME is the kind ("data", "project"), with a mark of its own for data or code that were
given later: who resumes a run at the same time as somebody else writes beside the other's copy, never into it. The
manifest says which one counts.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace

import msgspec

from infra.errors import RunError
from infra.shell import Shell
from provision.runs.manifest import Manifest, Source
from provision.runs.store import AnyRun

KINDS = ("data", "project")
NAME = re.compile(r"(?:data|project)-[0-9a-f]{16}")


class Copied(msgspec.Struct, frozen=True):
    """One file of a copy: its path below the folder, its size in bytes, and its sha256."""

    path: str
    size: int
    sha256: str


def whole(run: AnyRun, kind: str) -> Sequence[Copied] | None:
    """The files of the copy of `kind` ("data", "project"), where S3 has all of them; None where it has not."""
    raw = run.store.read(_index(run, name(run, kind)))
    try:
        index = msgspec.convert(json.loads(raw or b"null"), tuple[Copied, ...])
    except (ValueError, RecursionError, msgspec.ValidationError):  # absent, or damaged
        return None
    base = below(run, kind)
    sizes = {stored.key: stored.size for stored in run.store.objects(base)}
    return index if all(sizes.get(base + file.path) == file.size for file in index if _is_text(file.path)) else None


def source(manifest: Manifest, kind: str) -> Source:
    """Where the run's data or code comes from."""
    return manifest.data if kind == "data" else manifest.project


def with_source(manifest: Manifest, kind: str, given: Source) -> Manifest:
    """The manifest with its data or code from there."""
    return replace(manifest, data=given) if kind == "data" else replace(manifest, project=given)


def name(run: AnyRun, kind: str) -> str:
    """The name of the copy that counts."""
    return source(run.manifest, kind).copy or kind


def names(manifest: Manifest) -> tuple[str, ...]:
    """The names of the copies that the run may have: of what lies in a user's own prefix there is none."""
    found = [(source(manifest, kind), kind) for kind in KINDS]
    return tuple(one.copy or kind for one, kind in found if one.kind in ("prepared", "folder"))


def below(run: AnyRun, kind: str) -> str:
    """The prefix of the copy's files."""
    return run.key("inputs", name(run, kind)) + "/"


def sum_of(run: AnyRun, kind: str) -> str:
    """sha256 of the copy's index, which has the sums of its files; "" where there is none."""
    text = run.store.read(_index(run, name(run, kind)))
    return "" if text is None else hashlib.sha256(text).hexdigest()


def another(kind: str) -> str:
    """A name that no copy has."""
    return f"{kind}-{secrets.token_hex(8)}"


def by_content(kind: str, index: bytes) -> str:
    """The name of the copy that has that index: the same for the same files."""
    return f"{kind}-{hashlib.sha256(index).hexdigest()[:16]}"


def write_index(run: AnyRun, copy: str, index: bytes) -> None:
    """Say that the copy of that name is whole: it has these files."""
    run.store.write(_index(run, copy), index)


def remove(run: AnyRun, gone: Collection[str] = (), *, but: Collection[str] | None = None) -> None:
    """Delete the copies of these names; with `but` all copies other than these. First what says that they are whole."""
    base = run.key("inputs") + "/"
    keys = [(stored.key, stored.key.removeprefix(base)) for stored in run.store.objects(base)]
    old = [(key, path) for key, path in keys if _goes(path.partition("/")[0].removesuffix(".json"), gone, but)]
    run.store.delete([key for key, path in old if "/" not in path])
    run.store.delete([key for key, path in old if "/" in path])


def _goes(copy: str, gone: Collection[str], but: Collection[str] | None) -> bool:
    return copy in gone if but is None else copy not in but


def _index(run: AnyRun, copy: str) -> str:
    return run.key("inputs", f"{copy}.json")


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
