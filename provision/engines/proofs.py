"""What counts the GPUs in an image: a short container of the same image says how many it can use."""

import re
from dataclasses import dataclass

from images.target import Target
from infra.errors import RunError


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


def of(target: Target) -> Proof:
    """What counts the GPUs in an image of that stack; RunError where nothing is known that does."""
    proofs = [PROOFS[name] for name in target.stack.gpu_checks if name in PROOFS]
    if not proofs:
        raise RunError(
            f"no check is known that finds the GPUs in the image {target.name}: the stack {target.stack.name} has none "
            f"of the checks {', '.join(PROOFS)}",
            "name one under gpu_checks in the stack's file, or train with --gpus 0",
        )
    return proofs[0]
