"""Versions as values that compare: 9.10 is newer than 9.9."""

import re
from functools import cache


@cache
def key(version: str) -> tuple[int, ...]:
    """The numbers of a version: `key("9.10.2")` is (9, 10, 2)."""
    return tuple(int(number) for number in re.findall(r"\d+", version))
