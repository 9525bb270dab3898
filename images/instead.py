"""Why no row answers a wish, in words, and what comes nearest to it."""

from images import gpus
from images.fits import PARTS, WORDS, Wish, fits, fitting, gcc_too_new, misses, reason, refusal, steps
from images.matrix import Variant, rows
from images.ranking import Step, best_of, to_blame, wanted_gpus
from images.stacks import Stack
from images.versions import key
from infra.border import nearest


def why(stack: Stack, wish: Wish, failed: Step, left: list[Variant]) -> str:
    """Why the part `failed` of the wish leaves none of the rows `left` by the parts before it."""
    part, value = failed
    parts = steps(wish)
    before = [f"{WORDS[name]} {said}" for name, said in parts[: parts.index(failed)]]
    name = f"{stack.name} with {' and '.join(before)}" if before else stack.name
    if part == "gpu":
        return f"no image of {name} runs on the {value}: {_gpu_reason(left, gpus.gpu(value))}"
    if part == "driver":
        oldest = min([row for row in left if row.driver_min] or left, key=lambda row: key(row.driver_min or ""))
        return f"no image of {name} runs on the driver {value}{_on(wish)}: {reason(oldest, part, value, wish)}"
    elsewhere = [row for row in rows().values() if not misses(row, wish)]
    if elsewhere:
        return f"{stack.name} cannot be made on {elsewhere[-1].id}: {fits(stack, elsewhere[-1])}"
    have = sorted({_of_part(row, part) for row in left} - {""}, key=key)
    gcc = _gcc_reason(wish) if part == "cuda" and "distribution" in wish else ""
    return f"{name} has no {WORDS[part]} {value}, only {', '.join(have) or 'none'}{gcc}"


def _on(wish: Wish) -> str:
    named = [gpu.name for gpu in wanted_gpus(wish)]
    return f" of the {' and the '.join(named)}" if named else ""


def _gcc_reason(wish: Wish) -> str:
    alike = [row for row in rows().values() if not reason(row, "cuda", wish["cuda"], wish)]
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


def instead(stack: Stack, wish: Wish, failed: Step | None = None) -> str:
    """The targets of the stack that come nearest to the wish."""
    parts = steps(wish)
    if failed and steps(to_blame(stack, wish)) == [failed]:
        if failed[0] == "gpu":
            return _other_gpus(stack, gpus.gpu(failed[1]))
        if failed[0] == "driver":
            return f"update the driver, or take {_any(stack)}"
    found: dict[str, str] = {}
    for dropped in parts if len(parts) > 1 else ():
        rest = _without(wish, dropped)
        if dropped[0] != "flavour" and any(PARTS[name] for name in wish):
            rest.setdefault("flavour", "cuda")
        if target := best_of(stack, rest):
            several = dropped[0] == "gpu" and "gpu" in rest
            label = f"without the {dropped[1]}" if several else f"another {WORDS[dropped[0]]}"
            found.setdefault(target.name, f" ({label})")
    near = _nearest(stack, failed) if not found else []
    return "take " + " or ".join([name + label for name, label in found.items()] + near)


def _without(wish: Wish, dropped: Step) -> Wish:
    """The wish without one of its parts; of several GPUs without that one."""
    left = [step for step in steps(wish) if step != dropped]
    named = ",".join(value for part, value in left if part == "gpu")
    return {**{part: value for part, value in left if part != "gpu"}, **({"gpu": named} if named else {})}


def _any(stack: Stack) -> str:
    """The best target of the stack, whatever it is for."""
    target = best_of(stack, {})
    assert target is not None  # a stack stands on something
    return target.name


def _nearest(stack: Stack, failed: Step | None) -> list[str]:
    """Targets with the versions nearest to the wish; or with similar ids; or the stack's best target."""
    fit = fitting(stack)
    part, value = failed or ("", "")
    if part in ("cuda", "cudnn"):
        versions = sorted({_of_part(row, part) for row in fit} - {""}, key=lambda version: _distance(version, value))
        return [target.name for version in versions[:2] if (target := best_of(stack, {part: version}))]
    like = nearest(value, [row.id for row in fit])
    return [f"{stack.name}:{row}" for row in like] or [_any(stack)]


def _distance(version: str, wanted: str) -> list[int]:
    """How far a version is from the wanted one, number by number: major, minor, patch."""
    numbers, aims = [*key(version), 0, 0, 0][:3], [*key(wanted), 0, 0, 0][:3]
    return [abs(number - aim) for number, aim in zip(numbers, aims, strict=True)]


def _other_gpus(stack: Stack, gpu: gpus.Gpu) -> str:
    """GPUs that the stack runs on and AWS rents, the nearest first."""
    code = {sm for row in fitting(stack) for sm in row.architectures}
    rented = {kind.gpu: kind.name for kind in reversed(gpus.aws_types().values()) if kind.listed and kind.share == 1}
    near = [other for other in gpus.gpus().values() if gpus.code_for(other, code) and other.name in rented]
    near.sort(key=lambda other: abs(key(other.sm)[0] - key(gpu.sm)[0]))
    return f"{stack.name} runs on the " + ", ".join(f"{other.name} ({rented[other.name]})" for other in near[:3])
