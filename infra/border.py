"""The border: YAML or JSON from outside becomes a typed, frozen value, or one UsageError with the key path.

Unknown keys are errors and name the nearest known one. A number where a text is meant is refused with the reason:
YAML reads an unquoted 9.10 as the number 9.1.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from infra import yamlfile
from infra.errors import UsageError

T = TypeVar("T")
LARGEST = 1 << 20  # bytes of a file that a person writes


def load_yaml(path: Path, kind: type[T]) -> T:
    """The file as a `kind` (a msgspec.Struct with forbid_unknown_fields). UsageError, with the key path, where it does
    not fit."""
    return convert(read_yaml(path), kind, str(path))


def read_yaml(path: Path) -> object:
    """The file's value; {} for an empty file. UsageError where it cannot be read, or is not usable YAML."""
    text = read_text(path, largest=LARGEST)
    try:
        raw = yamlfile.parse(text)
    except yamlfile.WrongError as error:
        raise UsageError(f"{path} is not usable YAML: {error}", error.mend) from error
    return {} if raw is None else raw


def read_text(path: Path, mend: str = "", largest: int | None = None) -> str:
    """The text of a file that a user wrote. UsageError where it cannot be read, is not UTF-8, or has more bytes than
    `largest`."""
    try:
        with path.open("rb") as file:
            data = file.read(-1 if largest is None else largest + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}", mend) from error
    if largest is not None and len(data) > largest:
        raise UsageError(f"{path} is larger than 1 MiB", "it is not meant for data; is it the right file?")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path} is no text in UTF-8 (line {line})", "save it as UTF-8") from error


def convert(raw: object, kind: type[T], where: str) -> T:
    """`raw` as a `kind`. UsageError, with the key path, where it does not fit; `where` names its origin there."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {_plain(str(error))}", _mend(str(error), kind)) from error
    except (ValueError, ArithmeticError, TypeError) as error:  # a number beyond 64 bits, a key that is none
        raise UsageError(f"{where}: a value cannot be used: {error}") from error


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known words most like `word`, best first."""
    return difflib.get_close_matches(word, list(known), n=count, cutoff=0.5)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A mend for a mistyped word."""
    names = list(known)
    close = nearest(word, names)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(names))}"


def _plain(message: str) -> str:
    said = re.sub(r" - at `key` in `\$\.?(.*)`", r" as a key (at \1)", message)
    return re.sub(r" - at `\$\.?(.*)`", r" (at \1)", said).replace(" (at )", "").replace("`", "'")


def _mend(message: str, kind: type[Any]) -> str:
    unknown = re.search(r"unknown field `(\w+)`", message)
    if unknown:
        return did_you_mean(unknown[1], _fields(kind))
    if re.search(r"Expected `str.*got `(int|float)`", message):
        return "put the value in quotes: YAML reads 9.10 as the number 9.1"
    return ""


def _fields(kind: type[Any]) -> list[str]:
    """Field names of a struct and of the structs inside it."""
    names: list[str] = []
    for name, hint in get_type_hints(kind).items():
        names.append(name)
        inner = [hint, *getattr(hint, "__args__", ())]
        for part in inner:
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                names += _fields(part)
    return names
