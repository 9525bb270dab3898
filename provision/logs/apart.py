"""Several logs kept apart: by names that differ, and one that several processes wrote at the same time as one for each.

DIGITS calls every log caffe_output.log. Logs of one name get as much of their folders as tells them apart.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from provision.logs import absence, prefix, text
from provision.logs.log import Log
from provision.logs.packed import decoded

_HEAD = 1 << 20  # bytes of a log that show who writes it


def apart(logs: Sequence[Log]) -> list[Log]:
    """The same logs under names that differ, also as parts of files' names; one of several sources is one for each."""
    return _named([part for log in _named(logs) for part in by_source(log)])


def by_source(log: Log) -> list[Log]:
    """The log, or one for each of the ranks or containers that wrote it at the same time and told a number."""
    return [part for part in sources(log).values() if absence.told(part)] or [log]


def sources(log: Log) -> dict[str, Log]:
    """The log's part of each of the ranks or containers that wrote it at the same time, by its name; of one: none."""
    found = prefix.named(prefix.sources(_head(log)))
    return {word: replace(log, name=f"{log.name}.{word}", only=name, cuts=None) for name, word in found.items()}


def _head(log: Log) -> bytes:
    head, size = [], 0
    for lines in text.cut_at_lines(decoded(log.raw())):
        head.append(text.uncoloured(lines))
        size += len(lines)
        if size > _HEAD:
            break
    return b"".join(head)


def file_name(name: str) -> str:
    """A log's name as a part of a file's."""
    return name.replace("/", "-").replace("\\", "-")


def _named(logs: Sequence[Log]) -> list[Log]:
    made, ways = list(logs), [_with_folders(depth) for depth in range(1, 1 + max(map(_depth, logs), default=0))]
    for way in (*ways, _whole):
        twice = _twice(made)
        made = [
            replace(log, name=way(log, old)) if log.name in twice else log for log, old in zip(made, logs, strict=True)
        ]
    taken: set[str] = set()
    for number, log in enumerate(made):
        name, turn = log.name, 1
        while _key(name) in taken:
            turn += 1
            name = f"{log.name}-{turn}"
        taken.add(_key(name))
        made[number] = log if name == log.name else replace(log, name=name)
    return made


def _key(name: str) -> str:
    """Names that a file system may take for one have one key."""
    return file_name(name).casefold()


def _twice(logs: Sequence[Log]) -> set[str]:
    counts = Counter(_key(log.name) for log in logs)
    return {log.name for log in logs if counts[_key(log.name)] > 1}


def _folders(log: Log) -> list[str]:
    """The folders of the log, the nearest last; none of one that is no file of the user's."""
    if log.shown is None:
        return []
    path = Path(os.path.abspath(log.shown))  # noqa: PTH100 a link's own folder, not that of its target
    return list(path.parent.relative_to(path.anchor).parts)


def _depth(log: Log) -> int:
    return len(_folders(log))


def _with_folders(depth: int) -> Callable[[Log, Log], str]:
    return lambda _, log: "/".join([*_folders(log)[-depth:], log.name])


def _whole(log: Log, _: Log) -> str:
    """`a.log` and `a.log.gz` of one folder."""
    return log.name if log.shown is None else f"{log.name.rpartition('/')[0]}/{log.shown.name}".lstrip("/")
