"""Whether a row can carry a stack, and whether it answers a part of a wish: each rule on its own, with its reason."""

from collections.abc import Callable, Iterable

from images import gpus
from images.distributions import distribution
from images.matrix import Variant, rows
from images.stacks import Stack
from images.versions import key

# parts of a wish in the order in which they narrow; True: the part speaks of GPUs
PARTS = {"row": False, "flavour": False, "distribution": False, "cuda": True, "cudnn": True, "driver": True,
         "gpu": True}  # fmt: skip

WORDS = {"row": "row", "flavour": "flavour", "distribution": "distribution", "cuda": "CUDA", "cudnn": "cuDNN",
          "driver": "driver", "gpu": "GPU"}  # fmt: skip


def fits(stack: Stack, row: Variant) -> str | None:
    """Why the row cannot carry the stack; None: it can."""
    if row.flavour not in stack.flavours:
        return f"{stack.name} is for {'CPUs' if row.flavour == 'cuda' else 'GPUs'} only: {stack.because}"
    named = (not stack.rows or row.id in stack.rows, not stack.distributions or row.distribution in stack.distributions)
    if row.base_kind not in stack.kinds or not all(named):
        return stack.because
    if row.cuda and stack.cuda_first and key(row.cuda) < key(stack.cuda_first):
        return f"{stack.name} needs CUDA {stack.cuda_first} or newer"
    if row.cuda and stack.cuda_last and key(row.cuda) > key(stack.cuda_last):
        return f"{stack.name} ends at CUDA {stack.cuda_last}: {stack.because}"
    return gcc_too_new(row, row.distribution)


def gcc_too_new(row: Variant, where: str) -> str | None:
    """Why a distribution has no compiler for the CUDA of the row; None: it has one."""
    oldest = distribution(where).gcc[0]
    if row.gcc is None or key(oldest)[:1] <= key(row.gcc):
        return None
    return f"CUDA {row.cuda} takes gcc {row.gcc} at most, and the oldest gcc of {where} is {oldest}"


def refusal(row: Variant, gpu: gpus.Gpu) -> str | None:
    """Why the row does not run on the GPU; None: it has real code for it."""
    if row.cuda is None:
        return "it has no CUDA"
    if gpu.sm in row.architectures:
        return None
    name = f"the {gpu.name} ({gpu.sm})"
    if row.base_kind == "torch-wheel":
        return f"torch {row.pins['torch']}, a wheel with CUDA {row.cuda}, holds no code for {name}"
    if key(row.cuda) < key(gpu.cuda_first):
        return f"CUDA {row.cuda} is too old for {name}: the first that knows it is {gpu.cuda_first}"
    if gpu.cuda_last and key(row.cuda) > key(gpu.cuda_last):
        driver = ""
        if gpu.driver_last and key(row.driver_min or "") > key(gpu.driver_last):
            driver = f", and it needs driver {row.driver_min} where the last for the {gpu.name} is R{gpu.driver_last}"
        return f"CUDA {row.cuda} is too new for {name}: the last with code for it is {gpu.cuda_last}{driver}"
    last = f": the last that has is {gpu.cudnn_last}" if gpu.cudnn_last else ""
    return f"cuDNN {row.cudnn} has no code for {name}{last}"


def _of(row: Variant, what: str, versions: Iterable[str | None], wish: str) -> str | None:
    """A short version stands for all that begin with it."""
    if any(key(one)[: len(key(wish))] == key(wish) for one in versions if one):
        return None
    return f"{row.id} has another {what}"


def driver_too_old(row: Variant, driver: str) -> str | None:
    """Why the row does not run on a host's driver; None: it does."""
    if row.driver_min is None:
        return "it has no CUDA"
    if key(driver) >= key(row.driver_min):
        return None
    return f"it is too old, CUDA {row.cuda} needs {row.driver_min}"


REASONS: dict[str, Callable[[Variant, str], str | None]] = {
    "row": lambda row, wish: None if row.id == wish else "another row",
    "flavour": lambda row, wish: None if row.flavour == wish else "another flavour",
    "distribution": lambda row, wish: None if row.distribution == wish else "another distribution",
    "cuda": lambda row, wish: _of(row, "CUDA", (row.cuda, row.release), wish),
    "cudnn": lambda row, wish: _of(row, "cuDNN", (row.cudnn, row.cudnn_release), wish),
    "driver": driver_too_old,
    "gpu": lambda row, wish: refusal(row, gpus.gpu(wish)),
}


def fitting(stack: Stack) -> list[Variant]:
    """The rows that can carry the stack, in the matrix's order."""
    return [row for row in rows().values() if fits(stack, row) is None]


def served(row: Variant) -> list[str]:
    """Names of the GPUs that the row has code for."""
    return [name for name, one in gpus.gpus().items() if one.sm in row.architectures]
