"""What holds a training up: the first test, a test that prints everything, GPUs that wait for each other, the data."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from provision.logs.caffe import Ended, Event, Metric
from provision.logs.divergence import Trouble

_MANY_OUTPUTS = 10_000
# what tells where it is before its first display
_PLACES = (b"Testing net (#", b"Starting Optimization", b"Solving ", b"Optimization ")
_WAITS = re.compile(r"Waiting for data|Data layer prefetch queue empty")
_UNSURE = ("if it runs no more, it was killed: dmesg on its machine; provision diagnose FILE --exit-code 137",)


@dataclass(frozen=True)
class _Noted:
    """A line of the log and its number."""

    line: int = 0
    text: str = ""


@dataclass
class Standing:
    """Feed it one attempt's log in order, text and events of the same lines; then ask for the troubles."""

    shown: int = 0  # displays
    outputs: Counter[str] = field(default_factory=Counter)  # of the test under way, by name
    ended: bool = False
    gpus: int = 1
    test_iter: str = ""
    place: _Noted = _Noted()  # the last line that tells where it is
    last: _Noted = _Noted()  # the last line

    def read(self, text: bytes, lines_before: int, events: Sequence[Event]) -> None:
        """Take whole lines in, how many lines came before them, and the events that they tell."""
        for event in events:
            if isinstance(event, Metric):
                if event.phase == "test":
                    self.outputs[event.name] += 1
                elif event.phase == "solver" and event.name == "loss":
                    self.shown, self.ended = self.shown + 1, False
                    self.outputs.clear()
            elif isinstance(event, Ended):
                self.ended = True
        if not self.shown:
            self._note(text, lines_before)
        if end := text.rstrip():
            self.last = _at(text, len(end) - 1, lines_before)

    def _note(self, text: bytes, before: int) -> None:
        """Settings, and the last line that tells where it is."""
        if found := re.search(rb"^test_iter: (\d+)", text, re.MULTILINE):
            self.test_iter = found[1].decode()
        if b"Using GPUs " in text and (found := re.search(rb"Using GPUs ([\d, ]+)", text)):
            self.gpus = found[1].count(b",") + 1
        at = max(text.rfind(place) for place in _PLACES)
        if at >= 0:
            self.place = _at(text, at, before)

    def troubles(self, state: str, failed: bool) -> Iterator[Trouble]:
        """The troubles seen. `failed`: the program ended itself. A run whose `state` is over does not hang."""
        if max(self.outputs.values(), default=0) > _MANY_OUTPUTS:
            yield self._many()
        if not failed and not self.ended and state in ("", "running", "starting", "stopped"):
            yield from (replace(trouble, mends=trouble.mends + _UNSURE * (not state)) for trouble in self._standing())

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
            self.place.line,
            self.place.text,
            "cause",
        )

    def _standing(self) -> Iterator[Trouble]:
        """What holds a training up: the data at any time; before its first display the first test, or the link."""
        text, line = self.place.text, self.place.line
        if _WAITS.search(self.last.text):
            yield Trouble(
                "stuck-data", "it waits for data, as its last line says, and nothing comes after it",
                "the database is on a slow or remote disk, or read for the first time; or the thread that reads it "
                "has died: a record that cannot be read, a crop larger than the picture",
                ("if displays still come: nothing, it says so now and then",
                 "put the data on the machine's own disk (provision data sync, train --data)",
                 "look at the records: provision data check, provision data lmdb-show",
                 "a larger prefetch in data_param, fewer distortions in transform_param"),
                self.last.line, self.last.text, "symptom",
            )  # fmt: skip
        elif self.shown:
            return
        elif "Testing net" in text and ("Iteration 0, " in text or not self.outputs):
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


def _at(text: bytes, at: int, before: int) -> _Noted:
    """Number and text of the line that has this byte."""
    begin, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
    line = text[begin : end if end >= 0 else len(text)]
    return _Noted(before + text.count(b"\n", 0, begin) + 1, line.decode(errors="replace"))
