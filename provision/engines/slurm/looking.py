"""Ask a cluster what it has, once: Slurm, container runtime, Python, shared folder, and the GPUs of each partition.

The login node answers for Slurm; one short job in each partition answers for its nodes. Nothing is installed.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timezone

import msgspec

from infra.errors import HostError
from infra.slurm_door import Door
from provision.engines.slurm.cluster import Cluster, Known, Partition
from provision.engines.slurm.submitting import limits, refused

ORDER = ("pyxis", "apptainer", "singularity", "podman", "charliecloud")
_MANY = 12  # partitions that are asked
_WAIT_S = 60  # for a node to be free
_OLDEST = (3, 6)
_MARK = "checked"

_LOGIN = r"""
echo "slurm $(sinfo -V 2>/dev/null | sed 's/^slurm[^0-9]*//')"
python3 -c 'import sys; print("python %d.%d" % sys.version_info[:2])'
srun --help 2>/dev/null | grep -q -- --container-image && echo "runtime pyxis"
scontrol show config 2>/dev/null | sed -n 's/^AccountingStorageType *= */accounting /p'
sinfo -h -o 'partition %P|%G|%l|%a'
"""
_NODE = r"""
for tool in apptainer singularity podman ch-run; do
    command -v $tool >/dev/null 2>&1 && echo "runtime $tool"
