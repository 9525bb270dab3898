"""Whether a row can carry a stack, and whether it answers a part of a wish: each rule on its own, with its reason."""

from collections.abc import Callable, Iterable, Sequence

from images import gpus
from images.distributions import distribution
from images.matrix import Accepts, Variant, rows
from images.stacks import Stack
from images.versions import key

Wish = dict[str, str]  # its parts; several GPUs with commas between them

# parts of a wish in the order in which they narrow; True: the part speaks of GPUs
PARTS = {"row": False, "flavour": False, "distribution": False, "cuda": True, "cudnn": True, "driver": True,
         "gpu": True}  # fmt: skip

WORDS = {"row": "row", "flavour": "flavour", "distribution": "distribution", "cuda": "CUDA", "cudnn": "cuDNN",
          "driver": "driver", "gpu": "GPU"}  # fmt: skip

_BRANDS = {"rtx": "RTX cards", "geforce": "GeForce cards"}


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
    """Why the row's code does not run on the GPU; None: it does."""
    if row.cuda is None:
        return "it has no CUDA"
    if gpus.code_for(gpu, row.architectures):
        return None
    name = f"the {gpu.name} ({gpu.sm})" if gpu.name != gpu.sm else gpu.sm
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


def unknown_to(driver: str, gpu: gpus.Gpu) -> str | None:
    """Why the driver does not know the GPU; None: it does."""
    if not _at_least(driver, gpu.driver_first):
        return f"the first driver for the {gpu.name} is {_branch(gpu.driver_first)}"
    if gpu.driver_last and key(driver)[:1] > key(gpu.driver_last)[:1]:
        return f"the last branch for the {gpu.name} is R{gpu.driver_last}"
    return None


def known_to(gpu: gpus.Gpu) -> str:
    """The drivers that know the GPU: `R384 to R580`, `R525 or newer`."""
    return _branch(gpu.driver_first) + (f" to R{gpu.driver_last}" if gpu.driver_last else " or newer")


def driver_refusal(row: Variant, driver: str, gpu: gpus.Gpu | None = None) -> str | None:
    """Why the row's images do not run under a host's driver; None: they do. Without a GPU: on any for data centres.

    An official base lets drivers in by branch and brand, and with its cuda-compat a data-centre GPU does without the
    CUDA's own floor.
    """
    if row.driver_min is None:
        return "it has no CUDA"
    if gpu and (reason := unknown_to(driver, gpu)):
        return reason
    takes, brand = row.accepts, gpu.brand if gpu else "tesla"
    if takes and _at_least(driver, takes.native):
        return None
    if takes and str(key(driver)[0]) not in getattr(takes, brand):
        return f"{row.base} lets in {_let_in(takes, brand)}"
    if _at_least(driver, row.driver_min) or (takes and takes.compat and brand == "tesla"):
        return None
    return f"it is too old, CUDA {row.cuda} needs {row.driver_min}"


def _let_in(takes: Accepts, brand: str) -> str:
    """The driver branches that a base lets in for GPUs of a brand: `R470, R535, and R570 or newer`."""
    older = [f"R{branch}, " for branch in getattr(takes, brand)]
    return f"{''.join(older)}{'and ' if older else ''}R{takes.native} or newer" + (
        f" for {_BRANDS[brand]}" if brand != "tesla" else ""
    )


def _at_least(driver: str, floor: str) -> bool:
    """A short version stands for all of its branch: 525 is enough where 525.60.13 is needed."""
    return key(driver) >= key(floor)[: len(key(driver))]


def _branch(version: str) -> str:
    return version if "." in version else f"R{version}"


def cautions(row: Variant, wanted: Sequence[gpus.Gpu], driver: str = "") -> list[str]:
    """Cautions about using the row on these GPUs under that driver; none of them keeps it from running."""
    said = [why for gpu in wanted for why in (_older_code(row, gpu), _doubtful_compat(row, gpu)) if why]
    if driver and row.accepts and not _at_least(driver, row.accepts.native):
        said += _older_driver(row, row.accepts, wanted, driver)
    return said


