"""What lines tell as the events of a training, whose words are Caffe's: the loss is the solver's and the net's own.

A number goes on being told in the form that told it first: the loss that a bar repeats of a logger's line is left out.
It counts once for each step. Where a number's step goes back, the program was started again: as a training of its own
if it begins where the first one did, else from a checkpoint.
"""

from collections.abc import Iterator
from dataclasses import replace

from provision.logs.events import Ended, Event, Metric, Planned, Resumed
from provision.logs.metrics.names import Named, is_loss, meaning
from provision.logs.metrics.place import Place
from provision.logs.metrics.told import Told

_MOST_NAMES = 2000
_WHOLE = ("loss", "total_loss")
_Numbers = list[tuple[Named, float]]
_Key = tuple[str, str]  # whose, and the bare name


class Teller:
    """Feed it what lines tell, in order. `begun`: a number was told."""

    def __init__(self, attempt: int) -> None:
        self.attempt, self.begun = attempt, False
        self.place = Place()
        self._count = 0  # displays of a log that tells no step
        self._forms: dict[_Key, str] = {}
        self._last: dict[_Key, int] = {}
        self._shown: dict[_Key, float] = {}  # of validations, by a bar
        self._first: int | None = None
        self._main, self._main_is_whole = "", False  # the loss that stands for the training
        self._nets: dict[str, int] = {}
        self._planned: int | None = None
        self._over = False

    def take(self, told: Told, seconds: float) -> Iterator[Event]:
        """The events of a line."""
        at = self._at(told)
        if told.values:
            if at is None:
                self._count += 1
                at = self._count
            yield from self._numbers(told, at, seconds)
        place = self.place
        if place.total is not None and place.total != self._planned and self.begun:
            self._planned = place.total
            yield Planned(self.attempt, seconds, place.total)
        last = bool(told.values) and place.sure and place.total is not None and at is not None and at >= place.total
        if told.over or last:
            yield from self.end(seconds)

    def end(self, seconds: float) -> Iterator[Event]:
        """The training has ended."""
        if self.begun and not self._over:
            self._over = True
            yield Ended(self.attempt, seconds, early=False, said="its last step was done")

    def _at(self, told: Told) -> int | None:
        if told.apart:
            return None if told.step is None else int(told.step)
        if told.redrawn and told.whose == "val":  # a bar of its own
            return self.place.at or 0
        return self.place.of(told)

    def _numbers(self, told: Told, at: int, seconds: float) -> Iterator[Event]:
        named = [(meaning(name), value) for name, value in told.values.items()]
        if told.whose not in ("", "train"):
            named = [(replace(one, whose=one.whose or told.whose), value) for one, value in named]
        fresh = [(one, value) for one, value in named if self._counts(told, one, value, at)]
        if not fresh:
            return
        if any(at < self._last.get((one.whose, one.bare), at) for one, _ in fresh):
            yield from self._again(at, seconds)
        self.begun = True
        self._over = self._over and not any(one.own for one, _ in fresh)
        self._first = at if self._first is None else self._first
        for one, _ in fresh:
            self._last[one.whose, one.bare] = at
        yield from self._own([pair for pair in fresh if pair[0].own], at, seconds)
        for one, value in fresh:
            if not one.own:
                net = self._nets.setdefault(one.whose, len(self._nets))
                yield Metric(self.attempt, seconds, at, "test", one.bare, value, net)

    def _counts(self, told: Told, one: Named, value: float, at: int) -> bool:
        """Whether a number is new, and told in the form that told it first."""
        key = (one.whose, one.bare)
        if key not in self._forms and len(self._forms) >= _MOST_NAMES:
            return False
        if self._forms.setdefault(key, told.form) != told.form or self._last.get(key) == at:
            return False
        if told.form != "tqdm" or one.own:
            return True
        before, self._shown[key] = self._shown.get(key), value  # a bar shows the last validation's on and on
        return before != value

    def _again(self, at: int, seconds: float) -> Iterator[Event]:
        """The program was started again."""
        self.attempt += 1
        self._last.clear()
        self._planned = None
        if self._first is None or at > self._first:
            yield Resumed(self.attempt, seconds, "", at)

    def _own(self, named: _Numbers, at: int, seconds: float) -> Iterator[Event]:
        """The training's own numbers of a line: the loss that stands for it first."""
        main = self._main_of([one for one, _ in named if is_loss(one.bare)])
        for one, value in sorted(named, key=lambda pair: pair[0] is not main):
            if one.kind == "rate":
                yield Metric(self.attempt, seconds, at, "solver", "lr", value)
                continue
            if one is main:
                yield Metric(self.attempt, seconds, at, "solver", "loss", value)
            yield Metric(self.attempt, seconds, at, "train", one.bare, value)

    def _main_of(self, losses: list[Named]) -> Named | None:
        """Of some losses the one that stands for the training: it is called loss, or total_loss, or is the first."""
        whole = [one for one in losses if one.bare.lower().rpartition("/")[2] in _WHOLE]
        if losses and not self._main_is_whole and (whole or not self._main):
            self._main, self._main_is_whole = (whole or losses)[0].bare.lower(), bool(whole)
        return next((one for one in losses if one.bare.lower() == self._main), None)
