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
import yaml

from infra.errors import UsageError

T = TypeVar("T")


def load_yaml(path: Path, kind: type[T]) -> T:
    """The file as a `kind` (a msgspec.Struct with forbid_unknown_fields)."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    return convert(raw if raw is not None else {}, kind, str(path))


def convert(raw: object, kind: type[T], where: str) -> T:
    """`raw` as a `kind`; `where` names its origin in the message."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {_plain(str(error))}", _mend(str(error), kind)) from error


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known words most like `word`, best first."""
    return difflib.get_close_matches(word, list(known), n=count, cutoff=0.5)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A mend for a mistyped word."""
    names = list(known)
    close = nearest(word, names)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(names))}"


def _plain(message: str) -> str:
    return re.sub(r" - at `\$\.?(.*)`", r" (at \1)", message).replace("`", "'")


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
        for one in inner:
            if isinstance(one, type) and issubclass(one, msgspec.Struct):
                names += _fields(one)
    return names
