"""Whether an image runs on a type: its CUDA, cuDNN and code against the GPU, and against the driver that will be there.

A training that finds no GPU it has code for falls back to the CPU, or ends, after minutes that were paid for.
"""

from images import gpus
from images.choose import choose, parse
from images.target import Target
from images.versions import key
from infra.aws.types import InstanceType
from infra.errors import UsageError


def unsupported(image: str, kind: InstanceType, driver: str) -> UsageError | None:
    """Why the target `STACK`, `STACK:ROW` or `STACK:ROW@GPUS` does not run on the type with that driver; None: it does.

    `driver` is "" where it is not known.
    """
    try:
        _check(image, kind, driver)
    except UsageError as error:
        return error
    return None


def _check(image: str, kind: InstanceType, driver: str) -> None:
    target = parse(image)
    if not kind.gpu:
        if target.variant.cuda:
            raise UsageError(f"{target.name} needs a GPU, and {kind.name} has none", "take a type with one")
        return
    row = target.variant.id if ":" in image else None
    choose(target.stack.name, row=row, gpu=kind.gpu, driver=driver or None)
    if target.gpus and not _serves(target, gpus.gpu(kind.gpu)):
        raise UsageError(
            f"{target.name} has no code for the {kind.gpu} of {kind.name}",
            f"take {target.stack.name}:{target.variant.id}, for all GPUs of its row",
        )


def _serves(target: Target, gpu: gpus.Gpu) -> bool:
    """Code for sm_80 runs on sm_86, and not the other way round (CUDA C++ programming guide, binary compatibility)."""
    have = key(gpu.sm)[0]
    return any(key(sm)[0] // 10 == have // 10 and key(sm)[0] <= have for sm in target.architectures)
