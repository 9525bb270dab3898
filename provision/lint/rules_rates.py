"""Rules for the numbers of a solver that spoil a training: learning rate, momentum, steps, regularisation."""

from collections.abc import Iterator

from provision.net.text import Message

_WITH_GAMMA = ("step", "exp", "inv", "multistep", "sigmoid")

Found = Iterator[tuple[int, str, str, str, str, str]]  # line, level, rule, what, why, mend


def findings(solver: Message) -> Found:
    yield from _rate(solver)
    kind = solver.text("regularization_type", "L2")
    if kind not in ("L1", "L2"):
        what, level = f"regularization_type is {kind!r}", "error" if solver.one("weight_decay", 0) else "warning"
        why = f"Caffe stops: Unknown regularization type: {kind}"
        why = why if level == "error" else f"with a weight_decay {why}"
        yield solver.line_of("regularization_type"), level, "solver", what, why, 'write "L2", or "L1"'
    yield from _schedule(solver)


def _schedule(solver: Message) -> Found:
    """What the policies check when they are first asked (sgd_solver.cpp: GetLearningRate)."""
    policy, gamma, step = solver.text("lr_policy"), solver.one("gamma"), solver.one("stepsize")
    if policy in ("step", "sigmoid") and isinstance(step, int) and step < 1:
        why = "Caffe stops: Check failed: this->param_.stepsize() > 0, or dies of a division by zero"
        yield solver.line_of("stepsize"), "error", "policy", f"stepsize is {step}", why, "write stepsize: N"
    if policy in _WITH_GAMMA and isinstance(gamma, (int, float)) and not gamma >= 0:
        line, what, why = (
            solver.line_of("gamma"),
            f"gamma is {gamma}",
            "Caffe stops: Check failed: this->param_.gamma() >= 0",
        )
        if policy == "sigmoid":  # Caffe of 2017 and earlier took it, and the rate fell
            yield (
                line,
                "warning",
                "policy",
                what,
                f"{why}, which earlier ones do not check",
                'take another lr_policy: "poly"',
            )
        else:
            yield line, "error", "policy", what, why, "write gamma: 0.1"


def _rate(solver: Message) -> Found:
    for value in (one for one in solver.all("base_lr")[-1:] if isinstance(one, (int, float))):
        line = solver.line_of("base_lr")
        if value < 0:
            yield line, "error", "number", f"base_lr is {value}", "the loss would be made larger", "write base_lr: 0.01"
        elif not value:
            yield line, "warning", "number", "base_lr is 0", "Caffe runs, and learns nothing", "write base_lr: 0.01"
    for name in ("momentum", "momentum2"):
        for value in (one for one in solver.all(name)[-1:] if isinstance(one, (int, float))):
            if not 0 <= value < 1:
                grows = name == "momentum" and value >= 1
                why = "the steps grow without end, until the loss is nan" if grows else "from 0 to below 1 is meant"
                what, level = f"{name} is {value}", "warning" if value < 0 else "error"
                mend = f"write {name}: 0.9{'99' if name == 'momentum2' else ''}"
                yield solver.line_of(name), level, "number", what, why, mend
