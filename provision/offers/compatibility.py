"""Whether an image runs on a type: its CUDA, cuDNN and code against the GPU, and against the driver that will be there.
The answer is `images.choose.on_host`'s, which `image choose`, `train` and the proof of the GPUs on the host give, too.

A training that finds no GPU it has code for falls back to the CPU, or ends, after minutes that were paid for.
"""

from images import gpus
from images.choose import on_host, parse
from infra.aws.types import InstanceType
from infra.errors import UsageError
from provision.offers import amis
from provision.settings import Settings


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
    if kind.gpu and "cuda" not in target.stack.flavours:
        raise UsageError(f"{target.stack.name} is for CPUs only: {target.stack.because}",
                         "leave --image out: the image needs no GPU, `train` uses the CPUs of any machine")  # fmt: skip
    if kind.gpu:
        on_host(image, kind.gpu, driver)
    elif target.variant.cuda:
        raise UsageError(f"{target.name} needs a GPU, and {kind.name} has none", "take a type with one")


def driver_of(settings: Settings, kind: str) -> str:
    """The driver that a machine of that AWS type will have, as far as our table tells; "" where nobody knows.

    UsageError for a type with a share of a GPU, where the settings name no machine image for it.
    """
    found = gpus.aws_types().get(kind)
    return amis.choose(settings, amis.family_of(found.gpu, kind)).version if found else ""


def smallest_type(image: str, settings: Settings) -> str:
    """The smallest type that AWS still rents and whose GPUs run the target; "" where there is none."""
    rented = [kind for kind in gpus.aws_types().values() if kind.listed and kind.share == 1]
    rented.sort(key=lambda kind: (kind.count, kind.vcpu, kind.ram_gib))
    return next((kind.name for kind in rented if _runs(image, kind, settings)), "")


def _runs(image: str, kind: gpus.AwsType, settings: Settings) -> bool:
    try:
        on_host(image, kind.gpu, driver_of(settings, kind.name))
    except UsageError:
        return False
    return True
