"""The proof that the GPUs work in the image itself: before a training on GPUs begins, a short container of the same
image, with the same GPUs, counts them with the program that will train. There is no silent fallback to the CPU.

A host remembers what it has proven (its id, the image's digest, the GPU), so that this is done once.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from images.choose import on_host
from images.target import Target
from infra.containers import ContainerSpec
from infra.errors import EngineError, RunError, UsageError
from provision.engines import proofs
from provision.files.s3_to_host import HOST_RUNS
from provision.hosts import facts, image
from provision.hosts.facts import found_there

if TYPE_CHECKING:
    from provision.training.stage import Stage

NOTE = f"{HOST_RUNS}/.gpu-proof"
_LIMIT_S = 300.0  # the first use of 16 GPUs after a boot takes half a minute


def prove(stage: "Stage", gpus: Sequence[int], sleep: Callable[[float], None] = time.sleep) -> None:
    """Raise a RunError where the run's image does not find these GPUs of the host. Without GPUs nothing is checked."""
    target = image.target_of(stage.run.manifest.stack)
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
    proof = proofs.of(target)
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
        f"take another machine: {stage.cloud.hint(f'down {stage.instance.name}')}",
    )


def _why(stage: "Stage", target: Target, said: str, found: int, wanted: int) -> tuple[str, str]:
    """What went wrong, and its mend."""
    reason = _misfit(stage, target) or f"it finds {found} of its {wanted} GPUs"
    last = _last_word(said)
    mend = f"nothing was started. Images that fit there: provision image choose --stack {target.stack.name}"
    return (
        f"the image {target.name} cannot train on {stage.instance.name}: {reason}" + (f" ({last})" if last else ""),
        f"{mend}{_flags(stage)}; or a machine that fits: {stage.cloud.hint(f'up --image {target.name}')}",
    )


def _misfit(stage: "Stage", target: Target) -> str:
    """Why the image cannot work on this host, by driver and GPU; "" where the facts do not tell."""
    gpu, driver = found_there(stage.facts, stage.instance.type)
    try:
        if gpu:
            on_host(target.name, gpu, driver)
    except UsageError as error:
        return error.what
    return ""


def _flags(stage: "Stage") -> str:
    gpu, driver = found_there(stage.facts, stage.instance.type)
    return (f" --gpu {gpu}" if gpu else "") + (f" --driver {driver}" if driver else "")


def _last_word(said: str) -> str:
    """The line that tells most: CUDA's own word for what is wrong, else the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"cuda|driver|gpu", line, re.IGNORECASE)]
    return next(reversed(telling or lines), "")[:300]
