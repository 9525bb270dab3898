"""The batch script of a job and the words that queue it; and what Slurm's refusals mean. Pure.

Only old, plain words: what a site has beyond them comes by --sbatch, unread.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from infra.errors import AuthError, HostError, ProvisionError, QuotaError, UsageError
from provision.engines.slurm.cluster import Cluster


@dataclass(frozen=True)
class Limits:
    """What a run may use. `hours`: of one job, None: the partition's default; `attempts`: how many jobs in all;
    `grace_seconds`: before the job's end the program is told to save."""

    hours: float | None = None
    attempts: int = 20
    grace_seconds: int = 120


def limits(cluster: Cluster) -> list[str]:
    """The words by which any job of the cluster's user is bounded."""
    said = [f"--account={cluster.account}"] if cluster.account else []
    said += [f"--qos={cluster.qos}"] if cluster.qos else []
    return [*said, *cluster.sbatch]


def refuse_longer(cluster: Cluster, allowed: Limits) -> None:
    """UsageError for a job that is longer than its partition lets any be: many a Slurm would queue it for ever."""
    partition = cluster.chosen()
    if partition is None or not partition.seconds or not allowed.hours or allowed.hours * 3600 <= partition.seconds:
        return
    raise UsageError(
        f"{cluster.name} does not let a job run so long in the partition {partition.name}: "
        f"{partition.seconds / 3600:g} hours at most, and --max-hours is {allowed.hours:g}",
        "give a smaller --max-hours; a job that reaches it saves, and goes on in another one",
    )


def words(cluster: Cluster, name: str, gpus: int, allowed: Limits, output: str, array: str = "") -> list[str]:
    """The sbatch that reads its script from standard input. `output`: where Slurm writes what the runner prints."""
    said = ["sbatch", "--parsable", f"--job-name={name}", "--comment=provision", "--nodes=1", "--ntasks=1", "--requeue",
            "--open-mode=append", f"--output={output}", f"--signal=B:USR1@{allowed.grace_seconds}"]  # fmt: skip
    said += [f"--partition={cluster.partition}"] if cluster.partition else []
    said += [f"--gres=gpu:{gpus}"] if gpus else []
    said += [f"--time={max(1, round(allowed.hours * 60))}"] if allowed.hours else []
    said += [f"--array={array}"] if array else []
    return said + limits(cluster)


def script(bundle: str, root: str, order: str) -> bytes:
    """What the job runs: the runner becomes the batch process, so that Slurm's signals reach it."""
    line = " ".join(shlex.quote(word) for word in ("exec", "python3", "-u", f"{bundle}/cluster", root, order))
    return f"#!/bin/sh\n{line}\n".encode()


_ADD = "provision cluster add {name} {login}"
_SAID: tuple[tuple[str, type[ProvisionError], str, str], ...] = (
    (
        "[Ii]nvalid partition", UsageError,
        "has no partition {partition} for you", "it has {known}: " + _ADD + " --partition NAME",
    ),
    (
        "Invalid account", AuthError, "does not let you use the account {account} in the partition {partition}",
        "see yours: {ssh} sacctmgr show assoc user=$USER; then: " + _ADD + " --account NAME",
    ),
    (
        "Invalid qos", AuthError, "does not let you use the QOS {qos}",
        "see yours: {ssh} sacctmgr show assoc user=$USER format=qos; then: " + _ADD + " --qos NAME",
    ),
    (
        "[Gg]roup not permitted|not permitted to use this partition|[Pp]ermission denied", AuthError,
        "does not let you use the partition {partition}", "it has {known}: " + _ADD + " --partition NAME",
    ),
    (
        "[Ii]nvalid job array", QuotaError, "takes no array of so many jobs",
        "give fewer values, or ask its administrators for a larger MaxArraySize",
    ),
    (
        "accounting/QOS policy|QOS|AssocMax|Assoc.*Limit|MaxSubmit", QuotaError,
        "has a limit for you that this job would break", "wait for your other jobs there, or ask for less: --gpus",
    ),
    (
        "[Rr]equested time limit", UsageError, "does not let a job run so long in the partition {partition}",
        "give a smaller --max-hours",
    ),
    (
        "node configuration is not available|gres|GRES", UsageError,
        "has no node with so many GPUs in the partition {partition}", "ask for fewer: --gpus N",
    ),
    (
        "Unable to contact slurm controller|Connection refused|Connection timed out|Zero Bytes", HostError,
        "does not answer: its controller is away", "run the same command again later",
    ),
    (
        "[Dd]isk quota|No space left", QuotaError, "has no room left for you",
        "delete runs, images or data that you need no more there",
    ),
    (
        "Immediate execution impossible|Unable to allocate resources", HostError,
        "has no node free in the partition {partition} now", "run the same command again later",
    ),
)  # fmt: skip


def refused(cluster: Cluster, said: str, known: Sequence[str] = ()) -> ProvisionError:
    """The error for what Slurm said when it took no job."""
    last = (said.strip().splitlines() or ["no reason given"])[-1].strip()
    listed = known or [one.name for one in (cluster.known.partitions if cluster.known else ())]
    cells = {
        "name": cluster.name, "login": cluster.login, "ssh": cluster.ssh,
        "partition": cluster.partition or "that is its default",
        "account": cluster.account or "of yours", "qos": cluster.qos or "of yours",
        "known": ", ".join(listed) or "others",
    }  # fmt: skip
    for pattern, kind, what, mend in _SAID:
        if re.search(pattern, said):
            return kind(f"{cluster.name} {what.format(**cells)} ({last})", mend.format(**cells))
    return HostError(f"{cluster.name} takes no job: {last}", f"look there: {cluster.ssh} squeue")
