"""Rules for solvers: its type and what that takes, what a policy needs, what is tested and saved how often."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from infra.border import did_you_mean
from provision.lint import rules_rates, rules_values
from provision.lint.case import Case
from provision.lint.finding import Finding
from provision.lint.states import bases, there
from provision.net.schema import Schema
from provision.net.text import Field, Message, Value, Word

# what the learning rate's policies need (solvers/sgd_solver.cpp: GetLearningRate)
_POLICIES: dict[str, tuple[str, ...]] = {
    "fixed": (), "step": ("gamma", "stepsize"), "exp": ("gamma",), "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"), "poly": ("power",), "sigmoid": ("gamma", "stepsize"),
    "plateau": ("gamma", "plateau_winsize"),
}  # fmt: skip
_OF_FORKS = {"multifixed": "Intel's Caffe and MobileNet-YOLO"}
_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")  # REGISTER_SOLVER_CLASS
_OLD_TYPES = tuple(name.upper() for name in _TYPES)  # the enum of solver_type
_NO_MOMENTUM = ("AdaGrad", "RMSProp")  # sgd_solvers.hpp: constructor_sanity_check
_IN_CONTAINER = ("/work", "/data", "/weights", "/project")

# the least number of a field, and what less does
_BELOW: dict[str, tuple[int, str, str]] = {
    "max_iter": (0, "error", "at least 0 is meant: Caffe trains 0 iterations"),
    "iter_size": (1, "error", "at least 1 is meant: no picture is seen, and nothing is learned"),
    "display": (0, "warning", "at least 0 is meant"),
    "average_loss": (1, "error", "Caffe stops: average_loss should be non-negative"),
    "test_interval": (0, "error", "Caffe stops: Check failed: param_.test_interval() > 0"),
}

Found = Iterator[tuple[int, str, str, str, str, str]]


def findings(file: str, solver: Message, schema: Schema | None, cases: Sequence[Case]) -> list[Finding]:
    """What is wrong with the solver itself; what no Caffe can read in it is told by the schema, or without one."""
    found = [
        *_numbers(solver), *rules_rates.findings(solver), *_length(solver, cases), *_type(solver), *_policy(solver),
        *_steps(solver), *_testing(solver, cases), *_saving(solver), *_folder(solver, file), *_texts(solver),
        *_faults(solver, schema),
    ]  # fmt: skip
    plain = Message(tuple(_emptied(field) for field in solver.fields), solver.line)
    unread = [] if schema else [*rules_values.findings(file, plain)]
    made = [Finding(level, file, what, mend, rule, line, why, what) for line, level, rule, what, why, mend in found]  # type: ignore[arg-type]
    return unread + made


def _emptied(field: Field) -> Field:
    """The field without what a message of it holds: nets are looked at by themselves."""
    return replace(field, value=Message((), field.line)) if isinstance(field.value, Message) else field


def _faults(solver: Message, schema: Schema | None) -> Found:
    for fault in schema.faults(solver, "SolverParameter") if schema else ():
        if fault.path.startswith(("net_param.", "train_net_param.", "test_net_param.")):
            continue  # told of the net itself
        mend = f"did you mean {' or '.join(fault.near)}?" if fault.near else ""
        why = f"{schema.stack} refuses the whole file" if schema else ""
        yield fault.line, "error", "field", fault.what, why, mend


def _numbers(solver: Message) -> Found:
    for name, (least, _, _) in _BELOW.items():
        for value in solver.ints(name):
            if value < least:
                line, what, level = solver.line_of(name), f"{name} is {value}", _BELOW[name][1]
                yield line, level, "number", what, _BELOW[name][2], "write a whole number"
    if not solver.all("base_lr") and solver.text("lr_policy") not in _OF_FORKS:
        yield 1, "error", "number", "base_lr is not given", "the learning rate would be 0", "write base_lr: 0.01"


def _length(solver: Message, cases: Sequence[Case]) -> Found:
    """Without max_iter only a Python program trains, which steps the solver itself; its nets have Python layers."""
    if solver.all("max_iter"):
        if solver.one("max_iter") == 0:
            what, why = "max_iter is 0", "Caffe trains nothing; it tests once where a test_iter is given"
            yield solver.line_of("max_iter"), "warning", "number", what, why, "write max_iter: N to train"
        return
    python = not cases or any(layer.type == "Python" for case in cases for layer in case.every)
    why = "`caffe train` would train 0 iterations; a Python program may say how many"
    yield 1, "warning" if python else "error", "number", "max_iter is not given", why, "write max_iter: N"


def _type(solver: Message) -> Found:
    """The solver's type as it is registered, and what it refuses."""
    kind, line = solver.text("type", "SGD"), solver.line_of("type")
    alike = next((name for name in _TYPES if name.lower() == kind.lower()), None)
    old = solver.all("solver_type")
    if kind not in _TYPES:
        mend = f'write type: "{alike}"' if alike else did_you_mean(kind, _TYPES)
        yield (
            line,
            "error",
            "solver",
            f"the solver's type is {kind!r}",
            f"Caffe stops: Unknown solver type: {kind}",
            mend,
        )
    if old and solver.all("type"):
        why = "Caffe stops: old solver_type field (enum) and new type field (string) cannot be both specified"
        line = solver.line_of("solver_type")
        yield line, "error", "solver", "solver_type and type are both given", why, "leave solver_type out"
    elif old:
        line, at = solver.line_of("solver_type"), _old(old[-1])
        if at is None:
            mend = did_you_mean(str(old[-1]), _OLD_TYPES)
            yield line, "error", "solver", f"solver_type is {old[-1]!r}", "Caffe refuses the whole file", mend
        alike = None if at is None else _TYPES[at]
    momentum = [value for value in solver.all("momentum") if isinstance(value, (int, float))]
    if alike in _NO_MOMENTUM and any(momentum):
        what, why = f"{alike} with momentum {momentum[-1]}", f"Caffe stops: Momentum cannot be used with {alike}"
        yield solver.line_of("momentum"), "error", "solver", what, why, "leave momentum out"
    decay = [value for value in solver.all("rms_decay") if isinstance(value, (int, float))]
    if alike == "RMSProp" and decay and not 0 <= decay[-1] < 1:
        what = f"rms_decay is {decay[-1]}"
        yield solver.line_of("rms_decay"), "error", "solver", what, "Caffe stops", "write a number from 0 to below 1"


