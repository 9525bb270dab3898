"""What a score task wrote, checked and set beside each other: a snapshot's metrics in its score.json.

    {"iteration": 600, "metrics": {"mAP": 0.71, "per_class": {"cat": 0.8, "dog": null}}}

A metric is a number, null where it could not be measured, or a group of such by name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from infra.border import convert
from infra.errors import RunError

FILE = "score.json"
_LESS_IS_MORE = ("loss", "error")


class Score(msgspec.Struct, frozen=True):
    """The score of one snapshot."""

    iteration: int
    metrics: dict[str, float | dict[str, float | None] | None]

    @property
    def numbers(self) -> dict[str, float | None]:
        return {name: value for name, value in self.metrics.items() if not isinstance(value, dict)}

    @property
    def groups(self) -> dict[str, dict[str, float | None]]:
        return {name: value for name, value in self.metrics.items() if isinstance(value, dict)}


def read(folder: Path, iteration: int) -> Score:
    """Read the score in that folder. RunError where the task wrote no score.json there; UsageError, with the key path,
    where the file holds no score."""
    path = folder / FILE
    try:
        raw = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise RunError(
            f"the score task left no {FILE} that can be read: {error}",
            'it has to write {"iteration": N, "metrics": {"name": 0.5}} to /out/score.json',
        ) from error
    score = convert(raw, Score, str(path))
    return msgspec.structs.replace(score, iteration=iteration)


def names(scores: Sequence[Score]) -> list[str]:
    """The metrics that are numbers, in the order in which they first occur."""
    return list(dict.fromkeys(name for score in scores for name in score.numbers))


def less_is_more(name: str) -> bool:
    return any(word in name.lower() for word in _LESS_IS_MORE)


def best(scores: Sequence[Score]) -> tuple[str, Score] | None:
    """The first metric, and the snapshot that is best by it; None where nothing was measured."""
    for name in names(scores):
        known = [(value, score) for score in scores if (value := score.numbers.get(name)) is not None]
        if known:
            return name, (min if less_is_more(name) else max)(known, key=lambda pair: pair[0])[1]
    return None


def table(scores: Sequence[Score]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows: iteration by metric."""
    columns = names(scores)
    return ["iteration", *columns], [
        [score.iteration, *(shown(score.numbers.get(c)) for c in columns)] for score in scores
    ]


def group_tables(scores: Sequence[Score], last: int = 6) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """For each group: its names by iteration, of the last few snapshots."""
    few = scores[-last:]
    made = {}
    for group in dict.fromkeys(group for score in few for group in score.groups):
        members = dict.fromkeys(name for score in few for name in score.groups.get(group, {}))
        rows = [[name, *(shown(score.groups.get(group, {}).get(name)) for score in few)] for name in members]
        made[group] = ([group, *(str(score.iteration) for score in few)], rows)
    return made


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"
