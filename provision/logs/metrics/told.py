"""What one line of a log tells: where the training is, and numbers by their names as the line has them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite

from provision.logs.metrics.names import meaning

_MOST = 1e15  # steps


@dataclass(frozen=True)
class Told:
    """`step` of `steps`, `epoch` of `epochs`; None where the line does not tell. `within`: the step counts within its
    epoch. `base` is the number of the program's first epoch, None where nobody knows. `whose`: whose numbers all of the
    line's are ("val", …). `clock`: seconds on a scale of the program's own. `redrawn`: a bar, which may stand for the
    same step several times. `apart`: each name has steps of its own (TensorBoard). `over`: the training's last word."""

    form: str
    values: Mapping[str, float] = field(default_factory=dict)
    step: float | None = None
    steps: float | None = None
    epoch: float | None = None
    epochs: float | None = None
    within: bool = False
    base: int | None = None
    whose: str = ""
    clock: float | None = None
    redrawn: bool = False
    apart: bool = False
    over: bool = False

    @property
    def sane(self) -> bool:
        """Whether its steps and epochs can be some."""
        told = (self.step, self.steps, self.epoch, self.epochs)
        return all(number is None or 0 <= number < _MOST for number in told)

    @property
    def placed(self) -> bool:
        """Whether it says where the training is."""
        return self.step is not None or self.epoch is not None


PLACES = ("step", "epoch", "steps", "epochs", "clock")  # what tells where the training is, and when


def of_pairs(form: str, pairs: Iterable[tuple[str, float]], *, others: bool) -> Told:
    """What names and numbers tell. `others`: a name that nobody knows may be a metric."""
    places: dict[str, float] = {}
    values: dict[str, float] = {}
    for name, value in pairs:
        kind = meaning(name).kind
        if kind in PLACES:
            if isfinite(value) and (kind in ("epoch", "clock") or value == int(value) >= 0):
                places.setdefault(kind, value)
        elif kind in ("metric", "rate") or (kind == "other" and others):
            values.setdefault(name.strip(), value)
    return Told(
        form, values, places.get("step"), places.get("steps"), places.get("epoch"), places.get("epochs"),
        clock=places.get("clock"),
    )  # fmt: skip


def has_metric(told: Told) -> bool:
    """Whether any name is surely one of a metric or of a learning rate."""
    return any(meaning(name).kind in ("metric", "rate") for name in told.values)
