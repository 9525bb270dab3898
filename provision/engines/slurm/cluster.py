"""A cluster as the user named it, and what was found there when it was last asked. One file each in the settings."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from infra import userssh
from infra.border import did_you_mean
from infra.errors import NotFoundError, UsageError
from infra.keys import write_private
from infra.slurm_door import Door
from infra.ssh_folder import SshFolder
from provision import settings
from provision.machines import note_folders

RESERVED = ("here", "aws", "local")
SHARED = "~/provision"
_WORD = re.compile(r"[\w.,+@=:/-]{1,200}")
_OURS = ("--job-name", "-J", "--array", "-a", "--signal", "--requeue", "--no-requeue", "--output", "-o", "--parsable",
         "--error", "-e", "--open-mode", "--wrap", "--chdir", "-D")  # fmt: skip


class Partition(msgspec.Struct, frozen=True):
    """A partition: GPUs of a node (`gpu` as nvidia-smi calls it, "" where that could not be asked), their driver, the
    longest time of a job in seconds (0: no limit); `problem`: why a job could not run there when it was asked."""

    name: str
    default: bool = False
    gpus: int = 0
    gpu: str = ""
    driver: str = ""
    seconds: int = 0
    problem: str = ""


class Known(msgspec.Struct, frozen=True):
    """What was found at `time` (UTC, ISO 8601). `root`: the shared folder, in full; `free`: its room in bytes, `quota`:
    what is left of the user's there, None where nothing says."""

    time: str
    slurm: str
    runtime: str
    root: str
    python_login: str
    python_node: str
    free: int = 0
    quota: int | None = None
    accounting: bool = False
    partitions: tuple[Partition, ...] = ()


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cluster. `login`: user@host as the user's ssh takes it; `sbatch`: words passed through unread."""

    name: str
    login: str
    partition: str = ""
    account: str = ""
    qos: str = ""
    shared: str = SHARED
    sbatch: tuple[str, ...] = ()
    known: Known | None = None

    @property
    def ssh(self) -> str:
        """The words by which the user logs in."""
        host, _, port = self.login.partition(":")
        return f"ssh -p {port} {host}" if port else f"ssh {host}"

    def chosen(self) -> Partition | None:
        """The partition that jobs go to, as far as it is known."""
        known = self.known.partitions if self.known else ()
        wanted = [one for one in known if (one.name == self.partition if self.partition else one.default)]
        return wanted[0] if wanted else None


def changed(name: str, login: str, **given: str | None) -> Cluster:
    """The cluster of that name with what is given; what is not stays as it was noted before."""
    before = load(name) if name in names() else Cluster(name, login)
    kept = {key: shlex.join(before.sbatch) if key == "sbatch" else getattr(before, key) for key in given}
    return made(name, login, **{key: kept[key] if value is None else value for key, value in given.items()})


def made(
    name: str, login: str, partition: str = "", account: str = "", qos: str = "", shared: str = SHARED, sbatch: str = ""
) -> Cluster:
    """The cluster of these words. UsageError for what cannot be one."""
    if name in RESERVED or name in note_folders.names(settings.load().cloud):
        what = "stands for another place" if name in RESERVED else "is a machine of yours"
        raise UsageError(f"{name} {what}: train --on {name} would mean two things", "give the cluster another name")
    if login.startswith("-"):
        raise UsageError(f"{login!r} is no login node", "write USER@LOGIN, as your ssh takes it")
    userssh.address(f"ssh://{login}", Path.home())
    for flag, word in (("--partition", partition), ("--account", account), ("--qos", qos)):
        if word and not _WORD.fullmatch(word):
            raise UsageError(f"{flag} {word!r} is no name that Slurm has", "give it as `sinfo` and `sacctmgr` show it")
    if "\n" in shared or not shared.startswith(("/", "~", "$")):
        raise UsageError(
            f"--shared {shared!r} is no folder of the cluster", "give its full path: --shared /scratch/USER/provision"
        )
    return Cluster(name, login, partition, account, qos, shared, _passed(sbatch))


def _passed(text: str) -> tuple[str, ...]:
    """The words of --sbatch; UsageError for those that this engine has to say itself."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--sbatch {text!r} cannot be split into words: {error}", "quote it as for a shell") from error
    ours = [word for word in words if word.split("=")[0] in _OURS]
    if ours:
        raise UsageError(f"--sbatch {ours[0]} is said by provision itself", f"leave out {ours[0]}")
    return words


def folder() -> Path:
    return settings.home() / "clusters"


def save(cluster: Cluster) -> None:
    write_private(folder() / f"{cluster.name}.json", msgspec.json.format(msgspec.json.encode(cluster)).decode() + "\n")


def names() -> list[str]:
    return sorted(path.stem for path in folder().glob("*.json"))


def load(name: str) -> Cluster:
    """The cluster of that name. NotFoundError, with the nearest, where there is none; UsageError for a damaged file."""
    path = folder() / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Cluster)
    except FileNotFoundError as error:
        known = names()
        mend = did_you_mean(name, known) if known else f"provision cluster add {name} USER@LOGIN"
        raise NotFoundError(f"no cluster {name!r}", mend) from error
    except (msgspec.DecodeError, OSError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", f"provision cluster rm {name}, then add it again"
        ) from error


def every() -> Sequence[Cluster]:
    return [load(name) for name in names()]


def forget(name: str) -> None:
    """Remove the cluster from the settings; nothing on it is touched."""
    if name not in names():
        load(name)
    (folder() / f"{name}.json").unlink()


def door(cluster: Cluster) -> Door:
    """The way to the cluster; it connects at the first question."""
    return Door(userssh.user_shell(f"ssh://{cluster.login}"), cluster.known.root if cluster.known else cluster.shared)


def place(cluster: Cluster) -> SshFolder:
    """The cluster's shared folder as a place of objects."""
    return SshFolder(door(cluster), cluster.name)


def ready(cluster: Cluster) -> Known:
    """What is known of the cluster. UsageError where it was never asked."""
    if cluster.known is None:
        raise UsageError(f"nobody has asked the cluster {cluster.name} yet", f"provision cluster check {cluster.name}")
    return cluster.known
