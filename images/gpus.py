"""GPUs, and the AWS types that carry them. Data in `gpus.yaml`, each fact with its source.

What runs on a GPU is decided three times: by the CUDA that can make code for it, by the cuDNN that holds code for
it, and by the drivers that know it. All three are here; none follows from the others.
"""

import re
from collections.abc import Container, Iterable
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from images.versions import key
from infra import border
from infra.errors import UsageError

PATH = Path(__file__).parent / "gpus.yaml"

# words of a product's name that do not tell one GPU from another
_FILLERS = {"nvidia", "tesla", "geforce", "quadro", "blackwell", "server", "workstation", "edition", "generation"}
_SM = re.compile(r"(?:sm_?|compute_?)?(\d{1,2})\.?(\d)")


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One GPU. `sm` is its architecture; CUDA from `cuda_first` to `cuda_last` makes code for it; `cudnn_last` is the
    last cuDNN with code that runs on it; drivers from `driver_first` to the branch `driver_last` know it. None: not
    ended yet. `brand` is what a container runtime calls it, in three groups."""

    sm: str
    family: str
    cuda_first: str
    cuda_last: str | None = None
    cudnn_last: str | None = None
    driver_first: str
    driver_last: str | None = None
    brand: Literal["tesla", "rtx", "geforce"] = "tesla"
    source: str
    name: str = ""


class AwsType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One AWS type: `count` GPUs with `gpu_mib` MiB each, or a `share` of one. `listed`: AWS still rents it (it left
    p2, g3 and p3)."""

    gpu: str
    count: int
    gpu_mib: int
    share: float = 1.0
    vcpu: int
    ram_gib: float
    listed: bool
    name: str = ""


class _Stranger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    types: str
    why: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sources: dict[str, str]
    gpus: dict[str, Gpu]
    strangers: tuple[_Stranger, ...]
    aws: dict[str, AwsType]


def load(path: Path = PATH) -> _File:
    """The file, its GPUs and types with their names. UsageError with the key path where it is wrong."""
    found = border.load_yaml(path, _File)
    for name, kind in found.aws.items():
        if kind.gpu not in found.gpus:
            raise UsageError(f"{path}: {kind.gpu!r} is no GPU (at aws.{name}.gpu)",
                             border.did_you_mean(kind.gpu, found.gpus))  # fmt: skip
    for name, source in ((name, cited) for name, gpu in found.gpus.items() for cited in gpu.source.split(" + ")):
        if source not in found.sources:
            raise UsageError(f"{path}: there is no source {source!r} (at gpus.{name}.source)",
                             border.did_you_mean(source, found.sources))  # fmt: skip
    return msgspec.structs.replace(
        found,
        gpus={name: msgspec.structs.replace(gpu, name=name) for name, gpu in found.gpus.items()},
        aws={name: msgspec.structs.replace(kind, name=name) for name, kind in found.aws.items()},
    )


@cache
def _ours() -> _File:
    return load()


def gpus() -> dict[str, Gpu]:
    """All GPUs of our data, by name."""
    return _ours().gpus


def aws_types() -> dict[str, AwsType]:
    """AWS types with GPUs, by name, those that AWS no longer rents among them."""
    return _ours().aws


def stranger(kind: str) -> str:
    """Why no image here is for the AWS type (`has AMD's GPUs`); "" for one that may be."""
    return next((group.why for group in _ours().strangers if re.match(group.types, kind)), "")


def gpu(name: str) -> Gpu:
    """The GPU that a text means: `V100`, `v100`, a name that nvidia-smi prints (`Tesla V100-SXM2-16GB`), or an
    architecture (`sm_70`, `7.0`). UsageError, which names the nearest, where it means none."""
    found = known(name)
    if found is None:
        raise UsageError(f"{name!r} is no GPU that is known here", border.did_you_mean(name, gpus()))
    return found


@cache
def known(name: str) -> Gpu | None:
    """The GPU of that name; None where it is not in our data. More words may follow the name, but not another GPU's."""
    if found := _SM.fullmatch(name.strip().lower()):
        return _of_architecture(f"sm_{found[1]}{found[2]}")
    names = {gpu.lower(): gpu for gpu in gpus()}
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word and word not in _FILLERS]
    for count in range(len(words), 0, -1):
        if meant := names.get("".join(words[:count])):
            return None if _named_in(words[count:], names) else gpus()[meant]
    return None


def _named_in(words: list[str], names: Container[str]) -> bool:
    """Whether some of these words, side by side, are a GPU's name or an architecture's (`sm`, `80`)."""
    ends = range(1, len(words) + 1)
    joined = ["".join(words[begin:end]) for end in ends for begin in range(end)]
    return any(word in names or (word.startswith("sm") and _SM.fullmatch(word)) for word in joined)


def _of_architecture(sm: str) -> Gpu | None:
    """Any GPU of that architecture: the one that the oldest driver knows, under the name of the architecture."""
    alike = [gpu for gpu in gpus().values() if gpu.sm == sm]
    if not alike:
        return None
    return msgspec.structs.replace(min(alike, key=lambda gpu: key(gpu.driver_first)), name=sm)


def code_for(gpu: Gpu, architectures: Iterable[str]) -> str | None:
    """The one of these architectures whose code the GPU runs best: its own, else the newest older minor of its major.
    None: it runs none of them.

    NVIDIA's compatibility guides for Turing, Ampere and Ada, 1.2: code runs on its own minor revision and later ones.
    """
    have = key(gpu.sm)[0]
    fit = [sm for sm in architectures if key(sm)[0] // 10 == have // 10 and key(sm)[0] <= have]
    return max(fit, key=key, default=None)


def aws_type(name: str) -> AwsType:
    """The AWS type of that name. UsageError says why no image is for it, or names the nearest."""
    if why := stranger(name):
        raise UsageError(f"{name} {why}", "take a type with Intel or AMD processors, and NVIDIA's GPUs: g4dn.xlarge")
    if name not in aws_types():
        raise UsageError(f"{name!r} is no AWS type with an NVIDIA GPU that is known here",
                         border.did_you_mean(name, aws_types()))  # fmt: skip
    return aws_types()[name]
