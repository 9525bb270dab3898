"""Patches: small exact edits that make old Caffe build, and be safe, on today's libraries. Data in `patches/NAME.yaml`.

An edit is anchored on the code itself, not on line numbers, so that it fits every fork and vintage; it says how often
its text must be found. A patch holds only where all its conditions on versions do. Which to apply is decided here, from
the versions of a Target; `context/apply_patches.py` does it, inside an image build or on a user's own checkout.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from images.context import apply_patches
from images.context.apply_patches import Report
from images.steps import Calls, Create, Edit, Guards, Headers, Layout, Lines, Only, Renames, Stubs, Words
from images.trees import tree_in
from images.versions import key
from infra import border
from infra.disk import writing
from infra.errors import UsageError

FOLDER = Path(__file__).parent / "patches"

ColumnBuffer = Literal["ours", "static", "none"]
_COLUMN_BUFFERS: dict[ColumnBuffer, str] = {"ours": "column-buffer", "static": "column-buffer-static", "none": ""}

_STEPS = (
    "name",
    "skip",
    "refuse",
    "only",
    "edits",
    "create",
    "lines",
    "words",
    "calls",
    "headers",
    "guards",
    "stubs",
    "renames",
)  # what the script reads

_CONDITION = re.compile(r"(>=|<)(\d+(?:\.\d+)*)")


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Conditions such as `>=4` or `>=3,<4`, all of which must hold. What is not there (no CUDA) fulfils none."""

    boost: str = ""
    cuda: str = ""
    cudnn: str = ""
    gcc: str = ""
    hdf5: str = ""
    nccl: str = ""
    opencv: str = ""
    protobuf: str = ""
    python: str = ""
    skimage: str = ""

    def __post_init__(self) -> None:
        for name, condition in self.given.items():
            if not all(_CONDITION.fullmatch(part) for part in condition.split(",")):
                raise ValueError(f"{name}: {condition!r} is no condition such as '>=4' or '>=3,<4'")

    @property
    def given(self) -> dict[str, str]:
        """The conditions that there are, by name."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value}

    def holds(self, versions: Mapping[str, str | None]) -> bool:
        return all(_fulfils(versions.get(name), condition) for name, condition in self.given.items())


class Patch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One named change: why, upstream's page about it, for which versions and stacks (none named: all of Caffe)."""

    why: str
    upstream: str | None
    edits: tuple[Edit, ...] = ()
    when: When = When()
    stacks: tuple[str, ...] = ()
    refuse: tuple[Layout, ...] = ()
    skip: tuple[Layout, ...] = ()
    only: tuple[Only, ...] = ()
    create: tuple[Create, ...] = ()
    lines: tuple[Lines, ...] = ()
    words: tuple[Words, ...] = ()
    calls: tuple[Calls, ...] = ()
    headers: tuple[Headers, ...] = ()
    guards: tuple[Guards, ...] = ()
    stubs: tuple[Stubs, ...] = ()
    renames: tuple[Renames, ...] = ()
    name: str = ""

    def is_for(self, stack: str) -> bool:
        return stack in self.stacks if self.stacks else stack.startswith("caffe")


def load(folder: Path = FOLDER) -> dict[str, Patch]:
    """Patches by name, sorted. UsageError with file and key path where one is wrong."""
    paths = sorted(folder.glob("*.yaml"), key=lambda path: path.stem)
    return {
        path.stem: _checked(msgspec.structs.replace(border.load_yaml(path, Patch), name=path.stem)) for path in paths
    }


@cache
def patches() -> dict[str, Patch]:
    """Our patches by name."""
    return load()


def select(
    stack: str, versions: Mapping[str, str | None] | None, *, column_buffer: ColumnBuffer = "ours"
) -> tuple[Patch, ...]:
    """The patches for a stack on these versions (None: whatever the versions), sorted by name.

    UsageError for a column buffer that there is not.
    """
    if column_buffer not in _COLUMN_BUFFERS:
        raise UsageError(
            f"there is no column buffer {column_buffer!r}", border.did_you_mean(column_buffer, _COLUMN_BUFFERS)
        )
    other = set(_COLUMN_BUFFERS.values()) - {_COLUMN_BUFFERS[column_buffer]}
    return tuple(
        patch
        for name, patch in patches().items()
        if name not in other and patch.is_for(stack) and (versions is None or patch.when.holds(versions))
    )


def left_out(stack: str, versions: Mapping[str, str | None]) -> dict[str, str]:
    """The patches for a stack that these versions leave out, by name, each with the reason."""
    return {
        patch.name: ", ".join(
            f"for {name} {condition}, and this is {versions.get(name) or f'without {name}'}"
            for name, condition in patch.when.given.items()
            if not _fulfils(versions.get(name), condition)
        )
        for patch in select(stack, None)
        if not patch.when.holds(versions)
    }


def to_json(chosen: Iterable[Patch]) -> str:
    """The patches as `context/apply_patches.py` reads them. The same edits give the same bytes, whatever `why` says."""
    return json.dumps([_plain(patch) for patch in chosen], indent=1, sort_keys=True) + "\n"


def apply_to(
    folder: Path, chosen: Iterable[Patch], *, source: str = "", lenient: bool = False, dry_run: bool = False
) -> Report:
    """Apply the patches to the tree in the folder: all or none; lenient: each that fits. `source` is its name.

    The Report says of each patch what became of it; where one does not fit, why. UsageError where the folder has none
    of the files that the patches change, holds several trees, or cannot be written.
    """
    plain = [_plain(patch) for patch in chosen]
    edited = [name for patch in plain for edit in patch.get("edits", ()) for name in _listed(edit["file"])]
    tree = tree_in(folder, edited)
    with writing(tree):
        return apply_patches.apply(plain, tree, source or tree.name, lenient, dry_run)


def _plain(patch: Patch) -> dict[str, Any]:
    kept = {name: getattr(patch, name) for name in _STEPS}
    plain: dict[str, Any] = msgspec.to_builtins({name: value for name, value in kept.items() if value})
    return plain


def _listed(paths: str | list[str]) -> list[str]:
    return [paths] if isinstance(paths, str) else paths


def _fulfils(version: str | None, condition: str) -> bool:
    return version is not None and all(_compares(version, part) for part in condition.split(","))


def _compares(version: str, condition: str) -> bool:
    found = _CONDITION.fullmatch(condition)
    assert found  # checked when it was read
    wanted = key(found[2])
    have = (key(version) + (0,) * len(wanted))[: len(wanted)]
    return have >= wanted if found[1] == ">=" else have < wanted


def _checked(patch: Patch) -> Patch:
    """The patch, if applying it twice can change nothing."""
    for edit in patch.edits:
        if not edit.find or not edit.replace or edit.find == edit.replace:
            raise UsageError(
                f"patch {patch.name}: an edit of {edit.file} finds or puts nothing, or changes nothing",
                "to take code out, put a comment in its place: it shows that the patch was applied",
            )
    return patch