def _old(value: Value) -> int | None:
    """The place of an enum's word, or of its number, in the types."""
    if isinstance(value, int):
        return value if value in range(len(_OLD_TYPES)) else None
    return _OLD_TYPES.index(value) if isinstance(value, Word) and value in _OLD_TYPES else None


def _policy(solver: Message) -> Found:
    policy, line = solver.text("lr_policy"), solver.line_of("lr_policy")
    why = "Unknown learning rate policy"
    if not policy:
        yield 1, "error", "policy", "lr_policy is not given", f"Caffe stops: {why}", 'write "fixed"'
    elif policy in _OF_FORKS:
        what = f"lr_policy {policy!r} is of {_OF_FORKS[policy]} alone"
        yield line, "warning", "policy", what, f"other Caffes stop: {why}", "use a policy that your Caffe has"
    elif policy not in _POLICIES:
        yield line, "error", "policy", f"lr_policy {policy!r}", f"Caffe stops: {why}", did_you_mean(policy, _POLICIES)
    for name in _POLICIES.get(policy, ()):
        if not solver.all(name):
            what, why = f'lr_policy "{policy}" needs {name}', "Caffe takes 0 for what is not given"
            why = "Caffe stops: Check failed: this->param_.stepsize() > 0" if name == "stepsize" else why
            yield line, "error", "policy", what, why, f"write {name}"


