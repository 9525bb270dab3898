"""What only several lines of a log tell: divergence and where it began, and what holds up iteration 0.

`Divergence` looks at each loss as it comes, cheap enough to follow a training; `Watch` keeps what a diagnosis needs.
"""

import math
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from provision.logs.caffe import DebugInfo, Ended, Event, Metric
from provision.logs.meaning import named_loss

# what a loss gives where the right class has probability 0: the logarithm's argument is held above that (FLT_MIN in
# softmax_loss_layer.cpp, kLOG_THRESHOLD in loss_layer.hpp)
FLOORS = {87.3365: "the smallest float", 46.0517: "1e-20"}
_TIMES, _DISPLAYS = 20.0, 10
_RECENT, _SAME = 5, 2  # of so many numbers in a row so many are a floor, and none is far from it
_FAR = 0.15
_LEAST = (1 - _FAR) * min(FLOORS)
_MANY_OUTPUTS = 10_000
_GROWN = 100.0
# what tells where it is before its first display
_PLACES = (b"Testing net (#", b"Waiting for data", b"Starting Optimization", b"Solving ", b"Optimization ")
_UNSURE = ("if it runs no more, it was killed: dmesg on its machine; provision diagnose FILE --exit-code 137",)
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

    def __init__(self, times: float = _TIMES, displays: int = _DISPLAYS) -> None:
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
                and all((1 - _FAR) * floor < one < floor + 0.001 for one in recent)
            ):
                why = (
                    f"that is -ln of {of}: the net is sure and wrong, of each example or nearly, and its gradient is 0"
                )
                return Trouble("saturated", f"{called} stands at {floor:g} (iteration {at})", why, _RATE)
        return None

    def _far_above(self, event: Metric) -> Trouble | None:
        loss, at = event.value, event.iteration
        self._start = max(abs(loss), 1.0) if self._start is None else self._start
        self._above = self._above + 1 if loss > self._times * self._start else 0
        if self._above < self._displays:
            return None
        what = f"the loss has been above {self._times:g} times its start for {self._displays} displays: {loss:g}"
        return Trouble("diverged", f"{what} at iteration {at}", "", _RATE)


@dataclass(frozen=True)
class _Noted:
    line: int = 0
    text: str = ""


@dataclass
class Watch:
    """Feed it the log in order, text and events of the same lines; then ask for the troubles."""

    divergence: Divergence = field(default_factory=Divergence)
    diverged_at: _Noted = _Noted()
    bad: DebugInfo | None = None
    bad_at: _Noted = _Noted()
    updates: dict[str, DebugInfo] = field(default_factory=dict)  # of the last display; only old versions print them
    weights: dict[str, tuple[float, float]] = field(default_factory=dict)  # mean |x| before, and at the last display
    input: str = ""  # the layer that comes first
    shown_bad: bool = False  # the display with the bad number is over
    shown: int = 0  # displays
    outputs: Counter[str] = field(default_factory=Counter)  # of the test under way, by name
    ended: bool = False
    gpus: int = 1
    test_iter: str = ""
    last: _Noted = _Noted()  # the last line of those that tell where it is
    attempt: int = 0

    def read(self, text: bytes, lines_before: int, events: Sequence[Event]) -> None:
        """Take whole lines in, how many lines came before them, and the events that they tell."""
        for event in events:
            self._take(event, text, lines_before)
        if not self.shown:
            self._note(text, lines_before)

    def _take(self, event: Event, text: bytes, before: int) -> None:
        if event.attempt != self.attempt:
            self.attempt, self.shown, self.ended = event.attempt, 0, False
        if isinstance(event, DebugInfo):
            self._debug(event, text, before)
        elif isinstance(event, Metric):
            self._metric(event, text, before)
        elif isinstance(event, Ended):
            self.ended = True

    def _metric(self, event: Metric, text: bytes, before: int) -> None:
        known = self.divergence.seen
        self.divergence.feed(event)
        if self.divergence.seen is not known:
            self.diverged_at = _line(text, _words(event), before)
        if event.phase == "test":
            self.outputs[event.name] += 1
        elif (event.phase, event.name) == ("solver", "loss"):
            self.shown, self.ended = self.shown + 1, False
            self.shown_bad = self.bad is not None
            self.outputs.clear()

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

    def _note(self, text: bytes, before: int) -> None:
        """Settings, and the last line that tells where it is."""
        if found := re.search(rb"^test_iter: (\d+)", text, re.MULTILINE):
            self.test_iter = found[1].decode()
        if b"Using GPUs " in text and (found := re.search(rb"Using GPUs ([\d, ]+)", text)):
            self.gpus = found[1].count(b",") + 1
        at = max(text.rfind(place) for place in _PLACES)
        if at >= 0:
            begin, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
            line = text[begin : end if end >= 0 else len(text)]
            self.last = _Noted(before + text.count(b"\n", 0, begin) + 1, line.decode(errors="replace"))

    # what it means

    def troubles(self, state: str, failed: bool) -> Iterator[Trouble]:
        """The troubles seen. `failed`: the program ended itself. A run whose `state` is over does not hang."""
        if self.divergence.seen is not None:
            yield self._where(self.divergence.seen)
        elif self.bad is not None:
            yield self._where(Trouble("diverged", "a number of the net is not finite", "", _RATE))
        if max(self.outputs.values(), default=0) > _MANY_OUTPUTS:
            yield self._many()
        if not failed and not self.ended and not self.shown and state in ("", "running", "starting", "stopped"):
            yield from (replace(trouble, mends=trouble.mends + _UNSURE * (not state)) for trouble in self._standing())

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

    def _many(self) -> Trouble:
        name, count = self.outputs.most_common(1)[0]
        return Trouble(
            "test-prints-everything",
            f"a test prints every number of {name}: {count:,} lines and more",
            f"the TEST phase has the output {name}, which is no single number, and each test prints all its values",
            (
                "leave the loss (and an accuracy) in the TEST phase, and end other tops in a Silence layer",
                "test_initialization: false, a small test_iter: provision net lint FILE finds it",
            ),
            self.last.line,
            self.last.text,
            "cause",
        )

    def _standing(self) -> Iterator[Trouble]:
        """What holds a training up before its first display: the first test, the link between GPUs, or the data."""
        text, line = self.last.text, self.last.line
        if "Waiting for data" in text:
            yield Trouble(
                "stuck-data", "it waits for data", "the LMDB is on a slow or remote disk, or read for the first time",
                ("put the data on the machine's own disk (provision data sync, train --data)",
                 "a larger prefetch in data_param"), line, text, "symptom",
            )  # fmt: skip
        elif "Testing net" in text:
            runs = f" ({self.test_iter} batches)" if self.test_iter else ""
            yield Trouble(
                "stuck-first-test", f"it runs the first test{runs} before it trains, and prints nothing meanwhile",
                "test_initialization is true by default; a large net takes seconds for each batch of test_iter",
                ("wait, or set test_initialization: false", "a smaller test_iter"), line, text, "symptom",
            )  # fmt: skip
        elif self.gpus > 1 and ("Starting Optimization" in text or "Solving" in text):
            yield Trouble(
                "stuck-gpus", f"nothing comes after the start on {self.gpus} GPUs: they wait for each other",
                "one GPU does not reach the other (peer to peer); known of V100 with drivers before 396.26",
                ("train --env NCCL_P2P_DISABLE=1", "a newer driver, or iommu=soft for the host's kernel",
                 "train with --gpus 1 to see whether this is the cause"), line, text, "symptom",
            )  # fmt: skip


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
