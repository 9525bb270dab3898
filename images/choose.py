"""From a wish to one Target, or the reason why not and the nearest that work.

A wish is narrowed part by part: the rows that the stack can stand on, then those with the CUDA, the cuDNN, the
distribution, … and at last those with code for the GPU. The part that leaves nothing is the reason.

Where several rows are left, the best is: one whose base is listed before one that is rebuilt here, and last one that
NVIDIA may have deleted by now; then on the distribution that the stack prefers; then with the newest CUDA, and the
newest cuDNN. Without a wish that speaks of GPUs it is a row without CUDA, if the stack has one. A Target serves all
the GPUs of its row, also when the wish named one: the next spot machine may have another. `parse` makes one for
certain GPUs only (`STACK:ROW@K80,V100`).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from images import gpus
from images.fits import PARTS, REASONS, WORDS, driver_too_old, fits, fitting, gcc_too_new, refusal, served
from images.matrix import Variant, like_tag, rows
from images.stacks import Stack, stacks
from images.target import Target
from images.versions import key
from infra.border import did_you_mean, nearest
from infra.errors import UsageError

Wish = dict[str, str]


@dataclass(frozen=True)
class Cell:
    """A stack on an AWS type: the target's name, or the reason why none."""

    stack: str
    instance: str
    target: str | None
    reason: str


def targets() -> Iterator[Target]:
    """Every stack on every row that it can be made for, by name of the stack, in the matrix's order."""
    for _, stack in sorted(stacks().items()):
        for row in fitting(stack):
            yield Target(stack, row)


def table(instances: Iterable[str]) -> list[Cell]:
    """What each stack runs on for each of these AWS types."""
    wanted = list(instances)
    return [_cell(stack, instance) for stack in sorted(stacks()) for instance in wanted]


def _cell(stack: str, instance: str) -> Cell:
    try:
        return Cell(stack, instance, choose(stack, instance=instance).name, "")
    except UsageError as error:
        return Cell(stack, instance, None, error.what.partition(": ")[2] or error.what)


def parse(text: str) -> Target:
    """The Target named `STACK`, `STACK:ROW` or `STACK:ROW@GPU,GPU`. UsageError names what is wrong and the nearest."""
    named, at, names = text.partition("@")
    stack, _, row = named.partition(":")
    target = choose(stack, row=row or None)
    if not at:
        return target
    if not row or not names:
        raise UsageError(f"{text!r} is not STACK:ROW@GPU,GPU", f"for all GPUs of a row: {target.name}")
    wanted = [gpus.gpu(name) for name in names.split(",")]
    for one in wanted:
        if reason := refusal(target.variant, one):
            serves = ", ".join(served(target.variant)) or "none"
            raise UsageError(f"{target.name} has no code for the {one.name}: {reason}", f"it serves {serves}")
    return replace(target, gpus=tuple(sorted({one.name for one in wanted})))


def choose(
    stack: str, *, row: str | None = None, cuda: str | None = None, cudnn: str | None = None, gpu: str | None = None,
    instance: str | None = None, flavour: str | None = None, distribution: str | None = None,
    driver: str | None = None,
) -> Target:  # fmt: skip
    """The one Target for the wish. `cuda` and `cudnn` may be short (`12`, `8.7`); `driver` is what a host has.

    UsageError says which part of the wish cannot be, why, and what is nearest.
    """
    if stack not in stacks():
        raise UsageError(f"there is no stack {stack!r}", did_you_mean(stack, stacks()))
    given = {"row": row, "flavour": flavour, "distribution": distribution, "cuda": cuda, "cudnn": cudnn,
             "driver": driver, "gpu": _gpu_of(gpu, instance)}  # fmt: skip
    return pick(stacks()[stack], {part: given[part] or "" for part in PARTS if given[part]})


def pick(stack: Stack, wish: Wish) -> Target:
    """The best row of the stack for a wish (parts out of PARTS)."""
    _check(stack, wish)
    left, failed = _narrow(stack, wish)
    if failed:
        raise UsageError(_why(stack, wish, failed, left), _instead(stack, wish, failed))
    return Target(stack, _best(stack, wish, left))


