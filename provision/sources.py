"""A run's data and code: from the laptop or from S3 onto the host, and a copy by the host into the run's folder.

The home line is crossed once, by changed files only. The host then copies what it got into the run's own prefix in
the background, so that another laptop can resume the run after this host and this laptop are gone.
"""

import fcntl
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.aws.session import Cloud
from infra.errors import RunError, UsageError
from infra.ssh import SshShell
from provision import console, hostcopy, sync
from provision.data import PREPARERS
from provision.runs import Run, Source
from provision.settings import cache_home

Say = Callable[[str], None]


def data_source(preparer: str, given: str | None) -> Source:
    """The run's data: what the user gave (a folder or an s3:// prefix), else what the recipe's preparer makes."""
    if given is None:
        return Source("prepared", preparer, f"/data/sets/{preparer}") if preparer else Source()
    if given.startswith("s3://"):
        return Source("s3", given.rstrip("/") + "/", f"/data/sets/s3-{_short(given)}")
    return _folder(given, "--data")


def project_source(given: str | None) -> Source:
    """The user's code."""
    return _folder(given, "--project") if given else Source()


def _folder(given: str, flag: str) -> Source:
    path = Path(given).resolve()
    if not path.is_dir():
        raise UsageError(f"{flag} {given} is not a folder", "give a folder that exists")
    return Source("folder", str(path), f"/data/sets/{path.name}-{_short(str(path))}")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def code_folder(run: Run) -> str:
    """The run's own copy of its code: the next training of the same project may bring changes."""
    return f"/data/code/{run.id}"


def place(shell: SshShell, cloud: Cloud, run: Run, say: Say) -> None:
    """Bring data and code to their folders on the host."""
    for kind, source in (("data", run.manifest.data), ("project", run.manifest.project)):
        if source.kind:
            _place(shell, run, kind, source, say)
    if run.manifest.project.kind:
        shell.run(["mkdir", "-p", code_folder(run)])
        shell.run(["cp", "-a", f"{run.manifest.project.folder}/.", code_folder(run)])


def _place(shell: SshShell, run: Run, kind: str, source: Source, say: Say) -> None:
    if source.kind == "s3":
        bucket, _, prefix = source.value.removeprefix("s3://").partition("/")
        hostcopy.pull(shell, run, prefix, source.folder, bucket)
        say(f"{kind}: {source.value} is on the host")
    elif _kept(run, kind):
        hostcopy.pull(shell, run, run.key("inputs", kind) + "/", source.folder)
        say(f"{kind}: from the run's folder in S3")
    else:
        # code that is gone here goes there too; data that another training may be reading stays
        sent = sync.sync(shell, _local(source), source.folder, delete=kind == "project")
        say(f"{kind}: {sent.files} changed files, {console.size(sent.bytes)}")


def _kept(run: Run, kind: str) -> bool:
    """Whether the run's folder in S3 has all of it. A first attempt always brings what the laptop has now."""
    return run.store.read_json(run.key("inputs", f"{kind}.json")) is not None


def _local(source: Source) -> Path:
    """The folder on this laptop."""
    if source.kind == "prepared":
        target = cache_home() / "data" / source.value
        with console.step(f"data {source.value}"), _alone(target):
            return PREPARERS[source.value](target)
    path = Path(source.value)
    if not path.is_dir():
        raise RunError(
            f"{source.value} is not on this laptop, and the run's copy in S3 is not whole",
            "resume from the laptop that started the run",
        )
    return path


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One preparation of the same data at a time on this laptop; who waited finds it done."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep(shell: SshShell, cloud: Cloud, run: Run) -> None:
    """Let the host copy data and code into the run's folder in S3, in the background."""
    for kind, source in (("data", run.manifest.data), ("project", run.manifest.project)):
        if source.kind in ("prepared", "folder") and not _kept(run, kind):
            folder = code_folder(run) if kind == "project" else source.folder
            words = hostcopy.guard_words("push", run, run.key("inputs", kind) + "/", folder)
            unit = f"provision-keep-{run.id}-{kind}"
            shell.run(["sudo", "systemd-run", "-q", "--collect", "--unit", unit, *words[1:]])
