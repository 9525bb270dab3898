"""From a wish to one Target, or to the reason why there is none and the nearest targets that work. How rows are
narrowed and ranked is in `ranking`.

A Target serves all the GPUs of its row, also when the wish named some: the next spot machine may have another. `parse`
makes one for certain GPUs only (`STACK:ROW@K80,V100`). `on_host` answers all who ask whether an image
runs on a machine: `choose` for an AWS type, `up --image`, `train`, and the proof of the GPUs on the host.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from images import gpus
from images.fits import PARTS, WORDS, Wish, fits, fitting, known_to, refusal, served, unknown_to
from images.instead import instead, why
from images.matrix import like_tag, rows
from images.ranking import best, narrow, to_blame, wanted_gpus
from images.stacks import Stack, stacks
from images.target import Target
from infra.border import did_you_mean
from infra.errors import UsageError


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


def table(instances: Iterable[str], driver_of: Callable[[str], str] = lambda _: "") -> list[Cell]:
    """For each stack and each of these AWS types, the target that runs there under the driver of such a machine."""
    wanted = list(instances)
    return [_cell(stack, instance, driver_of(instance)) for stack in sorted(stacks()) for instance in wanted]


def _cell(stack: str, instance: str, driver: str) -> Cell:
    try:
        return Cell(stack, instance, choose(stack, instance=instance, driver=driver or None).name, "")
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
    for gpu in wanted:
        if reason := refusal(target.variant, gpu):
            rented = {kind.gpu for kind in gpus.aws_types().values()}
            serves = ", ".join(name for name in served(target.variant) if name in rented) or "none"
            raise UsageError(f"{target.name} has no code for the {gpu.name}: {reason}", f"it serves {serves}")
    return replace(target, gpus=tuple(sorted({gpu.name for gpu in wanted})))


def on_host(text: str, gpu: str, driver: str = "", flavour: str | None = None) -> Target:
    """The Target that `text` names, as far as it runs on a host with that GPU under that driver ("": not known). A
    stack alone is the best of its rows for it. UsageError says why not, and what is nearest."""
    stack, _, row = text.partition("@")[0].partition(":")
    found = choose(stack, row=row or None, gpu=gpu, driver=driver or None, flavour=flavour)
    if "@" not in text:
        return found
    target = parse(text)
    if not gpus.code_for(gpus.gpu(gpu), target.architectures):
        raise UsageError(f"{target.name} has no code for the {gpu}", f"take {found.name}, for all GPUs of its row")
    return target


def choose(
    stack: str, *, row: str | None = None, cuda: str | None = None, cudnn: str | None = None,
    gpu: str | Sequence[str] | None = None, instance: str | None = None, flavour: str | None = None,
    distribution: str | None = None, driver: str | None = None,
) -> Target:  # fmt: skip
    """The one Target for the wish. `cuda` and `cudnn` may be short (`12`, `8.7`); `driver` is what a host has; several
    GPUs are one wish: the image runs on each of them.

    UsageError says which part of the wish cannot be, why, and what is nearest.
    """
    if stack not in stacks():
        raise UsageError(f"there is no stack {stack!r}", did_you_mean(stack, stacks()))
    named = [gpu] if isinstance(gpu, str) else list(gpu or ())
    given = {"row": row, "flavour": flavour, "distribution": distribution, "cuda": cuda, "cudnn": cudnn,
             "driver": driver, "gpu": ",".join(gpus_of(named, instance))}  # fmt: skip
    return pick(stacks()[stack], {part: given[part] or "" for part in PARTS if given[part]})


def pick(stack: Stack, wish: Wish) -> Target:
    """The best row of the stack for a wish (parts out of PARTS)."""
    _check(stack, wish)
    left, failed = narrow(stack, wish)
    if failed is None:
        return best(stack, wish, left)
    told = to_blame(stack, wish)
    left, failed = narrow(stack, told)
    assert failed is not None  # a wish that fails even without its driver is explained without it
    raise UsageError(why(stack, told, failed, left), instead(stack, wish, failed))


def gpus_of(named: Iterable[str], instance: str | None = None) -> list[str]:
    """The GPUs of a wish by their names here, each once; one word may name several. UsageError where the type has
    another."""
    names = list(dict.fromkeys(gpus.gpu(name).name for several in named for name in several.split(",")))
    if instance is None:
        return names
    there = gpus.aws_type(instance).gpu
    for name in names:
        if name not in (there, gpus.gpu(there).sm):
            raise UsageError(f"{instance} has the {there}, not the {name}", "leave out one of the two")
    return [there]


def _check(stack: Stack, wish: Wish) -> None:
    """UsageError for a word that the matrix does not know, and for a wish for GPUs where the stack is for CPUs."""
    if "row" in wish:
        _check_row(stack, wish["row"])
    for part, known in (("flavour", {"cpu", "cuda"}), ("distribution", {row.distribution for row in rows().values()})):
        if part in wish and wish[part] not in known:
            raise UsageError(f"{wish[part]!r} is no {part} of the matrix", did_you_mean(wish[part], known))
    for part, example in (("cuda", "11.8"), ("cudnn", "8.7"), ("driver", "470.256")):
        if not re.fullmatch(r"\d+(\.\d+)*", wish.get(part, "0")):
            raise UsageError(f"{wish[part]!r} is no version (of {WORDS[part]})", f"write it as {example}")
    if "cuda" not in stack.flavours and any(PARTS[part] for part in wish):
        raise UsageError(f"{stack.name} is for CPUs only: {stack.because}", instead(stack, {}))
    for gpu in wanted_gpus(wish) if "driver" in wish else ():
        if reason := unknown_to(wish["driver"], gpu):
            raise UsageError(f"no image runs on the {gpu.name} under the driver {wish['driver']}: {reason}",
                             f"take a machine with one of its drivers: {known_to(gpu)}")  # fmt: skip


def _check_row(stack: Stack, row: str) -> None:
    if row in rows():
        if reason := fits(stack, rows()[row]):
            raise UsageError(
                f"{stack.name} cannot be made on {row}: {reason}", instead(stack, {"row": row}, ("row", row))
            )
        return
    like = like_tag(row)
    if like is None or fits(stack, like):
        raise UsageError(f"the matrix has no row {row!r}", did_you_mean(row, [fit.id for fit in fitting(stack)]))
    if like.removed_tag:
        raise UsageError(f"NVIDIA deleted {like.removed_tag} from Docker Hub in 2023",
                         f"take {stack.name}:{like.id}: the same on {like.base}")  # fmt: skip
    raise UsageError(f"{row!r} is one of NVIDIA's tags, not a row", f"take {stack.name}:{like.id}")
