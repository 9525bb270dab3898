"""Target: a stack on a row of the matrix, for some GPUs or for all that the row serves; and its image's tag."""

from dataclasses import dataclass

from images.distributions import Distribution, distribution
from images.gpus import gpus
from images.matrix import Variant
from images.stacks import Stack
from images.versions import key


@dataclass(frozen=True)
class Target:
    """What can be rendered and built. `gpus` (K80, V100, …) limit for which GPUs code is made."""

    stack: Stack
    variant: Variant
    gpus: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As typed: `caffe-debian:cpu-debian11`, `caffe:cuda11.8-cudnn8.7-debian12@K80,V100`."""
        return f"{self.stack.name}:{self.variant.id}" + (f"@{','.join(self.gpus)}" if self.gpus else "")

    @property
    def tag(self) -> str:
        """`provision/caffe-debian:cpu-debian11-<12 hex of the context>`: another Dockerfile is another tag."""
        from images.render import render  # it takes a Target itself

        return render(self).tag

    @property
    def distribution(self) -> Distribution:
        return distribution(self.variant.distribution)

    @property
    def gcc(self) -> str:
        """The compiler: the distribution's default, or the newest that it packages and the CUDA takes."""
        default, limit = self.distribution.default_gcc, self.variant.gcc
        if limit is None or key(default)[:1] <= key(limit):
            return default
        return [one for one in self.distribution.gcc if key(one)[:1] <= key(limit)][-1]

    @property
    def versions(self) -> dict[str, str | None]:
        """What conditions of patches speak of."""
        row = self.variant
        return {**self.distribution.versions, "cuda": row.cuda, "cudnn": row.cudnn, "nccl": row.nccl, "gcc": self.gcc}

    @property
    def architectures(self) -> tuple[str, ...]:
        """The sm_NN that code is made for: those of `gpus`; or the least of each family that the row serves.

        Code for sm_80 runs on sm_86 and sm_89, but not on sm_90 (CUDA C++ programming guide, binary compatibility).
        """
        if self.gpus:
            return tuple(sorted({gpus()[name].sm for name in self.gpus}, key=key))
        least: dict[int, str] = {}
        for one in sorted(self.variant.architectures, key=key):
            least.setdefault(key(one)[0] // 10, one)
        return tuple(least.values())

    @property
    def gencode(self) -> tuple[str, ...]:
        """nvcc's flags: real code for each architecture, and PTX of the newest for GPUs to come."""
        numbers = [one.removeprefix("sm_") for one in self.architectures]
        real = [f"-gencode arch=compute_{one},code=sm_{one}" for one in numbers]
        return (*real, *(f"-gencode arch=compute_{one},code=compute_{one}" for one in numbers[-1:]))

    @property
    def cxx_flags(self) -> tuple[str, ...]:
        """The C++ standard, where the compiler's default is not right: CUDA 13 needs 17, gcc before 6 has 98."""
        if self.variant.cuda and key(self.variant.cuda) >= (13,):
            return ("-std=c++17",)
        return ("-std=c++11",) if key(self.gcc) < (6,) else ()
