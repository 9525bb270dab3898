"""One diagnosis of several: ranks of MPI, or containers, that trained together and wrote one log.

Each was diagnosed by its own lines. What happened first goes before what follows from it in the others, and a cause
that not all have names those that have it. What a rank showed last counts only where no other went on behind it: most
let one rank alone tell the displays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from provision.logs import ranking
from provision.logs.cause import Cause, Diagnosis, Earlier, Ending

_PASSING = ("last", "symptom", "clue")


def joined(found: Mapping[str, Diagnosis]) -> Diagnosis:
    """The diagnosis of all, of each one's by its name. At least one is there."""
    alive = max(one.alive for one in found.values())
    over = [one for one in found.values() if one.ending.word == "failed"]
    well = not over and any(one.ending.word == "well" for one in found.values())
    counting = {
        name: [
            cause for cause in one.causes
            if cause.kind not in _PASSING or one in over or (not well and cause.line > alive)
        ]
        for name, one in found.items()
    }  # fmt: skip
    causes = ranking.in_order(list(_named(counting)))
    names = {cause.name for cause in causes}
    seen = {cause.name: cause for one in found.values() for cause in reversed(one.seen) if cause.name not in names}
    return Diagnosis(
        causes, _ending(found, causes), list(seen.values()), list(_earlier(found)),
        max(one.attempts for one in found.values()), any(one.heard for one in found.values()), alive,
    )  # fmt: skip


def _named(found: Mapping[str, Sequence[Cause]]) -> Iterator[Cause]:
    """Each cause once, by its first line; with the names of those that have it, where not all do."""
    by_name: dict[str, dict[str, Cause]] = {}
    for name, causes in found.items():
        for cause in causes:
            by_name.setdefault(cause.name, {})[name] = cause
    for of in by_name.values():
        first = min(of.values(), key=lambda cause: cause.line)
        if len(of) < len(found):
            whose = f"{', '.join(of)}{' alone' * (len(of) == 1)}, of {len(found)}"
            first = replace(first, place=f"{whose}; {first.place}" if first.place else whose)
        yield first


def _ending(found: Mapping[str, Diagnosis], causes: Sequence[Cause]) -> Ending:
    """The end of the one that has the first cause; without one a good end, else the first's."""
    endings = [
        one.ending
        for cause in causes[:1]
        for one in found.values()
        if any((own.name, own.line) == (cause.name, cause.line) for own in one.causes)
    ]
    endings += sorted(
        (one.ending for one in found.values()), key=lambda end: ("failed", "well", "open").index(end.word)
    )
    return endings[0]


def _earlier(found: Mapping[str, Diagnosis]) -> Iterator[Earlier]:
    """Each attempt before the last as the one tells it that failed, else the first."""
    for of in zip_longest(*(one.earlier for one in found.values())):
        told = [one for one in of if one is not None]
        yield min(told, key=lambda one: (one.ending.word != "failed", one.cause.line if one.cause else 0))
