"""Failures that a recipe knows: an expression for a line of the log, and what to do."""

import re
from collections.abc import Iterable, Sequence

import msgspec


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A known failure: a log line that matches the pattern `match` means `what`, and `mend` helps."""

    match: str
    what: str
    mend: str


def explain(failures: Sequence[Failure], lines: Iterable[str]) -> Failure | None:
    """The first of the known failures that a log's lines show."""
    return next((failure for line in lines for failure in failures if re.search(failure.match, line)), None)