def _steps(solver: Message) -> Found:
    steps, line = solver.ints("stepvalue"), solver.line_of("stepvalue")
    late = [step for step in steps if step >= solver.whole("max_iter") > 0]
    if any(after < before for before, after in pairwise(steps)):
        yield line, "error", "policy", "stepvalues do not rise", "steps are left out", "sort them"
    elif late:
        what = f"stepvalue {late[0]} is not before max_iter {solver.whole('max_iter')}"
        why = "that step never comes: was max_iter made smaller, and the schedule not?"
        yield line, "warning", "policy", what, why, "scale stepvalue and max_iter alike"


def _testing(solver: Message, cases: Sequence[Case]) -> Found:
    """test_iter, test_interval and test_state against the test nets (solver.cpp: InitTestNets)."""
    rounds, every = solver.ints("test_iter"), solver.whole("test_interval")
    own = len(solver.all("test_net")) + len(solver.all("test_net_param"))
    generic = bool(solver.all("net") or solver.all("net_param"))
    line, states = solver.line_of("test_iter"), len(solver.all("test_state"))
    if own and (len(rounds) < own if generic else len(rounds) != own):
        what = f"{len(rounds)} test_iter for {own} test nets"
        why = "Caffe stops: test_iter must be specified for each test network"
        yield line, "error", "test", what, why, "write one for each, in order"
    elif rounds and not own and not generic:
        what, why = "test_iter without a test_net", "Caffe stops: test_iter must be specified for each test network"
        yield line, "error", "test", what, why, "write test_net, or leave test_iter out"
    elif every and not rounds and generic:
        what, why = "test_interval without test_iter", "the solver has no test net, and never tests"
        yield solver.line_of("test_interval"), "warning", "test", what, why, "write test_iter: N"
    if rounds and not every:
        what, why = "test_iter without test_interval", "Caffe stops where the solver has a test net and no interval"
        yield line, "error", "test", what, why, "write test_interval: N"
    if states and rounds and states != len(rounds):
        what = f"{states} test_state for {len(rounds)} test_iter"
        why = "Caffe stops: test_state must be unspecified or specified once per test net"
        yield solver.line_of("test_state"), "error", "test", what, why, "write one for each, in order"
    scores = any(layer.type == "Accuracy" for case in cases for layer in case.every)
    if not rounds and not every and not own and scores and solver.all("max_iter"):
        what, why = "the net has an accuracy, and the solver never tests", "nobody would see how good the net is"
        yield 1, "warning", "test", what, why, "write test_iter and test_interval"


def _saving(solver: Message) -> Found:
    every, line = solver.whole("snapshot"), solver.line_of("snapshot")
    why = "a spot machine may go at any time"
    if not every and solver.all("max_iter"):  # else a Python program steps it, and saves by itself
        yield line, "warning", "snapshot", "no snapshot is made before the end", why, "write snapshot: N"
    if every > solver.whole("max_iter") > 0:
        what = f"snapshot {every} is more than max_iter {solver.whole('max_iter')}: none is made before the end"
        yield line, "warning", "snapshot", what, why, "write a smaller snapshot"


def _folder(solver: Message, file: str) -> Found:
    prefix = solver.text("snapshot_prefix")
    folder = Path(prefix).parent
    absent = not any(there(base / folder, "folder") for base in bases(Path(file)))
    if prefix and "${" not in prefix and not prefix.startswith(_IN_CONTAINER) and absent:
        what = f"the folder {folder} of snapshot_prefix is not there"
        why = "Caffe stops at the start, or at the first snapshot: Cannot write to snapshot prefix"
        mend = f"mkdir -p {folder} (the recipe caffe-classify puts snapshots elsewhere by itself)"
        yield solver.line_of("snapshot_prefix"), "warning", "snapshot", what, why, mend


def _texts(solver: Message) -> Found:
    for field in solver.fields:
        if isinstance(field.value, str) and ("${" in field.value or "{{" in field.value):
            what = f"{field.name}: {field.value} is left unresolved"
            made = field.name == "snapshot_prefix"
            why = f"Caffe would {'write files' if made else 'look for a file'} of that very name"
            yield field.line, "error", "placeholder", what, why, "write the value"