done
ls /etc/cdi/*nvidia* /var/run/cdi/*nvidia* >/dev/null 2>&1 && echo cdi
python3 -c 'import sys; print("python %d.%d" % sys.version_info[:2])'
[ "$(cat "$1" 2>/dev/null)" = "$2" ] && echo shared
nvidia-smi --query-gpu=index,name,memory.total,driver_version --format=csv,noheader,nounits 2>/dev/null |
    sed 's/^/gpu /'
true
"""
# words: seconds, mark, text of the mark, the node's script, then the partitions, each with its srun words after a colon
_ASK = r"""
wait_s=$1 mark=$2 text=$3 script=$4
shift 4
for row; do
    part=${row%%:*} words=${row#*:}
    (srun -Q -N1 -n1 --time=2 --immediate="$wait_s" --job-name=provision-check -p "$part" $words \
        sh -c "$script" sh "$mark" "$text" 2>&1 | sed "s/^/$part /") &
done
wait
"""


@dataclass(frozen=True)
class Node:
    """What a job in a partition said."""

    runtimes: tuple[str, ...] = ()
    python: str = ""
    gpu: str = ""
    driver: str = ""
    shared: bool = False
    problem: str = ""


def check(cluster: Cluster, door: Door) -> Cluster:
    """The cluster with what it has now. HostError, with the mend, where no training could run there."""
    known, rows = _login(cluster, door)
    said = _nodes(cluster, door, rows)
    partitions = tuple(_partition(row, said.get(row.name, Node())) for row in rows)
    node = _node(cluster, rows, said)
    runtime = _runtime(cluster, known.runtime, node)
    _refuse(cluster, known, node, runtime)
    return msgspec.structs.replace(
        cluster, known=msgspec.structs.replace(known, runtime=runtime, python_node=node.python, partitions=partitions)
    )


def _login(cluster: Cluster, door: Door) -> tuple[Known, list[Partition]]:
    """What the login node says, and its partitions that take jobs."""
    said = door.run(["sh", "-c", _LOGIN]).out
    found = {line.partition(" ")[0]: line.partition(" ")[2] for line in said.splitlines()}
    if not found.get("slurm"):
        raise HostError(
            f"{door.where} has no Slurm in the PATH of its login shell",
            f"make this work first: {cluster.ssh} 'sh -lc sinfo'",
        )
    door.ask("make")
    (free, quota), _ = door.ask("room")
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    accounting = found.get("accounting", "").strip() not in ("", "(null)", "accounting_storage/none")
    known = Known(
        now, found["slurm"], found.get("runtime", ""), door.root, found.get("python", ""), "", free, quota, accounting
    )
    return known, _rows(said)


def _rows(said: str) -> list[Partition]:
    """The partitions of `sinfo`, those that are up; one that has several kinds of nodes counts the most GPUs."""
    found: dict[str, Partition] = {}
    for line in said.splitlines():
        if not line.startswith("partition "):
            continue
        name, gres, limit, up = line.removeprefix("partition ").split("|")
        if up != "up":
            continue
        gpus = sum(int(count) for count in re.findall(r"gpu(?::[^:(,]+)?:(\d+)", gres))
        plain = name.rstrip("*")
        before = found.get(plain, Partition(plain))
        found[plain] = Partition(plain, name.endswith("*"), max(gpus, before.gpus), seconds=seconds(limit))
    return list(found.values())


def seconds(limit: str) -> int:
    """Slurm's time (D-HH:MM:SS, MM:SS, infinite) in seconds; 0 for none."""
    days, _, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")] if re.fullmatch(r"\d+(:\d+)*", rest) else []
    total = 0
    for part in parts:
        total = total * 60 + part
    return total + int(days or 0) * 86400


def _nodes(cluster: Cluster, door: Door, rows: list[Partition]) -> dict[str, Node]:
    """What a job in each partition says; that of the cluster comes first where there are many."""
    text = datetime.now(timezone.utc).isoformat()
    key = f"{_MARK}"
    door.ask("write", key, data=text.encode())
    first = sorted(rows, key=lambda row: row.name != cluster.partition and not row.default)[:_MANY]
    asked = [f"{row.name}:{' '.join([*limits(cluster), *(['--gres=gpu:1'] if row.gpus else [])])}" for row in first]
    words = ["sh", "-c", _ASK, "sh", str(_WAIT_S), f"{door.root}/{key}", text, _NODE, *asked]
    said = door.run(words, seconds=_WAIT_S * 2 + 60).out
    return {row.name: node(row.name, said) for row in first}


def node(partition: str, said: str) -> Node:
    """The lines of one partition among what all said."""
    lines = [line.removeprefix(f"{partition} ") for line in said.splitlines() if line.startswith(f"{partition} ")]
    tools = {"ch-run": "charliecloud"}
    runtimes = tuple(tools.get(line[8:], line[8:]) for line in lines if line.startswith("runtime "))
    python = next((line[7:] for line in lines if line.startswith("python ")), "")
    gpu = next((line[4:].split(", ") for line in lines if line.startswith("gpu ")), ["", "", "", ""])
    if "cdi" not in lines and gpu[1]:
        runtimes = tuple(runtime for runtime in runtimes if runtime != "podman")  # it would give no GPU
    problem = "" if python or runtimes else (lines[-1] if lines else "no node answered")
    return Node(runtimes, python, gpu[1], gpu[3] if len(gpu) > 3 else "", "shared" in lines, problem)


def _partition(row: Partition, said: Node) -> Partition:
    return msgspec.structs.replace(row, gpu=said.gpu, driver=said.driver, problem=said.problem)


def _node(cluster: Cluster, rows: list[Partition], said: dict[str, Node]) -> Node:
    """What the nodes of the cluster's partition said. HostError, in Slurm's words, where no job could run there."""
    wanted = cluster.partition or next((row.name for row in rows if row.default), "")
    if wanted not in {row.name for row in rows}:
        raise refused(cluster, f"invalid partition specified: {wanted}", [row.name for row in rows])
    found = said[wanted]
    if found.problem:
        raise refused(cluster, found.problem, [row.name for row in rows])
    return found


def _runtime(cluster: Cluster, on_login: str, found: Node) -> str:
    there = (*found.runtimes, *([on_login] if on_login else []))
    best = next((name for name in ORDER if name in there), "")
    if not best:
        raise HostError(
            f"the nodes of {cluster.name} have no container runtime: neither pyxis, apptainer, singularity, "
            "podman (with CDI) nor charliecloud",
            "ask its administrators for apptainer or charliecloud (neither runs a daemon), then: "
            f"provision cluster check {cluster.name}",
        )
    return best


def _refuse(cluster: Cluster, known: Known, found: Node, runtime: str) -> None:
    for place, version in (("login node", known.python_login), ("nodes", found.python)):
        if not version or tuple(map(int, version.split("."))) < _OLDEST:
            raise HostError(
                f"the {place} of {cluster.name}: {f'Python {version} is too old' if version else 'no python3'}",
                f"ask its administrators for Python 3.6 or later, then: provision cluster check {cluster.name}",
            )
    if not found.shared:
        raise HostError(
            f"the nodes of {cluster.name} do not see {known.root}",
            f"give a folder that they share: provision cluster add {cluster.name} {cluster.login} --shared DIR",
        )
