"""Lines of words that say where the training is: `step=100 loss=0.5`, `Epoch: [0][10/100] Loss 0.1 (0.2)`.

A line counts where it tells a step or an epoch, or stands below a line that does, and has the name of a metric. What
they look like is documented by the programs themselves: PyTorch's examples (imagenet: `Epoch: [0][  10/5005]\tLoss 6.9
(7.0)` and ` * Acc@1 71.1`; mnist: `Train Epoch: 1 [640/60000 (1%)]\tLoss: 2.3`, `Test set: Average loss: 0.05`) and
tutorials (`Epoch 0/24` above `train Loss: 0.6 Acc: 0.7`; `Epoch 1` above `loss: 2.3  [   64/60000]`), timm (`Train: 0 [
50/1251 (  4%)]  Loss: 6.95 (6.94)`), mmdetection and mmengine (`Epoch [1][50/7330]  lr: …`, `Iter(train) [ 50/90000]`),
Detectron2 (`eta: …  iter: 19 total_loss: …`), TensorFlow (`loss = 0.3, step = 101 (0.5 sec)`), Megatron (`iteration
100/ 5000 | lm loss: 7.1E+00 |`), nanoGPT (`iter 100: loss 2.3, time 12ms`), XGBoost and LightGBM
(`[10]\ttrain-rmse:0.5`), darknet (`100: 2.3, 2.1 avg loss, …`).
"""

import re
from dataclasses import replace

from provision.logs.metrics.pairs import LOOKED_AT, NUMBER, pairs_of
from provision.logs.metrics.told import Told, has_metric, of_pairs

_BATCHES = re.compile(  # an epoch, and how much of it is done
    r"(?<![\w/.-])(?:(?P<whose>train|val|valid|validation|test|eval)\w*[ _-]*)?(?P<word>epoch)?"
    r"(?P<mode>\((?:train|val|test)\))?(?P<colon>[:\s]{0,4})(?P<open>\[?)\s{0,8}(?P<epoch>\d{1,15})"
    r"(?:\s{0,2}/\s{0,2}(?P<epochs>\d{1,15}))?\s{0,2}"
    r"(?:\]|[\s,:|\u2500-\u257f-]|(?=\[))[\s,:|\u2500-\u257f-]{0,80}(?:iter|step|batch)?[:\s]{0,4}"
    r"(?P<bracket>\[?)\s{0,12}(?P<step>\d{1,15})\s{0,2}/\s{0,12}(?P<steps>\d{1,15})",
)
_STEP = re.compile(
    r"(?<![\w/.-])(?<!per )(?:(?:global|training|train)[ _]?)?(?:step|iter(?:ation)?s?|update|itr)"
    r"(?P<mode>\((?:train|val|test)\))?\s{0,12}[=:#]?\s{0,12}\[?\s{0,12}(?P<step>\d{1,3}(?:,\d{3}){1,4}(?!\d)|\d{1,15})(?!\.?[\d%])"
    r"(?:\s{0,2}/\s{0,12}(?P<steps>\d{1,15}))?",
)
_EPOCH = re.compile(
    r"(?<![\w/.-])epoch(?P<mode>\((?:train|val|test)\))?\s{0,4}[=:#]?\s{0,4}[\[(]?\s{0,8}(?P<epoch>\d{1,15}(?:\.\d{1,15})?)"
    r"(?:\s{0,2}(?:/|of)\s{0,2}(?P<epochs>\d{1,15}))?",
)
_HEADER = re.compile(r"[\W_]*epoch[\s:#]*(?P<epoch>\d+)(?:\s*(?:/|of)\s*(?P<epochs>\d+))?[\W_]*")
_BATCH = re.compile(
    r"(?<![\w/.-])batch\s{0,4}[=:#]?\s{0,4}(?P<step>\d{1,15})(?!\.?[\d%])(?:\s{0,2}/\s{0,2}(?P<steps>\d{1,15}))?"
)
_PART = re.compile(
    r"\[\s{0,12}(?P<step>\d{1,15})\s{0,2}/\s{0,12}(?P<steps>\d{1,15})\s{0,2}(?:\(\s{0,2}\d{1,3}%\))?\s{0,2}\]"
)
_ROUND = re.compile(r"^\s*\[(?P<step>\d+)\]\s+\S")  # XGBoost's and LightGBM's
_PHASE = re.compile(
    r"(?:^|[\]|>:-]|info)\s{0,4}\*?\s{0,4}(?P<whose>train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?|eval(?:uation)?)\b"
    r"(?:\s{1,2}(?:set|results?|metrics|error))?(?:\s{0,4}[:(\-]|\s{1,2}loss at )",
)
_FIRST = re.compile(r"\s*(?P<whose>train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?|eval(?:uation)?)[\s:-]+(?=[A-Za-z])")
_ALONE = re.compile(r"\s*(?P<whose>val(?:id(?:ation)?)?|test|eval(?:uation)?)(?: (?:error|results?|set|metrics))?:\s*")
_STAR = re.compile(r"\s*\* +\w")  # what PyTorch's imagenet tells of a whole validation
_DARKNET = re.compile(
    rf"(?:^|[\s)])(?P<step>\d+): (?P<loss>{NUMBER}), (?P<avg>{NUMBER}) avg(?: loss)?, (?P<rate>{NUMBER}) rate",
)
_Match = re.Match[str] | None
_SHORT = 80  # characters
_SMALL = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_MAY_BE_OF_OTHERS = ("best", "improv", "load", "resum", "restor", "sav", "checkpoint", "namespace(")
_OF_OTHERS = re.compile(
    r"\bbest (?:model|epoch|val|valid|test|loss|acc|score|checkpoint|step|iter)|\bimprove|\bload(?:ed|ing)\b"
    r"|\bresum|\brestor|\b(?:saved?|saving|checkpoint)\b.*\bat (?:epoch|step|iter)|namespace\(",
)


