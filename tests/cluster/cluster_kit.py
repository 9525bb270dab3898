"""A Slurm of the tests' own: real daemons of the distribution's packages in containers of one network.

`login` is the controller and the door (sshd); `n1`, `n2` compute. /shared is a volume that all of them mount, as a
cluster's file system is; /etc/slurm is another one. The GPUs are device nodes without anything behind them, and
nvidia-smi is a script: what Slurm does with them is real, what a driver does is not.
"""

import contextlib
import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from infra import baseimage
from infra.keys import new_pair

HERE = Path(__file__).parent
USER = "alice"
NODES = ("n1", "n2")
_READY_S = 120.0
_OPEN = ("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
         "--security-opt", "systempaths=unconfined")  # fmt: skip  # so that a user may make user namespaces in it

_CONF = """ClusterName=campus
SlurmctldHost=login
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
StateSaveLocation=/var/lib/slurm/ctld
SlurmdSpoolDir=/var/lib/slurm/d
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
JobRequeue=1
KillWait=10
MinJobAge=3600
SlurmdTimeout=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n[1-2] CPUs=2 RealMemory=2000 Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes=n[1-2] Default=YES MaxTime=2:00:00 GraceTime=30 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent Nodes=n[1-2] MaxTime=2:00:00 PriorityTier=10 PreemptMode=off
PartitionName=closed Nodes=n[1-2] MaxTime=2:00:00 AllowGroups=root
"""
_SETTLE = """
cat > /etc/slurm/slurm.conf
printf %s "$1" > /etc/slurm/gres.conf
head -c 1024 /dev/urandom > /etc/slurm/munge.key
mkdir /shared/alice
chown alice:alice /shared/alice
"""
_GRES = "Name=gpu File=/dev/nvidia[0-1]\n"


def docker(*words: str, check: bool = True, stdin: bytes | None = None) -> str:
    """Docker's answer; with `check`, an error shows what it said."""
    done = subprocess.run(["docker", *words], input=stdin, capture_output=True)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(words)}: {done.stderr.decode()}{done.stdout.decode()}")
    return done.stdout.decode()


def image(base: str, more: str = "") -> str:
    """The image of a node, built where the engine has none."""
    tag = f"provision-test-slurm:{base.partition(':')[2]}"
    baseimage.ensure(base)
    docker("build", "-q", "--network", "host", "--build-arg", f"BASE={base}", "--build-arg", f"MORE={more}",
           "-t", tag, str(HERE / "image"))  # fmt: skip
    return tag


def until(true: Callable[[], object], what: str, seconds: float = _READY_S) -> None:
    """Wait for a condition; AssertionError names it where it does not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.3)


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs. `name` is in front of its containers' names, `key` lets alice in."""

    name: str
    key: Path
    known_hosts: Path
    ip: str

    def at(self, node: str, *words: str, user: str = "root", check: bool = True, stdin: bytes | None = None) -> str:
        """What a command on that node says."""
        flags = ["-i"] if stdin is not None else []
        return docker("exec", *flags, "-u", user, f"{self.name}-{node}", *words, check=check, stdin=stdin)

    def alice(self, *words: str, check: bool = True) -> str:
        """What a command of alice's on the login node says."""
        return self.at("login", *words, user=USER, check=check)

    def queue(self) -> list[tuple[str, str, str]]:
        """(job, state, node or reason) of every job that is in the queue."""
        rows = self.alice("squeue", "-h", "-o", "%i|%T|%R").splitlines()
        return [(cells[0], cells[1], cells[2]) for cells in (row.split("|") for row in rows)]

    def hurry(self, job: str) -> None:
        """Let a job that was queued again begin now: Slurm waits two minutes before it does so by itself."""
        until(lambda: (job, "PENDING") in [row[:2] for row in self.queue()], f"job {job} is queued again")
        self.at("login", "scontrol", "update", f"jobid={job}", "starttime=now")

    def kill(self, node: str) -> None:
        """The node dies; the controller is told, as a site's health check does."""
        docker("kill", f"{self.name}-{node}")
        self.at("login", "scontrol", "update", f"nodename={node}", "state=down", "reason=died")

    def start(self, node: str) -> None:
        docker("start", f"{self.name}-{node}")
        until(lambda: self.state_of(node) in ("idle", "down", "drain"), f"{node} answers")
        self.at("login", "scontrol", "update", f"nodename={node}", "state=resume", check=False)
        until(lambda: self.state_of(node) == "idle", f"{node} is back")

    def state_of(self, node: str) -> str:
        return self.at("login", "sinfo", "-h", "-n", node, "-p", "gpu", "-o", "%T", check=False).strip()


@contextlib.contextmanager
def started(folder: Path, tag: str) -> Iterator[Cluster]:
    """A cluster of that image's Slurm until the block ends; `folder` gets the keys."""
    name = f"provision-test-slurm-{secrets.token_hex(3)}"
    made: list[tuple[str, ...]] = []
    try:
        docker("network", "create", name)
        made.append(("network", "rm", name))
        for volume in ("shared", "etc"):
            docker("volume", "create", f"{name}-{volume}")
            made.append(("volume", "rm", "-f", f"{name}-{volume}"))
        _settle(name, tag)
        for node in ("login", *NODES):
            docker("run", "-d", "--name", f"{name}-{node}", "--hostname", node, "--network", name,
                   "--network-alias", node, *_OPEN, "--cap-add", "SYS_ADMIN", "--cap-add", "MKNOD",
                   "-v", f"{name}-shared:/shared", "-v", f"{name}-etc:/etc/slurm",
                   tag, "login" if node == "login" else "compute")  # fmt: skip
            made.append(("rm", "-f", "-v", f"{name}-{node}"))
        yield _opened(name, folder)
    finally:
        for words in reversed(made):
            docker(*words, check=False)


def _settle(name: str, tag: str) -> None:
    """Write the configuration and the munge key into the cluster's volume."""
    docker("run", "--rm", "-i", "--entrypoint", "sh", "-v", f"{name}-shared:/shared", "-v", f"{name}-etc:/etc/slurm",
           tag, "-ec", _SETTLE, "sh", _GRES, stdin=_CONF.encode())  # fmt: skip


def _opened(name: str, folder: Path) -> Cluster:
    """The cluster, once its nodes are idle and alice may log in."""
    pair = new_pair("test")
    key = folder / "id_ed25519"
    key.write_text(pair.private)
    key.chmod(0o600)
    login = f"{name}-login"
    docker("exec", "-i", "-u", USER, login, "sh", "-c", "umask 077; mkdir -p ~/.ssh; cat > ~/.ssh/authorized_keys",
           stdin=pair.public.encode())  # fmt: skip
    found = json.loads(docker("inspect", login))[0]["NetworkSettings"]["Networks"][name]["IPAddress"]
    cluster = Cluster(name, key, folder / "known_hosts", found)
    until(lambda: cluster.at("login", "sh", "-c", "cat /etc/ssh/ssh_host_ed25519_key.pub", check=False), "sshd")
    public = cluster.at("login", "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()
    cluster.known_hosts.write_text(f"{found} {public[0]} {public[1]}\n")
    until(lambda: all(cluster.state_of(node) == "idle" for node in NODES), "both nodes are idle")
    return cluster
