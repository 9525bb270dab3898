"""Target: a stack on a row of the matrix, for some GPUs or for all that the row serves."""

from dataclasses import dataclass

from images.distributions import Distribution, distribution
from images.gpus import code_for, gpu
from images.matrix import Variant
from images.stacks import Stack
from images.versions import key


@dataclass(frozen=True)
class Target:
    """A stack on a row: it can be rendered and built. With `gpus` (K80, V100, …) code is made for these alone."""

    stack: Stack
    variant: Variant
    gpus: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As typed: `caffe-debian:cpu-debian11`, `caffe:cuda11.8-cudnn8.7-debian12@K80,V100`."""
        return f"{self.stack.name}:{self.variant.id}" + (f"@{','.join(self.gpus)}" if self.gpus else "")

    @property
    def caution(self) -> str:
        """Why the base may be gone, and what to build then; empty where nothing is known against it."""
        row = self.variant
        if row.twin is None:
            return row.caution
        instead = f"provision image build {self.stack.name}:{row.twin.id}"
        return f"{row.caution}; {row.second_base} is the same; if both are gone: {instead}"

    @property
    def distribution(self) -> Distribution:
        return distribution(self.variant.distribution)

    @property
    def gcc(self) -> str:
        """The compiler: the distribution's default, or the newest that it packages and the CUDA takes."""
        default, limit = self.distribution.default_gcc, self.variant.gcc
        if limit is None or key(default)[:1] <= key(limit):
            return default
        return [gcc for gcc in self.distribution.gcc if key(gcc)[:1] <= key(limit)][-1]

    @property
    def versions(self) -> dict[str, str | None]:
        """The versions that the conditions of patches name."""
        row = self.variant
        return {**self.distribution.versions, "cuda": row.cuda, "cudnn": row.cudnn, "nccl": row.nccl, "gcc": self.gcc}

    @property
    def architectures(self) -> tuple[str, ...]:
        """The sm_NN that code is made for: what `gpus` run best of the row's; or the least of each family of the row.

        Code for sm_80 runs on sm_86 and sm_89, but not on sm_90 (CUDA C++ programming guide, binary compatibility).
        """
        if self.gpus:
            best = {code_for(gpu(name), self.variant.architectures) or gpu(name).sm for name in self.gpus}
            return tuple(sorted(best, key=key))
        least: dict[int, str] = {}
        for code in sorted(self.variant.architectures, key=key):
            least.setdefault(key(code)[0] // 10, code)
        return tuple(least.values())

    @property
    def gencode(self) -> tuple[str, ...]:
        """nvcc's flags: real code for each architecture, and PTX of the newest for GPUs to come."""
        numbers = [number.removeprefix("sm_") for number in self.architectures]
        real = [f"-gencode arch=compute_{number},code=sm_{number}" for number in numbers]
        return (*real, *(f"-gencode arch=compute_{number},code=compute_{number}" for number in numbers[-1:]))

    @property
    def licences(self) -> str:
        """What the image is under, as SPDX writes it: the source's licence, and those of NVIDIA's parts."""
        row = self.variant
        nvidia = {
            "LicenseRef-NVIDIA-CUDA-EULA": row.cuda,
            "LicenseRef-NVIDIA-cuDNN": row.cudnn,
            "BSD-3-Clause": row.nccl,
        }
        found = [*filter(None, [self.stack.licence]), *(name for name, there in nvidia.items() if there)]
        return " AND ".join(found)

    @property
    def cxx_flags(self) -> tuple[str, ...]:
        """The C++ standard, where the compiler's default is not right: CUDA 13 needs 17, gcc before 6 has 98."""
        if self.variant.cuda and key(self.variant.cuda) >= (13,):
            return ("-std=c++17",)
        return ("-std=c++11",) if key(self.gcc) < (6,) else ()