def of_darknet(line: str) -> Told | None:
    """`100: 2.3, 2.1 avg loss, 0.001 rate, 1.2 seconds, 6400 images`: the loss and its average of darknet's."""
    found = _DARKNET.search(line)
    if not found:
        return None
    values = {"loss": float(found["loss"]), "avg_loss": float(found["avg"]), "lr": float(found["rate"])}
    return Told("darknet", values, step=float(found["step"]))


class Words:
    """Reads lines of words, in order: some belong to an epoch that a line above them tells."""

    def __init__(self, unplaced: bool = False) -> None:
        self._unplaced = unplaced  # lines that say no step count, too
        self._header: Told | None = None
        self._whose = ""  # of the line that follows

    def read(self, line: str) -> Told | None:
        """What a line tells; None where that is nothing of a training."""
        line, below, self._whose = line[:LOOKED_AT], self._whose, ""
        low = lowered(line)
        if "epoch" in low and len(low) < _SHORT and (header := _HEADER.fullmatch(low)):
            self._header = Told("", epoch=float(header["epoch"]), epochs=_float(header["epochs"]))
        elif low.endswith((":", ": ")) and (alone := _ALONE.fullmatch(low)):
            self._whose = alone["whose"]
        elif not (any(word in low for word in _MAY_BE_OF_OTHERS) and _OF_OTHERS.search(low)):
            return self._told(line, low, below)
        return None

    def _told(self, line: str, low: str, below: str) -> Told | None:
        place, rest = _place(line, low)
        whose = place.whose or below
        told = of_pairs("key-value", pairs_of(rest, means=whose not in ("", "train")), others=True)
        if not has_metric(told):
            return None
        place = replace(
            place, form="key-value", values=told.values, whose=whose, steps=place.steps or told.steps,
            step=told.step if place.step is None else place.step, epochs=place.epochs or told.epochs,
            epoch=told.epoch if place.epoch is None else place.epoch,
        )  # fmt: skip
        if not place.placed:
            place = self._below(low, place)
        if not place.placed and not place.whose and not self._unplaced:
            return None
        if place.whose not in ("", "train") and place.within and place.step != place.steps:
            return None  # a part of a validation
        return place

    def _below(self, line: str, place: Told) -> Told:
        """The place of a line that says none, below one that says its epoch."""
        part = _PART.search(line) or _BATCH.search(line)
        first = _FIRST.match(line)
        whose = place.whose or (first["whose"] if first else "")
        whose = "train" if whose.startswith("train") else whose
        if part and whose not in ("", "train"):
            return replace(place, whose=whose, within=True, step=float(part["step"]), steps=_float(part["steps"]))
        if self._header is None or not (part or whose):
            return place
        header = replace(place, epoch=self._header.epoch, epochs=self._header.epochs)
        if part:
            steps = _float(part["steps"])
            return replace(header, step=float(part["step"]), steps=steps, within=steps is not None)
        return replace(header, whose=whose)


