"""GPUs, and the AWS types that carry them. Data in `gpus.yaml`, each fact with its source.

What runs on a GPU is decided three times: by the CUDA that can make code for it, by the cuDNN that holds code for
it, and by the last driver that knows it. All three are here; none follows from the others.
"""

from functools import cache
from pathlib import Path

import msgspec

from infra import border
from infra.errors import UsageError

PATH = Path(__file__).parent / "gpus.yaml"


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One GPU. `sm` is its architecture; CUDA from `cuda_first` to `cuda_last` makes code for it; `cudnn_last` is the
    last cuDNN with code that runs on it; `driver_last` the last branch of the driver. None: not ended yet."""

    sm: str
    family: str
    cuda_first: str
    cuda_last: str | None = None
    cudnn_last: str | None = None
    driver_last: str | None = None
    source: str
    name: str = ""


class AwsType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One AWS type: `count` GPUs with `gpu_mib` MiB each. `listed`: AWS still rents it (it left p2, g3 and p3)."""

    gpu: str
    count: int
    gpu_mib: int
    vcpu: int
    ram_gib: float
    listed: bool
    name: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sources: dict[str, str]
    gpus: dict[str, Gpu]
    aws: dict[str, AwsType]


def load(path: Path = PATH) -> tuple[dict[str, Gpu], dict[str, AwsType]]:
    """GPUs and AWS types by name. UsageError with the key path where the file is wrong."""
    found = border.load_yaml(path, _File)
    for name, one in found.aws.items():
        if one.gpu not in found.gpus:
            raise UsageError(f"{path}: {one.gpu!r} is no GPU (at aws.{name}.gpu)",
                             border.did_you_mean(one.gpu, found.gpus))  # fmt: skip
    for name, gpu in found.gpus.items():
        if gpu.source not in found.sources:
            raise UsageError(f"{path}: there is no source {gpu.source!r} (at gpus.{name}.source)",
                             border.did_you_mean(gpu.source, found.sources))  # fmt: skip
    gpus = {name: msgspec.structs.replace(one, name=name) for name, one in found.gpus.items()}
    return gpus, {name: msgspec.structs.replace(one, name=name) for name, one in found.aws.items()}


@cache
def _ours() -> tuple[dict[str, Gpu], dict[str, AwsType]]:
    return load()


def gpus() -> dict[str, Gpu]:
    """The GPUs that are known, by name."""
    return _ours()[0]


def aws_types() -> dict[str, AwsType]:
    """AWS types with GPUs, by name, those that AWS no longer rents among them."""
    return _ours()[1]


def gpu(name: str) -> Gpu:
    """The GPU of that name, however its case is typed. UsageError names the nearest."""
    found = {key.lower(): one for key, one in gpus().items()}
    if name.lower() not in found:
        raise UsageError(f"{name!r} is no GPU that is known here", border.did_you_mean(name, gpus()))
    return found[name.lower()]


def aws_type(name: str) -> AwsType:
    """The AWS type of that name. UsageError names the nearest."""
    if name not in aws_types():
        raise UsageError(f"{name!r} is no AWS type with an NVIDIA GPU that is known here",
                         border.did_you_mean(name, aws_types()))  # fmt: skip
    return aws_types()[name]