def _narrow(stack: Stack, wish: Wish) -> tuple[list[Variant], str]:
    """The rows that are left by a wish, and ""; or those that were left before the part that leaves none, and it."""
    left = fitting(stack)
    for part in PARTS:
        if part in wish:
            kept = [row for row in left if not REASONS[part](row, wish[part])]
            if not kept:
                return left, part
            left = kept
    return left, ""


def _best(stack: Stack, wish: Wish, left: list[Variant]) -> Variant:
    wanted = "cuda" if any(PARTS[part] for part in wish) else "cpu"
    left = [row for row in left if row.flavour == wanted] or left

    def rank(row: Variant) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
        order = stack.prefers.index(row.distribution) if row.distribution in stack.prefers else len(stack.prefers)
        return _standing(row), -order, key(row.cuda or ""), key(row.cudnn or "")

    return max(left, key=rank)


def _standing(row: Variant) -> int:
    """How sure it is that the base can still be had. Packages out of another release's trees are less so."""
    return {"listed": 3, "rebuilt-here": 1 if row.trees else 2}.get(row.status, 0)


def _gpu_of(gpu: str | None, instance: str | None) -> str | None:
    if instance is None:
        return gpus.gpu(gpu).name if gpu else None
    there = gpus.aws_type(instance).gpu
    if gpu and gpus.gpu(gpu).name != there:
        raise UsageError(f"{instance} has the {there}, not the {gpu}", "name one of both")
    return there


def _check(stack: Stack, wish: Wish) -> None:
    """Words that nothing in the matrix answers to, and wishes for GPUs where the stack is for CPUs."""
    if "row" in wish:
        _check_row(stack, wish["row"])
    for part, known in (("flavour", {"cpu", "cuda"}), ("distribution", {row.distribution for row in rows().values()})):
        if part in wish and wish[part] not in known:
            raise UsageError(f"{wish[part]!r} is no {part} of the matrix", did_you_mean(wish[part], known))
    for part in ("cuda", "cudnn", "driver"):
        if not re.fullmatch(r"\d+(\.\d+)*", wish.get(part, "0")):
            raise UsageError(f"{wish[part]!r} is no version (of {WORDS[part]})", "write it as 11.8")
    if "cuda" not in stack.flavours and any(PARTS[part] for part in wish):
        raise UsageError(f"{stack.name} is for CPUs only: {stack.because}", _instead(stack, {}, ""))


def _check_row(stack: Stack, row: str) -> None:
    if row in rows():
        if reason := fits(stack, rows()[row]):
            raise UsageError(f"{stack.name} cannot be made on {row}: {reason}", _instead(stack, {"row": row}, "row"))
        return
    like = like_tag(row)
    if like is None or fits(stack, like):
        raise UsageError(f"the matrix has no row {row!r}", did_you_mean(row, [one.id for one in fitting(stack)]))
    if like.removed_tag:
        raise UsageError(f"NVIDIA deleted {like.removed_tag} from Docker Hub in 2023",
                         f"take {stack.name}:{like.id}: the same on {like.base}")  # fmt: skip
    raise UsageError(f"{row!r} is one of NVIDIA's tags, not a row", f"take {stack.name}:{like.id}")


def _why(stack: Stack, wish: Wish, part: str, left: list[Variant]) -> str:
    """What leaves nothing of the rows that were left."""
    before = [f"{WORDS[one]} {wish[one]}" for one in list(PARTS)[: list(PARTS).index(part)] if one in wish]
    name = f"{stack.name} with {' and '.join(before)}" if before else stack.name
    if part == "gpu":
        return f"no image of {name} runs on the {wish[part]}: {_gpu_reason(left, gpus.gpu(wish[part]))}"
    if part == "driver":
        oldest = min([row for row in left if row.driver_min] or left, key=lambda row: key(row.driver_min or ""))
        return f"no image of {name} runs on the driver {wish[part]}: {driver_too_old(oldest, wish[part])}"
    elsewhere = [row for row in rows().values() if not any(REASONS[one](row, wish[one]) for one in wish)]
    if elsewhere:
        return f"{stack.name} cannot be made on {elsewhere[-1].id}: {fits(stack, elsewhere[-1])}"
    have = sorted({_of_part(row, part) for row in left} - {""}, key=key)
    gcc = _gcc_reason(wish) if part == "cuda" and "distribution" in wish else ""
    return f"{name} has no {WORDS[part]} {wish[part]}, only {', '.join(have) or 'none'}{gcc}"


