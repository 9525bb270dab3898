"""The next attempt of a run on this laptop: its folder, its number, its container. In the process that sees it through.

The order is such that a process that is killed anywhere leaves nothing unwatched: first what the container needs, then
the attempt, then the guard's plan, then the container.
"""

import os
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from infra.docker_engine import Docker, open_local
from infra.errors import RunError
from infra.host.guard import copying, notes
from infra.shell import LocalShell
from provision import console
from provision.data import PREPARERS
from provision.engines import container
from provision.engines.container import Folders
from provision.engines.here import place
from provision.engines.here.bucket import Bucket
from provision.hosts import facts, gpus
from provision.hosts.facts import Facts
from provision.runs import trust
from provision.runs.manifest import Attempt, Manifest, Snapshot
from provision.runs.store import AnyRun
from provision.settings import cache_home

_TURN = ".turn"  # the lock for taking GPUs: a run's name cannot begin so


def weights_folder() -> str:
    """Where trained weights lie on this laptop."""
    return str(cache_home() / "weights")


def boot_id() -> str:
    """What tells this start of the laptop from every other; "" where it does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as text:  # noqa: PTH123
            return text.read().strip()
    except OSError:
        return ""


def clear(run_id: str) -> None:
    """Take away what a run needed while it worked. What is to stay lies in its place."""
    for folder in (place.work() / "runs" / run_id, place.work() / "guard" / run_id):
        shutil.rmtree(folder, ignore_errors=True)


def copy_code(source: Path, run: AnyRun) -> None:
    """The run's own copy of its code, which stays as it was when the training began."""
    target = Path(run.store.url(run.key("inputs", "project")))
    if not target.is_dir():
        copy_folder(source, target)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder to a place that is free; it is whole there or not at all."""
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part, symlinks=True)
    part.rename(target)


def begin(run: AnyRun, at: int | None, made_by: str) -> None:
    """Begin the next attempt, from the newest snapshot that is whole, or from that of the iteration `at` (0: from
    nothing).

    BusyError where others hold the GPUs; RunError where the laptop has too few, or somebody else has taken the number.
    """
    engine, have, number = open_local(), facts.look(LocalShell()), run.next_number()
    clear(run.id)
    (place.work() / "runs").mkdir(parents=True, exist_ok=True)
    notes.place(run.id, {"log/": "", "snapshots/": "", **run.manifest.rendered.files})  # type: ignore[no-untyped-call]
    found, chosen = snapshots(run, at)
    snapshot = _restored(run, found)
    with place.held(_TURN, patience=120.0):  # two trainings would take the same GPUs
        taken = gpus.free(
            engine, have, run.manifest.gpus, "this laptop",
            too_few="train with --gpus {have}", busy="wait for one of them with --wait, or train with fewer --gpus",
        )  # fmt: skip
        best = found[-1] if found else None
        attempt = Attempt(
            number, place.NAME, place.NAME, "", datetime.now(timezone.utc).isoformat(timespec="seconds"),
            resumed_from=snapshot.iteration if snapshot else 0, gpus=taken, chosen=chosen or snapshot != best,
            made_by=made_by,
        )  # fmt: skip
        run.add_attempt(attempt)
        try:
            _start(engine, run, attempt, snapshot, have)
        except BaseException:
            run.withdraw(attempt)
            raise


def snapshots(run: AnyRun, at: int | None) -> tuple[Sequence[Snapshot], bool]:
    """Those that the attempt may go on from, the best one last; and whether newer ones are left out by choice."""
    counting = run.snapshots()
    if at is None:
        return counting, False
    there = [one for one in (*run.all_snapshots(), *counting) if one.iteration == at][-1:] if at else []
    return there, not (there and counting and there[-1] == counting[-1])


def _restored(run: AnyRun, found: Sequence[Snapshot]) -> Snapshot | None:
    """Copy the last of the snapshots to the run's folder; where it is damaged, the one before. RunError where all
    are."""
    bucket = Bucket(place.store())
    for snapshot in reversed(found):
        folder = snapshot.stem.rpartition("/")[0]
        target = str(place.work() / "runs" / run.id / folder)
        try:
            copying.pull(bucket, snapshot.prefix, target)  # type: ignore[no-untyped-call]
        except (ValueError, OSError) as error:
            console.line(f"the snapshot of iteration {snapshot.iteration} is damaged: {error}")
        else:
            return snapshot
    if found:
        hint = run.store.hint(f"resume {run.id} --from 0")
        raise RunError(f"no snapshot of {run.id} is whole", f"start it from nothing: {hint}")
    return None


def _start(engine: Docker, run: AnyRun, attempt: Attempt, snapshot: Snapshot | None, have: Facts) -> None:
    """The guard's plan, then the container."""
    manifest, name = run.manifest, container.name(run.id, attempt.number)
    plan = {
        **container.guard_plan(manifest), "prefix": run.prefix, "attempt": attempt.number, "container": name,
        "instance": place.NAME, "machine": place.NAME, "resumed_from": attempt.resumed_from, "boot": boot_id(),
    }  # fmt: skip
    notes.plan(run.id, plan)  # type: ignore[no-untyped-call]
    rendered = manifest.rendered
    engine.run(
        container.spec(
            manifest,
            rendered.resumed(snapshot.stem) if snapshot else rendered.command,
            name=name,
            user=f"{os.getuid()}:{os.getgid()}",
            gpus=facts.gpu_request(have, attempt.gpus),
            labels={"provision.attempt": str(attempt.number), "provision.gpus": ",".join(map(str, attempt.gpus))},
            environment={"LOG": container.log_of(attempt.number)},
            folders=folders(run, manifest),
        )
    )


def folders(run: AnyRun, manifest: Manifest) -> Folders:
    """Where on this laptop lies what the container gets. RunError for a folder that its user has not given."""
    data, code = manifest.data, ""
    if data.kind == "folder" and data.value not in trust.folders(run):
        raise RunError(
            f"the data of {run.id} was not given on this laptop: {data.value}", "give its folder: --data DIR"
        )
    known = str(cache_home() / "data" / data.value) if data.kind == "prepared" and data.value in PREPARERS else ""
    if manifest.project.kind:
        code = run.store.url(run.key("inputs", "project"))
    return Folders(
        str(place.work() / "runs" / run.id), data.value if data.kind == "folder" else known, code, weights_folder()
    )
