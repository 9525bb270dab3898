"""Rules for the numbers of a solver that spoil a training: learning rate, momentum, steps, regularisation."""

from collections.abc import Iterator

from provision.net.text import Message

Found = Iterator[tuple[int, str, str, str, str, str]]  # line, level, rule, what, why, mend


def findings(solver: Message) -> Found:
    yield from _rate(solver)
    kind = solver.text("regularization_type", "L2")
    if kind not in ("L1", "L2"):
        what, why = f"regularization_type is {kind!r}", f"Caffe stops: Unknown regularization type: {kind}"
        yield solver.line_of("regularization_type"), "error", "solver", what, why, 'write "L2", or "L1"'
    if solver.text("lr_policy") == "step" and solver.one("stepsize") == 0:
        why = "Caffe dies of a division by zero: Floating point exception"
        yield solver.line_of("stepsize"), "error", "policy", "stepsize is 0", why, "write stepsize: N"


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
                what = f"{name} is {value}"
                mend = f"write {name}: 0.9{'99' if name == 'momentum2' else ''}"
                yield solver.line_of(name), "error", "number", what, why, mend
