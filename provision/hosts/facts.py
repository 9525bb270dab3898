"""What a host has, read by one command and small parsers."""

import re
from dataclasses import dataclass

from infra.engine import GpuRequest
from infra.errors import EngineError
from infra.shell import Shell

_LOOK = r"""
echo "uid $(id -u) $(id -g)"
docker version -f 'docker {{.Server.Version}}' 2>/dev/null
docker info -f 'runtimes {{range $name, $_ := .Runtimes}}{{$name}} {{end}}' 2>/dev/null
for tool in nvidia-container-runtime-hook nvidia-container-toolkit; do
    command -v $tool >/dev/null && echo "hook $tool"
done
nvidia-smi --query-gpu=index,name,memory.total,driver_version --format=csv,noheader,nounits 2>/dev/null |
    sed -n 's/^[0-9]*, /gpu &/p'
df -Pk /data 2>/dev/null | awk 'NR == 2 { print "free", $4 }'
findmnt -no SOURCE /data 2>/dev/null | sed 's/^/store /'
"""


@dataclass(frozen=True)
class Gpu:
    """One GPU; memory in MiB."""

    index: int
    name: str
    memory_mib: int
    driver: str


@dataclass(frozen=True)
class Facts:
    """A host as it is. `free_kib` is the room for data, `store` the instance's own disk if one is mounted."""

    uid: int
    gid: int
    docker: str = ""
    runtimes: tuple[str, ...] = ()
    hook: bool = False
    gpus: tuple[Gpu, ...] = ()
    free_kib: int = 0
    store: str = ""


def look(shell: Shell) -> Facts:
    """The facts of the host behind `shell`."""
    return parse(shell.run(["sh", "-c", _LOOK], check=False).out)


def parse(text: str) -> Facts:
    """The facts from what `_LOOK` printed; a line that is absent is a thing that is not there."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest.strip())
    uid, gid = (int(word) for word in found["uid"][0].split())
    return Facts(
        uid=uid,
        gid=gid,
        docker=found.get("docker", [""])[0],
        runtimes=tuple(found.get("runtimes", [""])[0].split()),
        hook="hook" in found,
        gpus=tuple(_gpu(row) for row in found.get("gpu", [])),
        free_kib=int(found.get("free", ["0"])[0] or 0),
        store=found.get("store", [""])[0],
    )


def _gpu(row: str) -> Gpu:
    index, name, memory, driver = (cell.strip() for cell in row.split(","))
    return Gpu(int(index), name, int(memory) if memory.isdigit() else 0, driver)


def gpu_request(facts: Facts, indices: tuple[int, ...]) -> GpuRequest:
    """How this host is asked for GPUs: device requests with NVIDIA's toolkit (Docker ≥ 19.03), else the runtime."""
    if not indices:
        return GpuRequest()
    version = tuple(int(part) for part in re.findall(r"\d+", facts.docker)[:2])
    if facts.hook and version >= (19, 3):
        return GpuRequest(indices)
    if "nvidia" in facts.runtimes:
        return GpuRequest(indices, runtime=True)
    raise EngineError(
        f"Docker {facts.docker} on this host cannot give GPUs to containers: it has neither NVIDIA's container toolkit "
        "nor a runtime of the name nvidia",
        "take a machine image with NVIDIA's container toolkit (settings: ami), or train with --gpus 0",
    )
