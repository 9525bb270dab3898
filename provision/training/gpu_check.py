"""The proof that the GPUs work in the image itself: before a training on GPUs begins, a short container of the same
image, with the same GPUs, counts them with the program that will train. There is no silent fallback to the CPU.

A host remembers what it has proven (its id, the image's digest, the GPU), so that this is done once.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from images import gpus as known_gpus
from images.fits import driver_too_old, refusal
from images.target import Target
from infra.engine import ContainerSpec
from infra.errors import EngineError, RunError
from provision import facts, runimage
from provision.hostcopy import HOST_RUNS

if TYPE_CHECKING:
    from provision.attempts import Stage

NOTE = f"{HOST_RUNS}/.gpu-proof"
_LIMIT_S = 300.0  # the first use of 16 GPUs after a boot takes half a minute


@dataclass(frozen=True)
class Proof:
    """Words for an image, and what finds the GPUs in what they say: one match for each GPU, or with `counts` their
    number."""

    words: tuple[str, ...]
    found: str
    counts: bool = False

    def count(self, said: str) -> int:
        hits = re.findall(self.found, said)
        return max(map(int, hits), default=0) if self.counts else len(set(hits))


_TORCH = "import torch; n = torch.cuda.device_count(); [torch.ones(1).cuda(i) for i in range(n)]; print('gpus: %d' % n)"
_CAFFE = Proof(("caffe", "device_query", "-gpu", "all"), r"Device id:\s*(\d+)")
# by the names of a stack's `gpu_checks`: the shortest that makes the GPU do something
PROOFS: dict[str, Proof] = {
    "caffe-gpu": _CAFFE,
    "cuda-gpu": Proof(("cuda-check", "run"), r'"gpus": (\d+)', counts=True),
    "detectron-gpu": Proof(("python", "-c", _TORCH), r"gpus: (\d+)", counts=True),
}


def prove(stage: "Stage", gpus: Sequence[int], sleep: Callable[[float], None] = time.sleep) -> None:
    """RunError where the run's image does not find these GPUs of the host. Without GPUs there is nothing to prove."""
    target = runimage.target_of(stage.run.manifest.stack)
    if not target.variant.cuda:
        if stage.facts.gpus:
            stage.say(f"the image {target.name} has no CUDA: the training uses the CPU, and none of the GPUs")
        return
    new = _unproven(stage, gpus)
    if not new:
        return
    said, found = _count(stage, target, new, sleep)
    if found != len(new):
        raise RunError(*_why(stage, target, said, found, len(new)))
    _remember(stage, new)
    stage.say(f"the image finds its {len(new)} GPUs (driver {stage.facts.gpus[0].driver})")


def _unproven(stage: "Stage", gpus: Sequence[int]) -> tuple[int, ...]:
    noted = stage.shell.run(["cat", NOTE], check=False).out.splitlines()
    return tuple(index for index in gpus if _line(stage, index) not in noted)


def _remember(stage: "Stage", gpus: Sequence[int]) -> None:
    text = "".join(f"{_line(stage, index)}\n" for index in gpus)
    stage.shell.run(["sh", "-c", 'cat >> "$1"', "sh", NOTE], stdin=text.encode())


def _line(stage: "Stage", index: int) -> str:
    return f"{stage.instance.id} {stage.run.manifest.digest} {index}"


def _count(stage: "Stage", target: Target, gpus: tuple[int, ...], sleep: Callable[[float], None]) -> tuple[str, int]:
    """What the image said, and how many GPUs it found; 0 where it failed, or was not let start."""
    proof = next(PROOFS[name] for name in target.stack.gpu_checks if name in PROOFS)
    spec = ContainerSpec(
        name=f"provision-{stage.run.id}-proof",
        image=stage.run.manifest.image,
        command=proof.words,
        user=f"{stage.facts.uid}:{stage.facts.gid}",
        workdir="/tmp",
        gpus=facts.gpu_request(stage.facts, gpus),
        labels={"provision.proof": stage.run.id},
    )
    stage.engine.remove(spec.name)  # of a client that was killed
    try:
        stage.engine.run(spec)
        code = _wait(stage, spec.name, sleep)
        said = stage.engine.logs(spec.name)
    except EngineError as error:  # NVIDIA's hook lets no container start whose CUDA is too new for the driver
        if _misfit(stage, target):
            return error.what, 0
        raise
    finally:
        stage.engine.remove(spec.name)
    return said, proof.count(said) if code == 0 else 0


def _wait(stage: "Stage", name: str, sleep: Callable[[float], None]) -> int:
    """The container's exit code; RunError when it hangs."""
    until = time.monotonic() + _LIMIT_S
    pause = 0.1
    while time.monotonic() < until:
        now = stage.engine.inspect(name)
        if now is None or now.exit_code is not None:
            return 1 if now is None or now.exit_code is None else now.exit_code
        sleep(pause)
        pause = min(pause * 1.5, 2.0)
    raise RunError(
        f"the GPUs of {stage.instance.name} do not answer: asking for them took more than {_LIMIT_S:g} s",
        f"take another machine: provision down {stage.instance.name}",
    )


def _why(stage: "Stage", target: Target, said: str, found: int, wanted: int) -> tuple[str, str]:
    """What happened, and its mend."""
    reason = _misfit(stage, target) or f"it finds {found} of its {wanted} GPUs"
    last = _last_word(said)
    mend = f"nothing was started. Images that fit there: provision image choose --stack {target.stack.name}"
    return (
        f"the image {target.name} cannot train on {stage.instance.name}: {reason}" + (f" ({last})" if last else ""),
        f"{mend}{_flags(stage)}; or a machine that fits: provision up --image {target.name}",
    )


def _misfit(stage: "Stage", target: Target) -> str:
    """Why the image cannot work on this host, by driver and GPU; "" where the facts do not tell."""
    row = target.variant
    driver = stage.facts.gpus[0].driver if stage.facts.gpus else ""
    if driver and row.driver_min and driver_too_old(row, driver):
        return (
            f"the driver {driver} on this host is too old for the image's CUDA {row.cuda}, which needs {row.driver_min}"
        )
    kind = known_gpus.aws_types().get(stage.instance.type)
    return (refusal(row, known_gpus.gpu(kind.gpu)) or "") if kind else ""


def _flags(stage: "Stage") -> str:
    kind = known_gpus.aws_types().get(stage.instance.type)
    driver = stage.facts.gpus[0].driver if stage.facts.gpus else ""
    return (f" --gpu {kind.gpu}" if kind else "") + (f" --driver {driver}" if driver else "")


def _last_word(said: str) -> str:
    """The line that tells most: CUDA's own word for what is wrong, else the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"cuda|driver|gpu", line, re.IGNORECASE)]
    return next(reversed(telling or lines), "")[:300]
