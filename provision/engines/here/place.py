"""Where runs on this laptop lie, and who works on one.

STATE/here/runs/RUN/...      the run's folder, with the keys that docs/runs.md has
STATE/here.work/runs/RUN/    the container's /work, while it trains
STATE/here.work/guard/RUN/   what the guard notes of the attempt
STATE/here.work/locks/       a file for each run: who holds its lock (flock) works on it; the kernel lets it go when
                             that process ends, however it ends
STATE/here.work/log/         what the process says that sees a run to its end
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.folder import Folder
from provision import settings
from provision.runs.store import ROOT, AnyRun

NAME = "here"
_TRY_S = 0.05
_TAKE_S = 5.0  # a look at a lock takes it for a moment: so long somebody who wants to have it tries again


def store() -> Folder:
    """The folder of all runs of this laptop."""
    return Folder(settings.state_home() / NAME, (NAME, "-", "-"))


def work() -> Path:
    """The folder of what runs need while they work."""
    return (settings.state_home() / f"{NAME}.work").resolve()


def environment() -> dict[str, str]:
    """What tells the guard's code where it works."""
    return {"PROVISION_RUNS": str(work() / "runs"), "PROVISION_GUARD": str(work() / "guard")}


def find(run_id: str) -> AnyRun | None:
    """The run of that id on this laptop; None where it is none of its runs."""
    run = AnyRun(store(), run_id)
    return run if run.store.head(run.key("manifest.json")) is not None else None


def all_runs() -> list[AnyRun]:
    """All runs of this laptop, oldest first within a recipe."""
    place = store()
    return [AnyRun(place, name) for name in place.folders(ROOT)]


def forget(run_id: str) -> None:
    """Take away what is left of a run whose objects are deleted: links of its code, what its process said."""
    shutil.rmtree(store().path(f"{ROOT}{run_id}"), ignore_errors=True)
    log(run_id).unlink(missing_ok=True)


def log(name: str) -> Path:
    """Where the process writes what it has to say that works on that run or sweep."""
    return work() / "log" / f"{name}.txt"


@contextmanager
def held(name: str, patience: float = _TAKE_S) -> Iterator[bool]:
    """The lock of that name, inside the block; False where somebody else holds it for longer than `patience` s."""
    with _lock(name).open("wb") as lock:
        until = time.monotonic() + patience
        while not (mine := _taken(lock.fileno())) and time.monotonic() < until:
            time.sleep(_TRY_S)
        yield mine


def is_held(name: str) -> bool:
    """Whether some process holds the lock of that name."""
    try:
        with _lock(name, make=False).open("rb") as lock:
            return not _taken(lock.fileno())
    except FileNotFoundError:
        return False


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock(name: str, make: bool = True) -> Path:
    folder = work() / "locks"
    if make:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(work(), 0o700)  # noqa: PTH101 - a folder that may be made by others first
    return folder / name
