"""The steps of patches, as `patches/NAME.yaml` has them and `context/apply_patches.py` reads them."""

from typing import Literal

import msgspec

Paths = str | tuple[str, ...]  # of several the first that the tree has: layouts of different years


class Where(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A vintage, known by a text that a file has, or lacks, or by a file that is absent."""

    file: Paths
    has: str = ""
    lacks: str = ""
    absent: bool = False


class Layout(Where, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A vintage that a patch is not for, or that needs none, and why."""

    because: str


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`find` becomes `replace`, which must be there `times` times (several numbers: forks differ; 0: some lack it;
    any).

    Of several texts to find the first that the file has counts. `optional`: some forks lack the file, and are left as
    they are. `where`: the only vintage that the edit is for. `note`: what to say where the first text was found.
    """

    file: Paths
    find: str | tuple[str, ...]
    replace: str
    times: int | tuple[int, ...] | Literal["any"] = 1
    optional: bool = False
    where: Where | None = None
    note: str = ""


class Create(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole new file; `where`: the only vintage that it is for."""

    file: str
    text: str
    where: Where | None = None


class Lines(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In each line of the file that `line` matches and that is no comment, what `find` matches becomes `replace`."""

    file: str
    line: str
    find: str
    replace: str


class Words(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words in the code of all sources, no comments, no strings: regular expressions, and what takes their place."""

    table: dict[str, str]


class Calls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Calls with so many arguments, in the code of all sources: they keep the first `keep`, or get `append` at the end.

    `known`: the values of macros with which the preprocessor must leave the call.
    """

    name: str
    arguments: int
    keep: int = 0
    append: str = ""
    known: dict[str, int | None] = {}


class Headers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Standard headers by name, with a regular expression for what each declares; `mark`: the comment beside them."""

    table: dict[str, str]
    mark: str


class Guards(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Includes that a build with `macro` cannot read get `#ifndef macro` around.

    `known`: the values of other macros in such a build.
    """

    headers: str
    macro: str
    known: dict[str, int | None]


class Stubs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stubs of GPU methods, where `macro` says that there is no GPU, become those that the classes declare.

    `known`: the values of other macros in such a build.
    """

    macro: str
    known: dict[str, int | None]


class Renames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names, and methods that are called, in all Python modules below `folder`, and what takes their place."""

    folder: str
    names: dict[str, str]
    methods: dict[str, str]


class Only(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A word that no other file may use, for what it does with it is not known."""

    word: str
    files: tuple[str, ...]
    because: str
