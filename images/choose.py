"""From a wish to one Target, or the reason why not and the nearest that exist."""

from collections.abc import Iterator

from images.matrix import Variant, rows
from images.stacks import Stack, stacks
from images.target import Target
from infra.border import did_you_mean, nearest
from infra.errors import UsageError

# the GPUs that AWS rents (and rented), and their architectures
GPUS = {
    "K80": "sm_37", "M60": "sm_52", "V100": "sm_70", "T4": "sm_75", "A100": "sm_80", "A10G": "sm_86",
    "L4": "sm_89", "L40S": "sm_89", "H100": "sm_90", "H200": "sm_90", "B200": "sm_100",
}  # fmt: skip


def targets() -> Iterator[Target]:
    """Every stack on every row that it can be made for, sorted by name."""
    for name in sorted(stacks()):
        stack = stacks()[name]
        for row in _fitting(stack):
            yield Target(stack, row)


def parse(text: str) -> Target:
    """The Target named `STACK` or `STACK:ROW`."""
    stack, _, row = text.partition(":")
    return choose(stack, row=row or None)


def choose(stack: str, *, row: str | None = None, cuda: str | None = None, gpu: str | None = None) -> Target:
    """The one Target for the wish; where several fit, the newest distribution. UsageError names the nearest."""
    if stack not in stacks():
        raise UsageError(f"there is no stack {stack!r}", did_you_mean(stack, stacks()))
    found = stacks()[stack]
    fitting = _fitting(found)
    if row is not None:
        fitting = [_row(found, row)]
    if cuda is not None:
        fitting = _with_cuda(found, fitting, cuda)
    if gpu is not None:
        fitting = _with_gpu(found, fitting, gpu)
    return Target(found, fitting[-1])


def _fitting(stack: Stack) -> list[Variant]:
    return [row for _, row in sorted(rows().items()) if row.distribution in stack.distributions]


def _row(stack: Stack, row: str) -> Variant:
    if row not in rows():
        raise UsageError(f"the matrix has no row {row!r}", did_you_mean(row, [one.id for one in _fitting(stack)]))
    if rows()[row] not in _fitting(stack):
        raise UsageError(f"{stack.name} cannot be made on {row}: {stack.because}", _instead(stack, row))
    return rows()[row]


def _with_cuda(stack: Stack, fitting: list[Variant], cuda: str) -> list[Variant]:
    found = [row for row in fitting if row.cuda == cuda]
    if found:
        return found
    have = sorted({row.cuda for row in fitting if row.cuda})
    what = f"{stack.name} has no CUDA {cuda}" + (f", only {', '.join(have)}" if have else ": it is for CPUs only")
    raise UsageError(what, _instead(stack, f"cuda{cuda}"))


def _with_gpu(stack: Stack, fitting: list[Variant], gpu: str) -> list[Variant]:
    if gpu not in GPUS:
        raise UsageError(f"{gpu!r} is no GPU that is known here", did_you_mean(gpu, GPUS))
    found = [row for row in fitting if GPUS[gpu] in row.architectures]
    if found:
        return found
    raise UsageError(f"no image of {stack.name} has code for the {gpu} ({GPUS[gpu]})", _instead(stack, gpu))


def _instead(stack: Stack, wish: str) -> str:
    """The targets of the stack that are nearest to what was wished for."""
    names = {row.id: f"{stack.name}:{row.id}" for row in _fitting(stack)}
    close = nearest(wish, names) or list(names)[-3:]
    return "take " + " or ".join(names[one] for one in close)
