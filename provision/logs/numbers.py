"""Numbers as C++ prints them, one at a time and by the column.

Beside what JSON knows there are nan and inf, Visual C++'s words for them (`1.#QNAN`, `-1.#IND`, `1.#INF` until 2013,
`-nan(ind)` since), and the comma of a program that took its user's locale over.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
Texts = Sequence[bytes]

_READ_FLOATS = msgspec.json.Decoder(list[float]).decode
_READ_INTS = msgspec.json.Decoder(list[int]).decode
_ODD = re.compile(rb"([-+]?)(?:1\.#(?:(?P<inf>INF?\d*|J)|[QS]NAN?\d*|IND\d*|R)|nan(?:\([\w-]*\)|[qs]))", re.IGNORECASE)
_BEHIND = re.compile(rb"(?:[,;\"'}\]]|\\[nr])+$")  # of a line that is quoted, in a table or by a program
_COMMA = re.compile(rb"[-+]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+(?:e[-+]?\d+)?", re.IGNORECASE)
_GROUPED = re.compile(rb"[-+]?\d{1,3}(?:,\d{3})+\.\d+")


def number(text: bytes | str) -> float | None:
    """The number that C++ printed, or None where the text is not one."""
    try:
        return float(text)
    except ValueError:
        return _odd(text.encode() if isinstance(text, str) else text)


def _odd(text: bytes) -> float | None:
    text = _BEHIND.sub(b"", text.partition(b", ")[0])  # NVCaffe: lr = 0.1, m = 0.9, wd = 0.0004
    if found := _ODD.fullmatch(text):
        sign = -1.0 if found[1] == b"-" else 1.0
        return sign * float("inf" if found["inf"] else "nan")
    if _COMMA.fullmatch(text):
        text = text.replace(b".", b"").replace(b",", b".")
    elif _GROUPED.fullmatch(text):
        text = text.replace(b",", b"")
    try:
        return float(text)
    except ValueError:
        return None


def count(text: bytes | str) -> int:
    """An iteration; its thousands may be apart (`12,000`)."""
    return int(re.sub(r"\D", "", text if isinstance(text, str) else text.decode()))


@lru_cache(1000)
def weight(text: bytes | None) -> float | None:
    """The loss weight behind an output; None where it has none, so that it is no loss."""
    return number(text) if text else None


def floats(texts: Texts) -> list[float]:
    """A column of numbers. ValueError where a text is not one."""
    return _numbers(texts, _READ_FLOATS) or list(map(_sure, texts))


def ints(texts: Texts) -> list[int]:
    """A column of whole numbers. ValueError where a text is not one."""
    return _numbers(texts, _READ_INTS) or list(map(int, texts))


def weights(texts: Sequence[bytes | None]) -> list[float | None]:
    """A column of loss weights, most of them alike."""
    if not texts or texts.count(texts[0]) == len(texts):
        return [weight(text) for text in texts[:1]] * len(texts)
    return list(map(weight, texts))


def _sure(text: bytes) -> float:
    made = number(text)
    if made is None:
        raise ValueError(text)
    return made


def _numbers(texts: Texts, read: Callable[[bytes], list[T]]) -> list[T]:
    """A column of C++'s numbers by JSON's reader, three times as quick as `float`; none where it does not know them:
    nan, inf, and what is no number."""
    try:
        made = read(b"[%b]" % b",".join(texts))
    except (msgspec.DecodeError, RecursionError):
        return []
    return made if len(made) == len(texts) else []


def plain(value: Any) -> Any:
    """A number for JSON, which has no nan and no inf: those as the texts `nan`, `inf`, `-inf`."""
    odd = isinstance(value, float) and (value != value or value in (float("inf"), float("-inf")))
    return repr(value) if odd else value