def _older_code(row: Variant, gpu: gpus.Gpu) -> str:
    code = gpus.code_for(gpu, row.architectures)
    if code in (None, gpu.sm):
        return ""
    return f"the {gpu.name} runs on code made for {code}, not for its own {gpu.sm}"


def _doubtful_compat(row: Variant, gpu: gpus.Gpu) -> str:
    """A caution where the base's cuda-compat, which replaces the driver's library, no longer knows the GPU."""
    takes = row.accepts
    if not (takes and takes.compat and gpu.driver_last and key(gpu.driver_last) < key(takes.native)):
        return ""
    return f"not tried: the base's cuda-compat is of R{takes.native}, which no longer knows the {gpu.name}"


def _older_driver(row: Variant, takes: Accepts, wanted: Sequence[gpus.Gpu], driver: str) -> list[str]:
    shut = [words for brand, words in _BRANDS.items() if str(key(driver)[0]) not in getattr(takes, brand)]
    said = [f"under the driver {driver} on data-centre GPUs, not on {' or '.join(shut)}"] if shut and not wanted else []
    if not _at_least(driver, row.driver_min or ""):
        said.append(
            f"under the driver {driver} by the base's cuda-compat: CUDA {row.cuda} itself needs {row.driver_min}"
        )
    # container runtimes put cuda-compat before any older driver's library (NVIDIA/nvidia-container-toolkit 291)
    others = [gpu.name for gpu in wanted if gpu.brand != "tesla" and takes.compat]
    return said + [f"not tried: cuda-compat is not for the {name}, and may end in CUDA's error 804" for name in others]


def _of(row: Variant, what: str, versions: Iterable[str | None], wish: str) -> str | None:
    """Why none of the versions is the wished one. A short version stands for all that begin with it."""
    if any(key(version)[: len(key(wish))] == key(wish) for version in versions if version):
        return None
    return f"{row.id} has another {what}"


_REASONS: dict[str, Callable[[Variant, str], str | None]] = {
    "row": lambda row, wish: None if row.id == wish else "another row",
    "flavour": lambda row, wish: None if row.flavour == wish else "another flavour",
    "distribution": lambda row, wish: None if row.distribution == wish else "another distribution",
    "cuda": lambda row, wish: _of(row, "CUDA", (row.cuda, row.release), wish),
    "cudnn": lambda row, wish: _of(row, "cuDNN", (row.cudnn, row.cudnn_release), wish),
    "gpu": lambda row, wish: refusal(row, gpus.gpu(wish)),
}


def steps(wish: Wish) -> list[tuple[str, str]]:
    """The parts of a wish with their values, in the order in which they narrow; several GPUs are a part each."""
    return [
        (part, value)
        for part in PARTS
        if part in wish
        for value in (wish[part].split(",") if part == "gpu" else [wish[part]])
    ]


def reason(row: Variant, part: str, value: str, wish: Wish) -> str | None:
    """Why the row does not answer that part of the wish; None: it does. A driver is held against the wish's GPUs."""
    if part != "driver":
        return _REASONS[part](row, value)
    wanted = [gpus.gpu(name) for name in wish["gpu"].split(",")] if "gpu" in wish else [None]
    return next((why for gpu in wanted if (why := driver_refusal(row, value, gpu))), None)


def misses(row: Variant, wish: Wish) -> bool:
    """Whether the row leaves a part of the wish unanswered."""
    return any(reason(row, part, value, wish) for part, value in steps(wish))


def fitting(stack: Stack) -> list[Variant]:
    """The rows that can carry the stack, in the matrix's order."""
    return [row for row in rows().values() if fits(stack, row) is None]


def served(row: Variant) -> list[str]:
    """Names of the GPUs that run the row's code."""
    return [name for name, gpu in gpus.gpus().items() if gpus.code_for(gpu, row.architectures)]
