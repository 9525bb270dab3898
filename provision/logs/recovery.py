"""A loss that was no number, or far above its start, for a while, of a net that lives.

One batch may give such a loss (a division by the number of its labels or boxes, where there are none) and leave the
weights alone. Caffe's displayed average (average_loss) then stays nan for ever, and the net's own outputs do not. A net
whose weights are lost may give finite losses, too: ReLU makes 0 of nan, and on the GPU a softmax loss makes 87.3365 of
it. So a loss counts as back only where it is as low as before and the net has learnt something. One that was far above
its start has come down where it ends below it: a net that is dead stands at its start.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from provision.logs.events import Metric
from provision.logs.meaning import named_loss

_DISPLAYS = 10
_AS_BEFORE, _LEARNT = 1.2, 0.8
_DOWN = 10.0


@dataclass
class Recovery:
    """Feed it all metrics of an attempt in order. `back`: the losses are numbers again and as low as before they were
    not; `lost_at`: the iteration of the first that was none; `displayed`: the sum that is displayed is a number."""

    back: bool = False
    lost_at: int | None = None
    displayed: bool = True
    _start: float | None = None
    _before: deque[float] = field(default_factory=lambda: deque(maxlen=_DISPLAYS))
    _after: list[float] = field(default_factory=list)
    _last: deque[float] = field(default_factory=lambda: deque(maxlen=_DISPLAYS))
    _sum: float | None = None  # the solver's, of the display under way
    _heads: float | None = None  # the sum of its losses
    _at: int = 0

    def feed(self, event: Metric) -> None:
        """Take one number in."""
        if event.phase == "solver":
            if event.name == "loss":
                self._over()
                self._sum, self._heads, self._at = event.value, None, event.iteration
                self.displayed = math.isfinite(event.value)
        elif event.weight is None and not named_loss(event.name):
            return
        elif event.phase == "train":
            weight = 1.0 if event.weight is None else event.weight
            self._heads = (self._heads or 0.0) + weight * event.value
        elif event.phase == "test" and self.lost_at is None and not math.isfinite(event.value):
            self._over()
            self._sum, self.lost_at = None, event.iteration

    def _over(self) -> None:
        """A display is over: its loss is that of the net's outputs, where it tells any."""
        level = self._sum if self._heads is None else self._heads
        if level is None:
            return
        self._last.append(level)
        lost = not math.isfinite(level) or (self.lost_at is None and not self.displayed)
        if lost:
            self.lost_at = self._at if self.lost_at is None else self.lost_at
            self.back, self._after = False, []
        elif self.lost_at is None:
            self._start = level if self._start is None else self._start
            self._before.append(level)
        elif not self.back:
            self._after = [*self._after, level][-_DISPLAYS:]
            self.back = len(self._after) == _DISPLAYS and self._as_before()

    @property
    def down(self) -> bool:
        """Whether the last displays are below the start; of a start below 1, which tells little, below 10."""
        if self._start is None or len(self._last) < _DISPLAYS:
            return False
        return sum(self._last) / len(self._last) <= (_LEARNT * self._start if self._start >= 1 else _DOWN)

    def _as_before(self) -> bool:
        if self._start is None or self._start <= 0:
            return False
        before, after = sum(self._before) / len(self._before), sum(self._after) / len(self._after)
        return after <= _AS_BEFORE * before and after <= _LEARNT * self._start
