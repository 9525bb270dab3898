"""The ends of a machine: moved in an order that may break off anywhere, and without what harms a running training."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path

import pytest

from infra.errors import CloudError
from provision.machines.deadline import GRACE, in_order

ROOT = Path(__file__).parents[2]
OLD = datetime(2026, 11, 21, 18, 40, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


class Ends:
    """When the machine ends by each of its ends; the step numbered `breaks` fails before it does anything, or after."""

    def __init__(self, breaks: int, after: bool = False) -> None:
        self.schedule, self.host, self.tag = OLD + GRACE, OLD, OLD
        self.breaks, self.after, self.steps = breaks, after, 0

    def move(self, at: datetime) -> None:
        in_order(self.tag, at, self._step("schedule", at + GRACE), self._step("host", at), self._step("tag", at))

    def _step(self, end: str, at: datetime) -> Callable[[], None]:
        def step() -> None:
            self.steps += 1
            if self.steps == self.breaks and not self.after:
                raise CloudError(f"{end} refused")
            setattr(self, end, at)
            if self.steps == self.breaks:
                raise CloudError(f"{end}: the answer is lost")

        return step


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("breaks", [1, 2, 3])
@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_broken_off_anywhere_it_ends_nothing_too_early_and_shows_no_later_end(
    by: timedelta, breaks: int, after: bool
) -> None:
    ends, wanted = Ends(breaks, after), OLD + by
    with pytest.raises(CloudError):
        ends.move(wanted)
    assert min(ends.host, ends.schedule) >= min(OLD, wanted), "neither the old end nor the new one is that early"
    assert ends.tag <= min(ends.host, ends.schedule), "what is shown is no later than what comes"
    ends.move(wanted)  # the same command again
    assert (ends.schedule, ends.host, ends.tag) == (wanted + GRACE, wanted, wanted)


@pytest.mark.parametrize(("by", "first", "last"), [(HOUR, "schedule", "tag"), (-HOUR, "tag", "schedule")])
def test_to_later_awss_own_end_moves_first_and_to_sooner_last(by: timedelta, first: str, last: str) -> None:
    done: list[str] = []
    in_order(OLD, OLD + by, *(lambda end=end: done.append(end) for end in ("schedule", "host", "tag")))
    assert (done[0], done[-1]) == (first, last)


# units are read anew before Docker runs, and never again: it takes the GPUs out of containers that run, where systemd
# made their cgroups (https://github.com/NVIDIA/nvidia-container-toolkit/issues/48)

RELOADS = re.compile(
    r"daemon-(reload|reexec)|systemctl\b[^\n;|&]*\b(enable|disable|reenable|preset|preset-all|mask|unmask|edit|link|revert"
    r"|set-default|add-wants|add-requires|set-property)\b|deb-systemd-helper"
    r"|sudo[^\n]*\bapt|^(?!.*chroot).*\b(apt-get|apt)\b[^\n]*\b(install|upgrade)\b|\bsnap\b (install|refresh)"
)
BEFORE_READY = {"infra/host/bootstrap.sh", "infra/host/deadline.sh", "infra/host/engine.sh", "infra/host/nvidia.sh"}

ON_LAPTOP = {"infra/baseimage.py", "infra/buildx.py", "infra/hostsetup.py"}  # mends for the machine that builds


def reloading(text: str) -> list[str]:
    """The lines that let systemd read its units anew, or may; comments are none."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", '"""'))]
    return [line for line in lines if RELOADS.search(line) and "--no-reload" not in line]


def test_no_script_and_no_command_over_ssh_lets_systemd_read_its_units_anew_once_the_machine_is_ready() -> None:
    host = [path for path in (ROOT / "infra/host").rglob("*") if path.suffix in (".sh", ".py", ".service", ".timer")]
    product = [path for folder in ("infra", "provision") for path in (ROOT / folder).rglob("*.py")]
    names = {path: str(path.relative_to(ROOT)) for path in (*host, *product)}
    found = {name: reloading(path.read_text()) for path, name in names.items() if name not in BEFORE_READY | ON_LAPTOP}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_what_reloads_is_found() -> None:
    for line in (
        "systemctl daemon-reload", "sudo systemctl -q enable --now x", "systemctl --user edit x",
        '["systemctl", "enable", "x"]', "apt-get install x", "systemctl set-property a.scope CPUQuota=1",
    ):  # fmt: skip
        assert reloading(line) == [line]
    assert reloading("systemctl enable --no-reload x\nsystemctl restart docker\nsystemd-run --unit a b") == []
    assert reloading((files("infra.host") / "bootstrap.sh").read_text()), "the bootstrap does, before any container"
