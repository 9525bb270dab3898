"""Rules for solvers: the nets that they name, what a policy needs, what is tested and saved how often."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.border import did_you_mean
from provision.lint.finding import Finding
from provision.net import graph, text
from provision.net.schema import Schema
from provision.net.text import Message

# what the learning rate's policies need (solvers/sgd_solver.cpp: GetLearningRate)
_POLICIES: dict[str, tuple[str, ...]] = {
    "fixed": (), "step": ("gamma", "stepsize"), "exp": ("gamma",), "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"), "poly": ("power",), "sigmoid": ("gamma", "stepsize"),
    "plateau": ("gamma", "plateau_winsize"),
}  # fmt: skip
_IN_CONTAINER = ("/work", "/data", "/weights", "/project")

Named = tuple[Path, Message, frozenset[str]]


def nets_of(file: Path, solver: Message) -> tuple[list[Named], list[Finding]]:
    """The nets that a solver names, as far as they are there, with their stages; and what is wrong with that."""
    found: list[Named] = []
    wrong: list[Finding] = []
    names = [
        (field.line, str(field.value)) for field in solver.fields if field.name in ("net", "train_net", "test_net")
    ]
    stages = frozenset(solver.sub("train_state").texts("stage") + solver.sub("test_state").texts("stage"))
    for line, name in dict.fromkeys(names):
        if (path := _place(file, name)) is not None:
            found.append((path, text.read(path), stages))
        else:
            mend = "write the path from the folder in which Caffe starts, or from the solver's folder"
            wrong.append(
                Finding("error", str(file), f"the net {name} is not there", mend, "net", line, "File not found")
            )
    found += [(file, net, stages) for net in solver.messages("net_param") + solver.messages("train_net_param")]
    if not names and not found:
        wrong.append(Finding("error", str(file), "the solver names no net", 'write net: "…"', "net", 1, "Caffe stops"))
    return found, wrong


def _place(file: Path, name: str) -> Path | None:
    """Caffe takes the name from its own folder; most solvers are started from theirs or from a folder above."""
    return next((base / name for base in _bases(file) if (base / name).is_file()), None)


def _bases(file: Path) -> list[Path]:
    return [Path(), file.parent, *file.parent.parents]


def findings(file: str, solver: Message, schema: Schema | None, nets: Sequence[Message]) -> list[Finding]:
    found = [*_numbers(solver), *_policy(solver), *_testing(solver, nets), *_saving(solver, file), *_texts(solver)]
    if schema is not None:
        for fault in schema.faults(solver, "SolverParameter"):
            mend = f"did you mean {' or '.join(fault.near)}?" if fault.near else ""
            found.append((fault.line, "error", "field", fault.what, f"{schema.stack} refuses the whole file", mend))
    return [Finding(level, file, what, mend, rule, line, why) for line, level, rule, what, why, mend in found]  # type: ignore[arg-type]


Found = Iterator[tuple[int, str, str, str, str, str]]


def _numbers(solver: Message) -> Found:
    for name, least in (("max_iter", 1), ("iter_size", 1), ("display", 0), ("average_loss", 1)):
        for value in solver.all(name):
            if not isinstance(value, int) or value < least:
                line = solver.line_of(name)
                yield (
                    line,
                    "error",
                    "number",
                    f"{name} is {value}",
                    f"at least {least} is meant",
                    "write a whole number",
                )
    if not solver.all("max_iter"):
        yield 1, "error", "number", "max_iter is not given", "Caffe would train 0 iterations", "write max_iter: N"
    if not solver.all("base_lr"):
        yield 1, "error", "number", "base_lr is not given", "the learning rate would be 0", "write base_lr: 0.01"
    steps = solver.ints("stepvalue")
    late = [step for step in steps if step >= solver.whole("max_iter") > 0]
    if steps != sorted(steps):
        yield (
            solver.line_of("stepvalue"),
            "error",
            "policy",
            "stepvalues do not rise",
            "steps are left out",
            "sort them",
        )
    elif late:
        what = f"stepvalue {late[0]} is not before max_iter {solver.whole('max_iter')}"
        why = "that step never comes: was max_iter made smaller, and the schedule not?"
        yield solver.line_of("stepvalue"), "warning", "policy", what, why, "scale stepvalue and max_iter alike"


def _policy(solver: Message) -> Found:
    policy = solver.text("lr_policy")
    line = solver.line_of("lr_policy")
    if not policy:
        yield (
            1,
            "error",
            "policy",
            "lr_policy is not given",
            "Caffe stops: Unknown learning rate policy",
            'write "fixed"',
        )
    elif policy not in _POLICIES:
        mend = did_you_mean(policy, _POLICIES)
        yield line, "error", "policy", f"lr_policy {policy!r}", "Caffe stops: Unknown learning rate policy", mend
    for name in _POLICIES.get(policy, ()):
        if not solver.all(name):
            what = f'lr_policy "{policy}" needs {name}'
            yield line, "error", "policy", what, "Caffe takes 0 for what is not given", f"write {name}"


def _testing(solver: Message, nets: Sequence[Message]) -> Found:
    rounds, every = solver.ints("test_iter"), solver.whole("test_interval")
    tested = len(solver.all("test_net")) or (1 if rounds else 0)
    if every and not rounds:
        what, why = "test_interval without test_iter", "Caffe stops: test_iter must be given for each test net"
        yield solver.line_of("test_interval"), "error", "test", what, why, "write test_iter: N"
    if rounds and not every:
        what, why = "test_iter without test_interval", "Caffe stops where the solver has a test net and no interval"
        yield solver.line_of("test_iter"), "error", "test", what, why, "write test_interval: N"
    if rounds and solver.all("test_net") and len(rounds) != tested:
        what = f"{len(rounds)} test_iter for {tested} test nets"
        yield solver.line_of("test_iter"), "error", "test", what, "Caffe stops", "write one for each, in order"
    has_accuracy = any(layer.type == "Accuracy" for net in nets for layer in graph.every(net))
    if nets and not rounds and has_accuracy:
        what, why = "the net has an accuracy, and the solver never tests", "nobody would see how good the net is"
        yield 1, "warning", "test", what, why, "write test_iter and test_interval"


def _saving(solver: Message, file: str) -> Found:
    prefix, every = solver.text("snapshot_prefix"), solver.whole("snapshot")
    line = solver.line_of("snapshot_prefix")
    if not every:
        what = "no snapshot is made before the end"
        yield (
            solver.line_of("snapshot"),
            "warning",
            "snapshot",
            what,
            "a spot machine may go at any time",
            "snapshot: N",
        )
    if every > solver.whole("max_iter") > 0:
        what = f"snapshot {every} is more than max_iter {solver.whole('max_iter')}"
        yield (
            solver.line_of("snapshot"),
            "warning",
            "snapshot",
            what,
            "no snapshot is made before the end",
            "write a smaller snapshot",
        )
    folder, bases = Path(prefix).parent, _bases(Path(file))
    if prefix and not prefix.startswith(_IN_CONTAINER) and not any((base / folder).is_dir() for base in bases):
        why = "Caffe stops at the start, or at the first snapshot: Cannot write to snapshot prefix"
        mend = f"mkdir -p {folder} (the recipe caffe-classify puts snapshots elsewhere by itself)"
        yield line, "warning", "snapshot", f"the folder {folder} of snapshot_prefix is not there", why, mend


def _texts(solver: Message) -> Found:
    for field in solver.fields:
        if isinstance(field.value, str) and ("${" in field.value or "{{" in field.value):
            what = f"{field.name}: {field.value} is left unresolved"
            yield (
                field.line,
                "error",
                "placeholder",
                what,
                "Caffe would look for a file of that very name",
                "write the value",
            )
