"""Progress bars that were written into a log: tqdm's (with numbers behind the rate, or before the bar), Keras'.

Lightning, Hugging Face and most scripts draw with tqdm: `Epoch 0: 12%|██ | 10/80 [00:01<00:07, 9.8it/s, loss=0.3]`.
Keras draws `12/469 [=>....] - ETA: 5s - loss: 0.3` (2) and `12/469 ━━━ 5s 12ms/step - loss: 0.3` (3) behind a line
`Epoch 3/10`. Each state of a bar is a line here: a carriage return begins one.
"""

import re
from dataclasses import replace

from provision.logs.metrics.pairs import LOOKED_AT, pairs_of
from provision.logs.metrics.told import Told, of_pairs

_TQDM = re.compile(
    r"\d{1,3}%\|[^|]{0,500}\|\s{0,12}(?P<step>\d{1,15})/(?P<steps>\d{1,15})\s{0,2}\[(?P<elapsed>\d{1,6}(?::\d\d){1,3})"
    r"<[^,\]]{0,40}(?:,\s{0,4}(?P<rate>[^,\]]{0,40}))?(?P<behind>[^\]]*)"
)
_OPEN = re.compile(
    r"\b(?P<step>\d{1,15})it \[(?P<elapsed>\d{1,6}(?::\d\d){1,3}), {0,4}(?P<rate>[^,\]]{0,40})(?P<behind>[^\]]*)"
)
_KERAS = re.compile(
    r"(?<![\w/.-])(?P<step>\d{1,15})/(?P<steps>\d{1,15}) {0,4}"
    r"(?P<bar>\[[=>.]*\]|[\u2500-\u257f]+|(?= - ))(?P<behind>.*)"
)
_KERAS_EPOCH = re.compile(r"(?:.*[\s:|>\]])?Epoch (?P<epoch>\d+)/(?P<epochs>\d+)\s*")
_EPOCH = re.compile(
    r"epoch\s{0,4}[=:]?\s{0,4}\[?\s{0,4}(?P<epoch>\d{1,15})(?:\s?(?:/|of)\s?(?P<epochs>\d{1,15}))?", re.IGNORECASE
)
_RICH = re.compile(
    r"Epoch (?P<epoch>\d+)/(?P<epochs>\d+) +[\u2500-\u257f]+ *(?P<step>\d+)/(?P<steps>\d+) +\d+:\d\d(?P<behind>.*)"
)
_RICH_BELOW = re.compile(r" {20,}\S+: \S+(?: +\S+: \S+)* *")
_HELD_OUT = re.compile(r"\b(?:val|valid|validat|test|eval|sanity|predict|infer)", re.IGNORECASE)
_FILES = re.compile(r"[kMG]?i?B/s")  # of bytes: a download


def of_tqdm(line: str) -> Told | None:
    """What one state of a bar of tqdm's tells, also where it has no metric: then only where the training is."""
    line = line[:LOOKED_AT]
    found = _TQDM.search(line) or _OPEN.search(line)
    if not found or _FILES.search(found["rate"] or ""):
        return None
    before, groups = line[: found.start()], found.groupdict()
    numbers = list(pairs_of(_EPOCH.sub(" ", before))) + list(pairs_of(found["behind"]))
    told = of_pairs("tqdm", numbers, others=True)
    held_out = bool(_HELD_OUT.search(before))
    epoch = _EPOCH.search(before)
    return Told(
        "tqdm", told.values, float(found["step"]), _float(groups.get("steps")),
        float(epoch["epoch"]) if epoch else None, _float(epoch["epochs"]) if epoch else None,
        within=epoch is not None, base=1 if epoch and epoch["epochs"] else None,
        whose="val" if held_out else "train" if epoch or not before.strip() else "",
        clock=_seconds(found["elapsed"]), redrawn=True,
    )  # fmt: skip


class Rich:
    """Reads the bars that Lightning draws with rich: a log has their last state alone, cut into lines of a terminal's
    width; `Epoch 2/2  ━━━━ 20/20 0:00:02 • 0:00:00 8.10it/s v_num: 0` and below it, far to the right, the numbers. Both
    numbers of the epoch count from 0."""

    def __init__(self) -> None:
        self._bar: Told | None = None

    def read(self, line: str) -> Told | None:
        """What a line tells; None where it is none of such a bar's."""
        if "\u2501" not in line and self._bar is None:
            return None
        if found := _RICH.search(line[:LOOKED_AT]):
            self._bar = Told(
                "rich", {}, float(found["step"]), float(found["steps"]), float(found["epoch"]),
                float(found["epochs"]) + 1, within=True, base=0,
            )  # fmt: skip
            return replace(self._bar, values=of_pairs("rich", pairs_of(found["behind"]), others=True).values)
        if self._bar is None or not _RICH_BELOW.fullmatch(line[:LOOKED_AT]):
            self._bar = None
            return None
        return replace(self._bar, values=of_pairs("rich", pairs_of(line), others=True).values)


class Keras:
    """Reads Keras' bars; the line before them tells their epoch."""

    def __init__(self) -> None:
        self._epoch: Told | None = None
        self._batches: float | None = None  # of an epoch of the training

    def read(self, line: str) -> Told | None:
        """What a line tells; None where it is none of Keras'."""
        if "Epoch " in line and (header := _KERAS_EPOCH.fullmatch(line[:LOOKED_AT])):
            self._epoch = Told("keras", {}, epoch=float(header["epoch"]), epochs=float(header["epochs"]), base=1)
            return self._epoch
        found = _KERAS.search(line[:LOOKED_AT]) if self._epoch is not None and "/" in line else None
        if not found or self._epoch is None:
            return None
        told = of_pairs("keras", pairs_of(found["behind"]), others=True)
        step, steps = float(found["step"]), float(found["steps"])
        self._batches = self._batches or steps
        if steps != self._batches:  # model.evaluate, behind the training
            return Told("keras", told.values, whose="test") if step == steps and told.values else None
        return replace(self._epoch, values=told.values, step=step, steps=steps, within=True, redrawn=True)


def _float(text: str | None) -> float | None:
    return None if text is None else float(text)


def _seconds(text: str) -> float:
    """Of `1:02:03`."""
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds
