"""Where a training is, as one growing number, whatever a program counts: steps, batches of an epoch, epochs.

Steps go before epochs: a line that tells an epoch alone belongs to the step that was told last. A log that knows
epochs alone counts those; an epoch that is none yet (`'epoch': 0.25`) counts in thousandths.
"""

from provision.logs.metrics.told import Told

_THOUSANDTHS = 1000


class Place:
    """Feed it what lines tell, in order. `total` is the number of the last iteration, once it is known."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.total: int | None = None
        self.sure = False  # the total is the whole training's, and not only an epoch's
        self._steps = False  # steps were told
        self._zero = False  # an epoch 0 was told
        self._epoch: float | None = None
        self._last = 0.0  # step of the epoch, and of how many, as told last
        self._of: float | None = None
        self._passed = 0.0  # steps of the epochs before

    def of(self, told: Told) -> int | None:
        """The iteration of a line; None where nobody can know it."""
        self._zero |= told.epoch == 0
        if told.whose and told.whose != "train" and (told.within or told.step is None):
            return self._beside(told)
        if told.step is None:
            return self._of_epoch(told)
        self._steps = True
        at = self._in_epoch(told) if told.within and told.epoch is not None else self._on(told)
        self.at, self._epoch = int(at), told.epoch if told.epoch is not None else self._epoch
        self._last, self._of = told.step, told.steps
        return self.at

    def _beside(self, told: Told) -> int | None:
        """Of a validation: it belongs to the iteration that the training has reached."""
        if not self._steps and told.epoch is not None:
            return self._of_epoch(told)
        return self.at if self.at is not None else 0

    def _of_epoch(self, told: Told) -> int | None:
        if told.epoch is None or self._steps:
            return self.at
        whole = told.epoch == int(told.epoch) and self._passed == 0
        if not whole:
            self._passed = 1.0  # this log counts thousandths
        scale = 1 if whole else _THOUSANDTHS
        self.at = round(told.epoch * scale)
        if told.epochs:
            self._plan(told.epochs * scale, sure=True)
        return self.at

    def _in_epoch(self, told: Told) -> float:
        """Batches of all epochs."""
        per, epoch = told.steps or self._of or 0.0, told.epoch or 0.0
        base = 0 if self._zero else 1 if told.base is None else told.base
        if told.steps:
            self._plan(
                told.steps * told.epochs if told.epochs else told.steps * (epoch - base + 1), sure=bool(told.epochs)
            )
        return (epoch - base) * per + (told.step or 0.0)

    def _on(self, told: Told) -> float:
        """A step of the whole training, or of an epoch that does not say so: there it begins anew."""
        step = told.step or 0.0
        turned = step <= self._last if told.epoch is not None else step < self._last
        if told.epoch is not None and self._epoch is not None and told.epoch != self._epoch and turned:
            self._passed = self._passed + self._last if told.epoch > self._epoch else 0.0
        elif told.redrawn and turned:
            self._passed = self._passed + self._last if self._last == self._of else 0.0
        if told.steps and not self._passed:
            self._plan(told.steps, sure=not told.redrawn)
        return self._passed + step

    def _plan(self, total: float, *, sure: bool) -> None:
        if self.total != int(total):
            self.total = int(total)
        self.sure = sure
