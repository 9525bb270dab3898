"""What a simulation has to notice: the product with one clean-up step or one check taken out."""

from collections.abc import Callable
from typing import Any

from tests.simulate import guards


def _templates_stay() -> None:
    from infra.aws import cleanup

    cleanup._DELETES["launch templates"] = lambda *_: None


def _groups_stay() -> None:
    from infra.aws import cleanup

    cleanup._DELETES["security groups"] = lambda *_: None


def _schedules_stay() -> None:
    from infra.aws import cleanup

    cleanup._DELETES["schedules"] = lambda *_: None


def _roles_stay() -> None:
    from infra.aws import cleanup

    cleanup._DELETES["roles"] = cleanup._DELETES["instance profiles"] = lambda *_: None


def _volumes_stay() -> None:
    """A new data volume outlives its machine from the start."""
    from infra.aws import fleet

    real = fleet._disk

    def disk(device: str, size_gb: int) -> dict[str, Any]:
        found = real(device, size_gb)
        return {
            **found,
            "Ebs": {**found["Ebs"], "DeleteOnTermination": not device.startswith(("/dev/sdf", "/dev/sdg"))},
        }

    fleet._disk = disk


def _no_undo() -> None:
    """A launch that failed is not ended."""
    from provision.machines import rent

    rent.undo = lambda *_, **__: True


def _no_terminate() -> None:
    from infra.aws.cleanup import Removal

    Removal.terminate = lambda *_: None  # type: ignore[method-assign]
    Removal.wait_ended = lambda *_: None  # type: ignore[method-assign]


def _no_deadline() -> None:
    """Neither the host's own end nor AWS's schedule is armed."""
    from infra.aws.scheduler import Scheduler
    from tests.simulate import hosts

    Scheduler.arm = lambda *_, **__: None  # type: ignore[method-assign]
    hosts.Host.ends_at = lambda *_: None  # type: ignore[method-assign]


def _no_lock() -> None:
    """Two commands of one laptop launch a name at once."""
    import contextlib

    from provision.machines import find

    find.locked = lambda *_: contextlib.nullcontext()  # type: ignore[assignment]


def _no_budget() -> None:
    """A machine with a budget lives as long as one without."""
    from datetime import timedelta

    from provision.machines import journal

    journal.budget.ends_at = lambda request, now: (now + timedelta(hours=request.max_hours)).replace(microsecond=0)


def _old_snapshot() -> None:
    """A training goes on from the oldest snapshot."""
    from provision.runs.store import Run

    real = Run.snapshots
    Run.snapshots = lambda self: real(self)[:1]  # type: ignore[method-assign]


def _gives_up() -> None:
    """A machine that AWS took is not replaced."""
    from provision.training import through

    through.GIVE_UP_AFTER = 0


def _deaf_guard() -> None:
    """The guard does not see AWS's notice."""

    def change(module: Any) -> None:
        module.Metadata.notice = lambda _: None

    guards.CHANGES["imds"] = change


def _ends_at_once() -> None:
    """The guard does not see that its machine powers itself off."""

    def change(module: Any) -> None:
        module.Guard.powering_off = lambda _: False

    guards.CHANGES["watch"] = change


def _no_snapshots() -> None:
    """The guard brings no snapshot to S3."""

    def change(module: Any) -> None:
        module.Run.push_snapshots = lambda _: None

    guards.CHANGES["run"] = change


def _no_signal() -> None:
    """The guard does not tell the training that the machine ends."""

    def change(module: Any) -> None:
        module.Run.tell = lambda *_: None

    guards.CHANGES["run"] = change


ALL: dict[str, Callable[[], None]] = {
    "templates stay": _templates_stay,
    "groups stay": _groups_stay,
    "schedules stay": _schedules_stay,
    "roles stay": _roles_stay,
    "volumes stay": _volumes_stay,
    "no undo": _no_undo,
    "no terminate": _no_terminate,
    "no deadline": _no_deadline,
    "no lock": _no_lock,
    "no budget": _no_budget,
    "old snapshot": _old_snapshot,
    "gives up": _gives_up,
    "deaf guard": _deaf_guard,
    "ends at once": _ends_at_once,
    "no snapshots": _no_snapshots,
    "no signal": _no_signal,
}
