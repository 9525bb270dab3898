"""The states in which a net is built (solver.cpp: InitTrainNet, InitTestNets): phase, stages and level.

A solver tells them: its train_net, or its net, in TRAIN with its train_state; each test_net_param and test_net, and its
net for each test_iter that is left, in TEST with its test_state. A net without a solver is built as its own rules of
`include` and `exclude` let one guess: a file of data for one phase alone is for that phase, a deploy file for TEST, and
a file whose rules name stages (as those of DIGITS do) once for each of these.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.errors import UsageError
from provision.lint.case import FILLED, Built, Case, State, is_loss
from provision.lint.finding import Finding
from provision.net import graph, text
from provision.net.graph import PHASES, Layer, Phase
from provision.net.text import Message

_MOST = 16  # states in which one net is checked
_INLINE = ("net_param", "train_net_param", "test_net_param")


@dataclass(frozen=True)
class Named:
    """A net that a solver names: where it stands, its text, and the states in which the solver builds it."""

    file: str
    net: Message
    states: tuple[State, ...]


def of_solver(file: Path, solver: Message) -> tuple[list[Named], list[Finding]]:
    """The nets of a solver, as far as they are there; and what is wrong with their names."""
    found: dict[str, Named] = {}
    wrong: list[Finding] = []
    for field, state in _named(solver):
        inline = isinstance(field.value, Message)
        if isinstance(field.value, Message):
            key, where, net = f"{file}#{field.line}.{field.column}", str(file), field.value
        else:
            name = str(field.value)
            path = _place(file, name) or _moved(file, name)
            if path is not None and _place(file, name) is None:
                what, why = f"the net {name} is not there", "File not found, unless Caffe starts elsewhere"
                mend = f"checked in its place: {path}"
                wrong.append(Finding("warning", str(file), what, mend, "net", field.line, why, what))
            if path is None:
                mend = "write the path from the folder in which Caffe starts, or from the solver's folder"
                if not name.isprintable():
                    name, mend = repr(name), "write / for each \\ of the path: \\n and \\t are a line's end and a tab"
                what = f"the net {name} is not there"
                wrong.append(Finding("error", str(file), what, mend, "net", field.line, "File not found", what))
                continue
            key = where = str(path)
            net = found[key].net if key in found else text.read(path)
        before = found[key].states if key in found else ()
        state = _merged(net.sub("state"), state)
        more = () if state in before or len(before) >= _MOST else (state,)
        found[key] = Named(where, net, (*before, *more))
        if not inline and not graph.every(net) and not before:
            what, why = f"{where} has no layers", "Caffe would train an empty net"
            wrong.append(Finding("error", str(file), what, "name a net", "net", field.line, why))
    return list(found.values()), [*dict.fromkeys(wrong), *_trained(file, solver)]


def _trained(file: Path, solver: Message) -> Iterator[Finding]:
    """Caffe wants exactly one net to train."""
    names = [field for field in solver.fields if field.name in ("net", "train_net", "net_param", "train_net_param")]
    if not names:
        what = "the solver names no net to train"
        yield Finding("error", str(file), what, 'write net: "…"', "net", 1, "Caffe stops: must specify a train net")
    elif len(kinds := dict.fromkeys(field.name for field in names)) > 1:
        what = f"{' and '.join(kinds)} both name a net to train"
        yield Finding("error", str(file), what, "keep one of them", "net", names[-1].line, "Caffe stops")


def _named(solver: Message) -> Iterator[tuple[text.Field, State]]:
    """Each field that names a net, with the state in which Caffe builds that; in Caffe's order."""
    by_name = {
        name: [field for field in solver.fields if field.name == name] for name in ("net", "train_net", *_INLINE)
    }
    generic = [*by_name["net_param"], *by_name["net"]]
    for field in (*by_name["train_net_param"], *by_name["train_net"], *generic):
        yield field, _state("TRAIN", solver.sub("train_state"), 0)
    tests = [*by_name["test_net_param"], *(field for field in solver.fields if field.name == "test_net")]
    rounds, given = solver.ints("test_iter"), solver.messages("test_state")
    left = max(len(rounds) - len(tests), 1 if not rounds and solver.whole("test_interval") and not tests else 0)
    for at, field in enumerate((*tests, *(generic[-1:] * min(left, max(len(rounds), 1))))):
        state = given[at] if at < len(given) else Message()
        yield field, _state("TEST", state, rounds[at] if at < len(rounds) else 0)


