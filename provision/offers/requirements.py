"""What the user asks `up` for, and what no region could serve."""

import math
from dataclasses import dataclass

from infra import names
from infra.aws.types import DataVolume, Wish
from infra.errors import UsageError
from provision.settings import Settings

LONGEST_H = 720.0


@dataclass(frozen=True)
class Requirements:
    """What the user asked `up` for: a type (with `or_equivalent` its stand-ins, too), or none, and GPUs by number and
    memory (10^9 bytes each). `avoid` is a zone that just took a machine from us; `image` the target that has to run.
    `own_run`: the machine is for one training, and powers off after it."""

    name: str
    type: str = ""
    market: str = "spot"
    avoid: str = ""
    gpus: int = 0
    gpu_memory_gb: float = 0.0
    or_equivalent: bool = False
    volumes: tuple[DataVolume, ...] = ()
    image: str = ""
    own_run: bool = False

    @property
    def kept(self) -> Wish:
        """What the machine's tags keep of it."""
        return Wish(self.type, self.or_equivalent, self.gpus, self.gpu_memory_gb)

    @property
    def what(self) -> str:
        """For messages."""
        if self.type:
            return self.type + (" or a stand-in" if self.or_equivalent else "")
        count = max(1, self.gpus)
        memory = (
            f" of at least {self.gpu_memory_gb:g} GB" + (" each" if count > 1 else "") if self.gpu_memory_gb else ""
        )
        return f"machine with {count} GPU{'s' if count > 1 else ''}{memory}"


def check(settings: Settings, wish: Requirements) -> None:
    """Refuse what no region could serve. UsageError."""
    names.MACHINE.check(wish.name)
    if bool(wish.type) == bool(wish.gpus or wish.gpu_memory_gb):
        raise UsageError("say what to rent", "--instance TYPE, or --gpus NUMBER and --gpu-memory GB")
    limits: tuple[tuple[str, float | None, float, float], ...] = (
        ("max_hours", settings.max_hours, 0.0, LONGEST_H),
        ("max_price", settings.max_price, 0.0, math.inf),
        ("budget", settings.budget, 0.0, math.inf),
        ("keep_on_error_minutes", settings.keep_on_error_minutes, 0.0, settings.max_hours * 60),
    )
    for key, value, above, most in limits:
        if value is not None and not above < value <= most:
            upper = "" if math.isinf(most) else f" and at most {most:g}"
            raise UsageError(f"{key} is {value:g}", f"it has to be more than {above:g}{upper}")
    if settings.idle_minutes < 0:
        raise UsageError(f"idle_minutes is {settings.idle_minutes:g}", "0 is never, more is how long")
    for setting, given, known in (
        ("fallback", settings.fallback, ("none", "on-demand")), ("via", settings.via, ("ssh", "ssm")),
    ):  # fmt: skip
        if given not in known:
            raise UsageError(f"{setting} is {given!r}", f"known: {', '.join(known)}")
