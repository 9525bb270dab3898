"""Lines that are objects: JSON (pure, or behind a logger's words), and dictionaries as Python prints them.

Hugging Face's Trainer prints `{'loss': 0.5, 'epoch': 1.0}` (transformers 2 to 4) and `{'loss': '0.5', …}` (5); fairseq
logs an object with numbers as texts behind its time. Objects in objects are told by a path: `train/loss`.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from provision.logs.metrics.told import Told, has_metric, of_pairs

_MOST = 500  # numbers of one line
_LONG_DICT = 4_096  # characters
_NO_NUMBER = re.compile(r"(?<=[:\s])(nan|inf|-inf)(?=\s*[,}])")
_WHOSE = ("split", "phase", "mode", "stage")  # keys that tell whose numbers the line's are (mmdetection: mode)


def of_json(line: str) -> Told | None:
    """What an object of JSON in a line tells; None where there is none, or no number."""
    text = line[line.index("{") :].strip()
    try:
        read, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return _of_mapping("json", read)


def of_dict(line: str) -> Told | None:
    """What a dictionary of Python's in a line tells; None where there is none, or no number."""
    begin, end = line.index("{"), line.rfind("}")
    if end < begin or end - begin > _LONG_DICT:
        return None
    text = _NO_NUMBER.sub(lambda found: f"'{found[1]}'", line[begin : end + 1])
    try:
        read = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return _of_mapping("dict", read)


def _of_mapping(form: str, read: Any) -> Told | None:
    if not isinstance(read, Mapping) or "Namespace" in read:
        return None
    pairs = [pair for pair, _ in zip(_numbers(read, ""), range(_MOST), strict=False)]
    told = of_pairs(form, pairs, others=True)
    runs_out = any(name in read for name in ("train_runtime", "train_samples_per_second"))
    if runs_out:  # Hugging Face's last word; its train_loss is the mean of the whole training
        return Told(form, {}, told.step, told.steps, told.epoch, told.epochs, over=True)
    if not told.values or not (told.placed or has_metric(told)):
        return None
    whose = next((str(read[key]).lower() for key in _WHOSE if isinstance(read.get(key), str)), "")
    return Told(
        form, told.values, told.step, told.steps, told.epoch, told.epochs,
        within=told.epoch is not None and isinstance(read.get("iter"), int) and "mode" in read,
        whose=whose if whose.startswith(("val", "test", "eval", "dev")) else "", clock=told.clock,
        apart="wall_time" in read,
    )  # fmt: skip


def _numbers(read: Mapping[Any, Any], before: str) -> Iterator[tuple[str, float]]:
    """Names and numbers; of objects in it, two deep, too."""
    for key, value in read.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and before.count("/") < 2:
            yield from _numbers(value, f"{name}/")
        elif (number := _number(value)) is not None:
            yield name, number


def _number(value: Any) -> float | None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | str)
        or (isinstance(value, str) and len(value) > 40)
    ):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
