"""Detectron's log lines as events: json_stats in both dialects, snapshots, resumes, evaluation results.

Floats in json_stats are texts since Detectron's commit 4dc5e92 (2018-10-01), numbers before, where a NaN is a bare
`NaN` that strict JSON readers refuse. The lines have no time: seconds are counted from the iterations and their mean
time, which json_stats tells.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from provision.logs.events import Ended, Event, Failed, Metric, Phase, Planned, Resumed, Snapshot

# what Parser looks for
LINES = (
    rb"json_stats: .*|[A-Z]+ [\w.]+: *\d+: (?:Building model: |Saving param|=+> Resuming|Loss is NaN|copypaste: ).*"
    rb"| *\{?'MAX_ITER': .*|(?:\w+: )?(?:AssertionError: Negative areas|Exception: Loss is NaN).*"
)

_MESSAGE = re.compile(r"[A-Z]+ [\w.]+: *\d+: (.*)")
_MAX_ITER = re.compile(r" *\{?'MAX_ITER': (\d{1,15})")
_SAVING = re.compile(r"Saving parameters and momentum to (\S*model_iter(\d{1,15})\.pkl)")
_FINAL = re.compile(r"Saving parameters and momentum to (\S*model_final\.pkl)")
_RESUMING = re.compile(r"=+> Resuming from checkpoint (\S+) at start iter (\d{1,15})")
_ETA = re.compile(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d)")
_OF_SOLVER = ("loss", "lr", "eta", "time", "mem", "mb_qsize")


def is_start(line: bytes) -> bool:
    """Whether a training begins here."""
    return b": Building model: " in line


def stats(line: str) -> dict[str, float]:
    """The numbers of a json_stats line, `eta` in seconds; empty where it is cut off."""
    try:
        raw = json.loads(line.partition("json_stats: ")[2])
        pairs = raw.items()
    except (ValueError, AttributeError, RecursionError):
        return {}
    found = {str(name): _seconds(value) if name == "eta" else _number(value) for name, value in pairs}
    return {name: value for name, value in found.items() if value is not None}


class Reader:
    """Reads the lines of one start of Detectron."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at: int | None = None
        self._task = ""
        self._names: list[str] = []

    def read(self, line: str, attempt: int) -> Sequence[Event]:
        """The events of one whole line."""
        if line.startswith("json_stats: "):
            return list(self._stats(stats(line), attempt))
        if planned := _MAX_ITER.match(line):
            return (Planned(attempt, 0.0, int(planned[1])),)
        found = _MESSAGE.match(line)
        message = found[1] if found else line
        if message.startswith("copypaste: "):
            return list(self._scores(message[11:].strip(), attempt))
        event = self._event(message, attempt)
        return () if event is None else (event,)

    def _stats(self, values: Mapping[str, float], attempt: int) -> Iterator[Event]:
        if "loss" not in values or not 0 <= values.get("iter", -1) < 10**15:
            return
        at = int(values["iter"])
        self._seconds += values.get("time", 0.0) * (at - self._at if self._at is not None and at > self._at else 1)
        self._at = at
        for name in ("loss", *sorted(set(values) - {"loss", "iter"})):
            phase: Phase = "solver" if name in _OF_SOLVER else "train"
            yield Metric(attempt, self._seconds, at, phase, name, values[name])
            if name == "loss":
                yield Metric(attempt, self._seconds, at, "train", name, values[name])

    def _scores(self, text: str, attempt: int) -> Iterator[Event]:
        """`Task: box`, then names, then numbers in the same order."""
        if text.startswith("Task: "):
            self._task = text[6:]
        elif re.fullmatch(r"[A-Za-z][\w,]*", text):
            self._names = text.split(",")
        elif "Dataset" not in text:
            for name, word in zip(self._names, text.split(","), strict=False):
                if (value := _number(word)) is not None:
                    yield Metric(attempt, self._seconds, self._at or 0, "test", f"{self._task} {name}".strip(), value)

    def _event(self, message: str, attempt: int) -> Event | None:
        if saving := _SAVING.match(message):
            return Snapshot(attempt, self._seconds, int(saving[2]), saving[1])
        if _FINAL.match(message):
            return Ended(attempt, self._seconds, early=False)
        if resuming := _RESUMING.match(message):
            return Resumed(attempt, self._seconds, resuming[1], int(resuming[2]))
        if "Loss is NaN" in message or "Negative areas" in message:
            return Failed(attempt, self._seconds, message.strip())
        return None


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _seconds(value: Any) -> float | None:
    """The seconds in a text such as `1 day, 2:03:04`."""
    found = _ETA.fullmatch(value) if isinstance(value, str) else None
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(days * 86400 + hours * 3600 + minutes * 60 + seconds)