def _gcc_reason(wish: Wish) -> str:
    alike = [row for row in rows().values() if not REASONS["cuda"](row, wish["cuda"])]
    reasons = [gcc_too_new(row, wish["distribution"]) for row in alike]
    return f": {reasons[-1]}" if reasons and reasons[-1] else ""


def _of_part(row: Variant, part: str) -> str:
    return {"cuda": row.cuda, "cudnn": row.cudnn, "flavour": row.flavour, "distribution": row.distribution}[part] or ""


def _gpu_reason(left: list[Variant], gpu: gpus.Gpu) -> str:
    """The reason of the row that comes nearest: of the right CUDA, or else the newest too old, the oldest too new."""
    with_cuda = sorted((row for row in left if row.cuda), key=lambda row: (key(row.cuda or ""), key(row.cudnn or "")))
    right = [row for row in with_cuda if key(row.cuda or "") >= key(gpu.cuda_first)]
    if not right:
        return refusal((with_cuda or left)[-1], gpu) or ""
    return refusal(right[0], gpu) or ""


def _instead(stack: Stack, wish: Wish, part: str) -> str:
    """The targets of the stack that come nearest to the wish."""
    if part == "gpu" and len(wish) == 1:
        return _other_gpus(stack, gpus.gpu(wish[part]))
    if part == "driver" and len(wish) == 1:
        return f"update the driver, or take {pick(stack, {}).name}"
    found: dict[str, str] = {}
    for dropped in wish if len(wish) > 1 else ():
        rest = {one: value for one, value in wish.items() if one != dropped}
        if dropped != "flavour" and any(PARTS[one] for one in wish):
            rest.setdefault("flavour", "cuda")
        left, failed = _narrow(stack, rest)
        if not failed:
            found.setdefault(Target(stack, _best(stack, rest, left)).name, f" (another {WORDS[dropped]})")
    near = _nearest(stack, wish, part) if not found else []
    return "take " + " or ".join([name + why for name, why in found.items()] + near)


def _nearest(stack: Stack, wish: Wish, part: str) -> list[str]:
    """Rows with the versions next to the wish; or those with ids like it; or the best of all."""
    fit = fitting(stack)
    if part in ("cuda", "cudnn"):
        versions = sorted({_of_part(row, part) for row in fit} - {""}, key=lambda one: _distance(one, wish[part]))
        return [pick(stack, {part: one}).name for one in versions[:2]]
    like = nearest(wish.get(part, ""), [row.id for row in fit])
    return [f"{stack.name}:{one}" for one in like] or [pick(stack, {}).name]


def _distance(one: str, other: str) -> list[int]:
    a, b = [*key(one), 0, 0, 0][:3], [*key(other), 0, 0, 0][:3]
    return [abs(x - y) for x, y in zip(a, b, strict=True)]


def _other_gpus(stack: Stack, gpu: gpus.Gpu) -> str:
    """GPUs that the stack runs on and AWS rents, the nearest first."""
    served = {sm for row in fitting(stack) for sm in row.architectures}
    rented = {one.gpu: one.name for one in reversed(gpus.aws_types().values()) if one.listed}
    near = [one for one in gpus.gpus().values() if one.sm in served and one.name in rented]
    near.sort(key=lambda one: abs(key(one.sm)[0] - key(gpu.sm)[0]))
    return f"{stack.name} runs on the " + ", ".join(f"{one.name} ({rented[one.name]})" for one in near[:3])