def _state(phase: Phase, given: Message, rounds: int) -> State:
    return _merged(given, State(phase, rounds=rounds))


def _merged(given: Message, state: State) -> State:
    """The state with what a message of NetState adds to it."""
    named: dict[str, Phase] = {"TRAIN": "TRAIN", "0": "TRAIN", "TEST": "TEST", "1": "TEST"}
    phase = named.get(str(given.one("phase", "")), state.phase)
    return State(phase, state.stages | set(given.texts("stage")), given.whole("level", state.level), state.rounds)


def _place(file: Path, name: str) -> Path | None:
    """Caffe takes the name from its own folder; most solvers are started from theirs or from a folder above."""
    return next((base / name for base in bases(file) if there(base / name)), None)


def _moved(file: Path, name: str) -> Path | None:
    """A net whose path is of another machine or folder: as much of the path's end as is found from here."""
    parts = Path(name.replace("\\", "/")).parts
    ends = [Path(*parts[at:]) for at in range(1, len(parts))]
    return next((base / end for end in ends for base in bases(file)[1:3] if there(base / end)), None)


def there(path: Path, kind: Literal["file", "folder"] = "file") -> bool:
    """Whether there is such a file or folder; a name that no file can have is none."""
    try:
        return path.is_file() if kind == "file" else path.is_dir()
    except (OSError, ValueError):
        return False


def bases(file: Path) -> list[Path]:
    return [Path(), file.parent, *file.parent.parents]


def of_net(net: Message) -> tuple[State, ...]:
    """The states in which a net is meant, by its own text; a net that learns nothing is one for use."""
    own = net.sub("state")
    case = Case("", net, states=tuple(_merged(own, state) for state in _meant(graph.every(net))))
    alike = {(built.phase, tuple(layer.line for layer in built.layers)): built for built in reversed(case.built)}
    builds = [built for built in reversed(alike.values()) if built.layers]
    meant = [built for built in builds if _works(built)]
    meant = [built for built in meant if built.sources] or meant
    trained = {layer.line for built in meant if built.phase == "TRAIN" for layer in built.layers}
    found = [built for built in meant if built.phase == "TRAIN" or not trained.issuperset(_lines(built))]
    if not found:  # for use: as it is tested, in the stage that has most of it
        tests = [built for built in builds if built.phase == "TEST"] or builds
        found = [max(tests, key=lambda built: len(built.layers))] if tests else []
    return tuple(built.state for built in found) or (State("TEST"),)


def _works(built: Built) -> bool:
    """Whether it has a loss, or data to test with or for the training alone; or is filled from outside in a stage of
    its own."""
    data = [layer for layer in built.sources if layer.type not in FILLED]
    if built.phase == "TRAIN" and not built.state.stages:
        data = [layer for layer in data if not graph.present(layer, "TEST")]
    return bool(data) or any(is_loss(layer) for layer in built.layers) or bool(built.state.stages and built.sources)


def _lines(built: Built) -> list[int]:
    return [layer.line for layer in built.layers]


def _meant(layers: Iterable[Layer]) -> list[State]:
    """Both phases, and for each stage that a rule names the phase that it names with it, or that the stage's name
    tells."""
    stages: dict[str, set[Phase]] = {}
    for layer in layers:
        for rule in (*layer.message.messages("include"), *layer.message.messages("exclude")):
            for stage in (*rule.texts("stage"), *rule.texts("not_stage")):
                told = [phase for phase in PHASES if rule.text("phase") == phase]
                stages.setdefault(stage, set()).update(told)
    found = [State(phase) for phase in PHASES]
    for stage, phases in list(stages.items())[:_MOST]:
        by_name: Phase = "TRAIN" if "train" in stage.lower() else "TEST"
        found += [State(phase, frozenset((stage,))) for phase in PHASES if phase in (phases or {by_name})]
    return found


def is_solver(message: Message) -> bool:
    """Whether the text is a solver's, not a net's. UsageError where it is neither."""
    keys = {field.name for field in message.fields}
    if keys & {"layer", "layers", "input"}:
        return False
    if keys & {"net", "train_net", "base_lr", "max_iter", "net_param", "train_net_param"}:
        return True
    raise UsageError("neither a net nor a solver: it has no layers, and no base_lr", "name a .prototxt of either")
