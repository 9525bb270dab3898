"""What only several lines of a log tell: divergence, and where it began.

`Divergence` looks at each loss as it comes, cheap enough to follow a training; `Watch` keeps what a diagnosis needs.
"""

import math
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from provision.logs.caffe import DebugInfo, Event, Metric
from provision.logs.meaning import named_loss
from provision.logs.recovery import Recovery

# what a loss gives where the right class has probability 0: the logarithm's argument is held above that (FLT_MIN in
# softmax_loss_layer.cpp, kLOG_THRESHOLD in loss_layer.hpp)
FLOORS = {87.3365: "the smallest float", 46.0517: "1e-20"}
TIMES, _DISPLAYS = 20.0, 10
_RECENT, _SAME = 5, 2  # of so many numbers in a row so many are a floor, and none is far from it
FAR = 0.15
_LEAST = (1 - FAR) * min(FLOORS)
_GROWN = 100.0
_NO_NUMBER = r"(?<![A-Za-z])(?i:nan|inf|infinity)(?![A-Za-z])"
_FAR_ABOVE, _STANDS = "has been above", "stands at"
_RATE = (
    "a smaller learning rate: a tenth, then a tenth of that (base_lr, or --set learning_rate=…)",
    "clip_gradients in the solver, and a longer warm-up",
    "input that is scaled or has its mean subtracted, and fillers that fit (xavier, msra)",
)


@dataclass(frozen=True)
class Trouble:
    """What was seen, with the line that shows it (0: none)."""

    name: str
    what: str
    why: str
    mends: tuple[str, ...]
    line: int = 0
    text: str = ""
    kind: str = "divergence"


class Divergence:
    """Feed it events; `seen` is what is wrong with the loss, once it is: not a number, stuck where the right class has
    probability 0, or far above its start (`times` the first, for `displays` in a row; a start below 1 counts as 1). The
    first two are looked for in each output that is a loss, too: of several heads one may be lost, and a weight hides
    the number in the sum."""

    def __init__(self, times: float = TIMES, displays: int = _DISPLAYS) -> None:
        self._times, self._displays = times, displays
        self._start: float | None = None
        self._above = 0
        self._recent: dict[tuple[str, int, str], deque[float]] = {}
        self._weights_told = False
        self.seen: Trouble | None = None

    def feed(self, event: Event) -> None:
        """Take one event in."""
        if self.seen is not None or not isinstance(event, Metric):
            return
        if event.phase == "solver":
            if event.name == "loss":
                self.seen = self._lost(event, "the loss") or self._far_above(event)
            return
        self._weights_told |= event.weight is not None
        if event.weight is not None or (not self._weights_told and named_loss(event.name)):
            called = "" if event.name in ("loss", "test loss") else f" {event.name}"
            self.seen = self._lost(event, f"the {'test ' * (event.phase == 'test')}loss{called}")

    def _lost(self, event: Metric, called: str) -> Trouble | None:
        """Not a number, or the number of a loss whose right classes have probability 0."""
        value, at = event.value, event.iteration
        if not math.isfinite(value):
            return Trouble("diverged", f"{called} is {value} at iteration {at}: the training has diverged", "", _RATE)
        key = (event.phase, event.net, event.name)
        if value < _LEAST:
            self._recent.pop(key, None)
            return None
        recent = self._recent.setdefault(key, deque(maxlen=_RECENT))
        recent.append(value)
        for floor, of in FLOORS.items():
            same = sum(abs(one - floor) < 0.001 for one in recent)
            if (
                len(recent) == _RECENT
                and same >= _SAME
                and all((1 - FAR) * floor < one < floor + 0.001 for one in recent)
            ):
                why = (
                    f"that is -ln of {of}: the net is sure and wrong, of each example or nearly, and its gradient is 0"
                )
                return Trouble("saturated", f"{called} {_STANDS} {floor:g} (iteration {at})", why, _RATE)
        return None

    def _far_above(self, event: Metric) -> Trouble | None:
        loss, at = event.value, event.iteration
        self._start = max(abs(loss), 1.0) if self._start is None else self._start
        self._above = self._above + 1 if loss > self._times * self._start else 0
        if self._above < self._displays:
            return None
        what = f"the loss {_FAR_ABOVE} {self._times:g} times its start for {self._displays} displays: {loss:g}"
        return Trouble("diverged", f"{what} at iteration {at}", "", _RATE)


