"""A run's data and code: from the laptop or from S3 onto the host, and a copy by the host into the run's folder.

Only changed files cross the home line, and only once. The host then copies what it got into the run's own prefix in
the background, so that another laptop can resume the run after this host and this laptop are gone.
"""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from infra.aws.s3 import S3, owner_if_ours, parse
from infra.aws.session import Cloud
from infra.errors import RunError, UsageError
from infra.ssh import SshShell
from provision import console
from provision.console import Say
from provision.data import PREPARERS
from provision.files import s3_to_host, to_host
from provision.runs import copies, notes, trust
from provision.runs.manifest import Source
from provision.runs.store import AnyRun, Run
from provision.settings import cache_home


def data_source(preparer: str, given: str | None) -> Source:
    """Where the run's data comes from: what the user gave (a folder or an s3:// prefix), else the recipe's preparer.

    UsageError where the folder is none, or the prefix one that no policy can name.
    """
    if given is None:
        return Source("prepared", preparer, f"/data/sets/{preparer}") if preparer else Source()
    if given.startswith("s3://"):
        s3_to_host.check_plain(parse(given))
        return Source("s3", given.rstrip("/") + "/", f"/data/sets/s3-{_short(given)}")
    return _folder(given, "--data")


def project_source(given: str | None) -> Source:
    """Where the user's code comes from. UsageError where the folder is none."""
    return _folder(given, "--project") if given else Source()


def _folder(given: str, flag: str) -> Source:
    path = Path(given).resolve()
    if not path.is_dir():
        raise UsageError(f"{flag} {given} is not a folder", "give a folder that exists")
    return Source("folder", str(path), f"/data/sets/{path.name}-{_short(str(path))}")


def owned(cloud: Cloud, source: Source, account: str) -> Source:
    """The source with its bucket's owner, where that is the account itself: from now on nobody else's is read."""
    if source.kind != "s3":
        return source
    return replace(source, owner=owner_if_ours(cloud, parse(source.value).bucket, account))


def folders_of(*sources: Source) -> tuple[str, ...]:
    """The folders of this laptop among what its user gave."""
    return tuple(source.value for source in sources if source.kind == "folder")


def give(run: Run, data: str | None, project: str | None) -> None:
    """Take other data or code for the run, as its user says. S3 hears of them, and loses the copies of what the run
    had, with `settle`: as soon as nobody else can go on with the run, and not before.

    UsageError for a folder that is none. RunError, before anything is paid, where data or code that this laptop's user
    has to give can be had neither from S3 nor from here.
    """
    if data or project:
        _give(run, data, project)
    for kind, source in (("data", run.manifest.data), ("project", run.manifest.project)):
        if source.kind == "folder" and copies.whole(run, kind) is None:
            local(run, kind, source)


def _give(run: Run, data: str | None, project: str | None) -> None:
    given = {"data": owned(run.store.cloud, data_source("", data), run.store.owner)} if data else {}
    given |= {"project": project_source(project)} if project else {}
    notes.give(run.store, run.id, folders_of(*given.values()))
    for kind, source in given.items():
        run.intend(copies.with_source(run.manifest, kind, _with_copy(kind, source)))


def _with_copy(kind: str, source: Source) -> Source:
    """The source with a copy of its own: what a machine of before still copies is not taken for this."""
    return replace(source, copy=copies.another(kind)) if source.kind == "folder" else source


def settle(run: Run) -> None:
    """Write down what was given, and delete the copies of what the run had before: nobody else goes on with it."""
    if run.settle():
        copies.remove(run, but=copies.names(run.manifest))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def code_folder(run_id: str) -> str:
    """The run's own copy of its code: the next training of the same project may bring changes."""
    return f"/data/code/{run_id}"


def place(shell: SshShell, run: Run, say: Say) -> None:
    """Bring data and code to their folders on the host."""
    place_data(shell, run, run.manifest.data, say)
    if run.manifest.project.kind:
        _place(shell, run, "project", run.manifest.project, say)


def take_code(shell: SshShell, run: Run) -> None:
    """Copy the code that was placed to where the run has it; not before nobody else can go on with it there."""
    if run.manifest.project.kind:
        shell.run(["mkdir", "-p", code_folder(run.id)])
        shell.run(["cp", "-a", f"{run.manifest.project.folder}/.", code_folder(run.id)])


def place_data(shell: SshShell, run: Run, data: Source, say: Say) -> None:
    """Bring the run's data, or other data in its place, to its folder on the host."""
    if data.kind:
        _place(shell, run, "data", data, say)


def _place(shell: SshShell, run: Run, kind: str, source: Source, say: Say) -> None:
    if source.kind == "s3":
        there = parse(source.value)
        s3_to_host.pull(shell, S3(run.store.cloud, there.bucket, source.owner), there.prefix, source.folder)
        say(f"{kind}: {source.value} is on the host")
    elif (index := copies.whole(run, kind)) is not None:
        s3_to_host.pull(shell, run.store, copies.below(run, kind), source.folder)
        copies.check(shell, run, kind, index, source.folder)
        say(f"{kind}: from the run's folder in S3")
    else:
        # delete code that is gone here; keep data, which another training may be reading
        sent = to_host.sync(shell, local(run, kind, source), source.folder, delete=kind == "project")
        say(f"{kind}: {sent.files} changed files, {console.size(sent.bytes)}")


def local(run: AnyRun, kind: str, source: Source) -> Path:
    """The data's folder on this laptop. RunError where it is none that this laptop's user gave for the run."""
    if source.kind == "prepared" and source.value in PREPARERS:
        return _prepared(source.value)
    path = Path(source.value)
    if source.kind == "folder" and source.value in trust.folders(run) and path.is_dir():
        return path
    raise RunError(
        f"the {kind} of {run.id} is not all in S3, and was not given on this laptop: {source.value}",
        f"give its folder: --{kind} DIR",
    )


def _prepared(name: str) -> Path:
    """The folder of data that a preparer of ours makes."""
    target = cache_home() / "data" / name
    with console.step(f"data {name}"), _alone(target):
        return PREPARERS[name](target)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Let one process at a time prepare the same data on this laptop; a process that waited finds the data prepared."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep(shell: SshShell, run: Run) -> None:
    """Let the host copy data and code into the run's folder in S3, in the background."""
    for kind, source in (("data", run.manifest.data), ("project", run.manifest.project)):
        if source.kind in ("prepared", "folder") and copies.whole(run, kind) is None:
            folder = code_folder(run.id) if kind == "project" else source.folder
            words = s3_to_host.guard_words("push", run.store, copies.below(run, kind), folder)
            unit = f"provision-keep-{run.id}-{kind}"
            shell.run(["sudo", "systemd-run", "-q", "--collect", "--unit", unit, *words[1:]])


def host_folder(url: str) -> str:
    """Where the data of an s3:// prefix lies on a machine: there `train --data s3://…` finds it."""
    return data_source("", url).folder
