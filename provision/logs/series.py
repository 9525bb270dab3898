"""A number's course over iterations, in constant memory: neighbours share a bucket, and buckets are joined in pairs
where they would become too many. A training that steps back to a snapshot forgets what came after it (`cut`)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

_MOST = 256  # buckets; an even number


@dataclass(slots=True)
class Bucket:
    """Neighbouring values: their iterations, how many, their sums, the lowest and the highest."""

    first: int
    last: int
    count: int
    total: float
    squares: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        return self.total / self.count


def joined(buckets: Sequence[Bucket]) -> Bucket:
    """One bucket of all (at least one)."""
    return Bucket(
        buckets[0].first, buckets[-1].last, sum(bucket.count for bucket in buckets),
        math.fsum(bucket.total for bucket in buckets), math.fsum(bucket.squares for bucket in buckets),
        min(bucket.low for bucket in buckets), max(bucket.high for bucket in buckets),
    )  # fmt: skip


def deviation(bucket: Bucket) -> float:
    """The standard deviation of a bucket's values."""
    return math.sqrt(max(0.0, bucket.squares / bucket.count - bucket.mean**2))


@dataclass
class Series:
    """Finite values over iterations. `begin` is the first, `end` the last one added."""

    count: int = 0
    begin: float = 0.0
    end: float = 0.0
    buckets: list[Bucket] = field(default_factory=list)
    _per: int = 1

    def add(self, at: int, value: float) -> None:
        """Add the next value; one that is not finite is left out."""
        if not math.isfinite(value):
            return
        if not self.count:
            self.begin = value
        self.count, self.end = self.count + 1, value
        last = self.buckets[-1] if self.buckets else None
        if last is not None and last.count < self._per:
            last.last, last.count, last.total = at, last.count + 1, last.total + value
            last.squares += value * value
            last.low, last.high = min(last.low, value), max(last.high, value)
            return
        if len(self.buckets) == _MOST:
            self.buckets = [joined(self.buckets[at : at + 2]) for at in range(0, _MOST, 2)]
            self._per *= 2
        self.buckets.append(Bucket(at, at, 1, value, value * value, value, value))

    def cut(self, at: int) -> None:
        """Forget the values from that iteration on; a bucket that it goes through is forgotten whole."""
        self.buckets = [bucket for bucket in self.buckets if bucket.last < at]
        self.count = sum(bucket.count for bucket in self.buckets)

    def part(self, begin: float, end: float) -> Bucket:
        """The values from one share of them (0 … 1) to another, as one bucket of at least one value."""
        size = len(self.buckets)
        first = min(int(begin * size), size - 1)
        return joined(self.buckets[first : max(math.ceil(end * size), first + 1)])

    def whole(self) -> Bucket:
        """All values (at least one) as one bucket."""
        return joined(self.buckets)

    @property
    def constant(self) -> float | None:
        """The value that all have exactly; None where they differ or there is none."""
        whole = self.whole() if self.buckets else None
        return whole.low if whole is not None and whole.low == whole.high else None