@dataclass(frozen=True)
class _Noted:
    line: int = 0
    text: str = ""


@dataclass
class Watch:
    """Feed it one attempt's log in order, text and events of the same lines; then ask for the troubles."""

    divergence: Divergence = field(default_factory=Divergence)
    diverged_at: _Noted = _Noted()
    bad: DebugInfo | None = None
    bad_at: _Noted = _Noted()
    updates: dict[str, DebugInfo] = field(default_factory=dict)  # of the last display; only old versions print them
    weights: dict[str, tuple[float, float]] = field(default_factory=dict)  # mean |x| before, and at the last display
    input: str = ""  # the layer that comes first
    shown_bad: bool = False  # the display with the bad number is over
    recovery: Recovery = field(default_factory=Recovery)
    _noted: Trouble | None = None

    def read(self, text: bytes, lines_before: int, events: Sequence[Event]) -> None:
        """Take whole lines in, how many lines came before them, and the events that they tell."""
        for event in events:
            if isinstance(event, Metric):
                self._metric(event, text, lines_before)
            elif isinstance(event, DebugInfo):
                self._debug(event, text, lines_before)

    def _metric(self, event: Metric, text: bytes, before: int) -> None:
        self.recovery.feed(event)
        if self.recovery.back:
            self._lives()
        if self._noted and self.recovery.back and not self.recovery.displayed and event.phase == "solver":
            return  # the average that never comes back
        known = self.divergence.seen
        self.divergence.feed(event)
        if self.divergence.seen is not known:
            self.diverged_at = _line(text, _words(event), before)
            if not self.diverged_at.line and not math.isfinite(event.value):  # of another program than Caffe
                self.diverged_at = _line(text, _NO_NUMBER, before)
        if (event.phase, event.name) == ("solver", "loss"):
            self.shown_bad = self.bad is not None

    def _lives(self) -> None:
        """What was told of a loss that was no number becomes a note: the net lives."""
        found = self.divergence.seen
        if found is None or found.why or self.bad is not None or "diverged" not in found.what:
            return
        stays = "" if self.recovery.displayed else "; the average that is displayed (average_loss) never comes back"
        what = f"a loss was no number at iteration {self.recovery.lost_at:,}, and is one again, as low as before{stays}"
        if "the test loss" in found.what:
            what = f"{found.what.partition(':')[0]}, and the training's losses are as low as before"
        why = "one batch gave it, most often one without any label or box that counts"
        noted = Trouble("loss-nan-once", what, why, (), self.diverged_at.line, self.diverged_at.text, "note")
        self._noted = self._noted or noted
        self.divergence, self.diverged_at = Divergence(), _Noted()

    def notes(self) -> Iterator[Trouble]:
        """What is worth a sentence, and no cause."""
        if self._noted is not None:
            yield self._noted
        if (found := self.divergence.seen) is not None and self._came_down(found):
            what = found.what.replace(_FAR_ABOVE, "was above", 1).replace(_STANDS, "stood at", 1)
            yield replace(found, name="loss-far-above-once", what=f"{what}, and has come down again",
                          line=self.diverged_at.line, text=self.diverged_at.text, kind="note")  # fmt: skip

    def _came_down(self, found: Trouble) -> bool:
        high = _FAR_ABOVE in found.what or found.name == "saturated"
        return high and self.bad is None and self.recovery.down

    def _debug(self, event: DebugInfo, text: bytes, before: int) -> None:
        if self.shown_bad:
            return
        self.input = self.input or event.layer
        key = f"{event.layer}/{event.blob}"
        if event.step == "forward" and event.blob.isdecimal() and event.data is not None:
            self.weights[key] = (self.weights.get(key, (0.0, event.data))[1], event.data)
        if self.bad is not None:
            return
        if event.step == "update":
            self.updates[key] = event
        if not all(math.isfinite(value) for value in (event.data, event.diff) if value is not None):
            self.bad = event
            name = re.escape(event.layer)
            self.bad_at = _line(text, rf"\[{event.step.title()}\] Layer {name}, .*?(?:nan|inf)", before)

    # what it means

    def troubles(self) -> Iterator[Trouble]:
        """The troubles seen."""
        if self.divergence.seen is not None and self._came_down(self.divergence.seen):
            return
        if self.divergence.seen is not None:
            yield self._where(self.divergence.seen)
        elif self.bad is not None:
            yield self._where(Trouble("diverged", "a number of the net is not finite", "", _RATE))

    def _where(self, trouble: Trouble) -> Trouble:
        """The trouble with the layer where it began, if the log has debug_info."""
        at = self.diverged_at
        trouble = replace(trouble, line=at.line, text=at.text)
        if self.bad is None:
            if trouble.why:
                return trouble
            hint = "debug_info: true in the solver (and display: 1) tells the layer where it begins"
            return replace(trouble, why=f"the learning rate is too high, or the data are bad; {hint}")
        why, mends = self._kind(self.bad)
        what = f"{trouble.what}; it began in layer {self.bad.layer} ({self.bad.step})"
        return replace(trouble, what=what, why=why, mends=mends, line=self.bad_at.line, text=self.bad_at.text)

    def _kind(self, bad: DebugInfo) -> tuple[str, tuple[str, ...]]:
        """Which of three is to blame: the data, the updates, or the layer itself."""
        if bad.step == "forward" and (bad.layer == self.input or "data" in bad.layer.lower()):
            return f"layer {bad.layer} gives it: the data are bad, not the training", (
                "look at the records: provision data check, provision data lmdb-show",
                "see scale and mean of transform_param",
            )
        if grown := self._grown() or (bad.step == "update" and f"the update of layer {bad.layer}"):
            return f"{grown}: the learning rate is too high", _RATE
        if bad.step == "backward":
            return f"forward was sound; the gradient of layer {bad.layer} is not", (
                "the loss just above this layer: a division or a logarithm of 0, a label that is no class",
                *_RATE,
            )
        return f"weights and updates were sound; layer {bad.layer} makes it of sound numbers", (
            "a division, a power or a logarithm in this layer; eps of batch normalisation",
            "look at the records: provision data check",
            *_RATE,
        )

    def _grown(self) -> str:
        """The weights that grew most between two displays, or were changed by more than they are."""
        grown = sorted(
            self.weights.items(), key=lambda weight: (weight[1][0] == 0, -_ratio(weight[1][1], weight[1][0]))
        )
        for key, (old, new) in grown:  # biases, which begin at 0, last
            if _ratio(new, old) > _GROWN and not new < 1:
                layer = key.partition("/")[0]
                return f"the weights of layer {layer} grew from {old:g} to {new:g} between two displays"
        for update in sorted(self.updates.values(), key=lambda update: -_ratio(update.diff, update.data)):
            if _ratio(update.diff, update.data) > 1 and update.diff is not None and not update.diff < 1:
                sizes = f"weights {update.data:g}, change {update.diff:g}"
                return f"the update before was too large (layer {update.layer}: {sizes})"
        return ""


def _ratio(new: float | None, old: float | None) -> float:
    """The ratio of two magnitudes; infinite where one is not finite, large where the old one is 0."""
    if new is None or old is None:
        return 0.0
    return new / max(old, 1e-6) if math.isfinite(new) and math.isfinite(old) else math.inf


def _words(event: Metric) -> str:
    """An expression for the line that told a number."""
    if event.phase == "solver":
        return rf"Iteration {event.iteration}\b.*loss = |\"iter\": {event.iteration}\b"
    value = rf"{event.value:g}" if math.isfinite(event.value) else r"-?(?:nan|inf|1\.#)"
    return rf"output #{event.output}: {re.escape(event.name)} = {value}|Test loss: {value}"


def _line(text: bytes, pattern: str, before: int) -> _Noted:
    """Number and text of the first line with that."""
    found = re.search(rb"^.*(?:" + pattern.encode() + rb").*$", text, re.MULTILINE)
    if not found:
        return _Noted()
    return _Noted(before + text.count(b"\n", 0, found.start()) + 1, found[0].decode(errors="replace"))