def lowered(line: str) -> str:
    """The line in small letters, as long as it is."""
    return line.lower() if line.isascii() else line.translate(_SMALL)


def _place(line: str, low: str) -> tuple[Told, str]:
    """Where a line says that the training is, and the line without that. `low` is the line in small letters."""
    whose = "test" if _STAR.match(low) else _held_out(found["whose"]) if (found := _PHASE.search(low)) else ""
    for batches in _BATCHES.finditer(low) if "/" in low else ():
        if batches["word"] or (batches["whose"] and batches["bracket"]):
            return _of_batches(batches, whose), line[: batches.start()] + " " + line[batches.end() :]
    step, epoch = _STEP.search(low) or _ROUND.search(low), _EPOCH.search(low) if "epoch" in low else None
    cuts = sorted((found.span() for found in (step, epoch) if found and found.re is not _ROUND), reverse=True)
    rest = line
    for begin, end in cuts:
        rest = rest[:begin] + " " + rest[end:]
    return _of_step(step, epoch, _BATCH.search(low) if epoch and not step else None, whose), rest


def _of_batches(found: "re.Match[str]", whose: str) -> Told:
    """An epoch, and the batches of it that are done."""
    mode = (found["mode"] or found["whose"] or whose).strip("()")
    epoch, epochs = float(found["epoch"]), _float(found["epochs"])
    return Told(
        "", {}, float(found["step"]), float(found["steps"]), epoch, epochs, within=True, base=_base(found),
        whose=_held_out(mode),
    )  # fmt: skip


def _of_step(step: _Match, epoch: _Match, batch: _Match, whose: str) -> Told:
    """A step, an epoch, or both; where no step is told, a batch of the epoch."""
    counted = step or batch
    groups = counted.groupdict() if counted else {}
    mode = groups.get("mode") or (epoch["mode"] if epoch else None) or ""
    steps = _float(groups.get("steps"))
    return Told(
        "", {}, _float(groups.get("step")), steps, _float(epoch["epoch"]) if epoch else None,
        _float(epoch["epochs"]) if epoch else None,
        within=steps is not None and (step is None or mode not in ("", "(train)")),
        whose=_held_out(mode.strip("()") or whose),
    )  # fmt: skip


def _base(found: "re.Match[str]") -> int | None:
    """The number of the first epoch: 0 in `Epoch: [0][10/100]` and `Train: 0 [50/1251 (4%)]`, else nobody knows."""
    bracketed = found["open"] and ":" in found["colon"] and found["epochs"] is None
    return 0 if bracketed or not found["word"] else None


def _held_out(whose: str) -> str:
    return "" if whose.startswith("train") else whose


def _float(text: str | None) -> float | None:
    return None if text is None else float(text.replace(",", ""))
