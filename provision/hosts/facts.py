"""What a host has, read by one command and small parsers."""

import re
from dataclasses import dataclass

from images import gpus
from infra.containers import GpuRequest
from infra.errors import EngineError, HostError
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
    """A host as it is."""

    uid: int
    gid: int
    docker: str = ""
    runtimes: tuple[str, ...] = ()
    hook: bool = False
    gpus: tuple[Gpu, ...] = ()


def look(shell: Shell) -> Facts:
    """The facts of the host behind `shell`. HostError where it says what cannot be understood."""
    return parse(shell.run(["sh", "-c", _LOOK], check=False).out)


def parse(text: str) -> Facts:
    """The facts from what `_LOOK` printed; a thing without a line is not there. HostError for other words."""
    try:
        return _parsed(text)
    except (KeyError, ValueError) as error:
        raise HostError(
            f"the host does not say what it has; it printed {text[:200]!r}",
            "look at its shell: something in its profile prints, or its disk is full",
        ) from error


def _parsed(text: str) -> Facts:
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


def found_there(facts: Facts, kind: str) -> tuple[str, str]:
    """A host's GPU, by its own word or else by its type, and its driver; "" for what is not known."""
    printed, driver = (facts.gpus[0].name, facts.gpus[0].driver) if facts.gpus else ("", "")
    if gpu := gpus.known(printed):
        return gpu.name, driver
    return gpus.aws_types()[kind].gpu if kind in gpus.aws_types() else "", driver
