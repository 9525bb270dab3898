"""What is wrong with a net or a solver before it costs anything: a table of rules, each a plain function.

A rule looks at a `Case` and yields findings. An error is what Caffe stops for or what spoils the training without a
word; a warning is what is seldom meant. What could not be checked, and how it could be, is told as well.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from infra.errors import UsageError
from provision.net import graph, text
from provision.net.graph import PHASES, Layer, Phase
from provision.net.schema import Schema
from provision.net.shape_kit import Shape
from provision.net.shapes import Inferred, infer
from provision.net.text import Message

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where, what, why it matters, and the mend."""

    level: Level
    rule: str
    file: str
    line: int
    what: str
    why: str = ""
    mend: str = ""


@dataclass(frozen=True)
class Records:
    """What a database holds: the shape of its first record, how many there are, and the labels seen (in the records,
    or for a label picture in its pixels) in the first `looked` of them."""

    shape: Shape
    count: int
    labels: frozenset[int]
    looked: int


@dataclass(frozen=True)
class Case:
    """A net as it is checked: with its solver where that was named, a fork's schema, and what the databases hold (by
    the source that a layer names)."""

    file: str
    net: Message
    solver: Message | None = None
    solver_file: str = ""
    schema: Schema | None = None
    given: Mapping[str, Shape] = field(default_factory=dict)
    records: Mapping[str, Records] = field(default_factory=dict)
    stages: frozenset[str] = frozenset()

    def layers(self, phase: Phase) -> list[Layer]:
        return graph.layers(self.net, phase, self.stages)

    @cached_property
    def inferred(self) -> Mapping[Phase, Inferred]:
        return {phase: infer(self.layers(phase), self.known(phase)) for phase in PHASES}

    def known(self, phase: Phase) -> dict[str, Shape]:
        """Shapes of the data: out of the databases, or given; the number of pictures is the file's where it has one."""
        known: dict[str, Shape] = dict(self.given)
        for layer in self.layers(phase):
            name, batch, records = "".join(layer.tops[:1]), batch_of(layer), self.records.get(source_of(layer))
            if name in self.given and layer.source and batch:
                known[name] = (batch, *self.given[name][1:])
            elif records and name not in self.given:
                crop = layer.message.sub("transform_param").whole("crop_size")
                known[name] = (batch, records.shape[0], *((crop, crop) if crop else records.shape[1:]))
        return known

    @property
    def deploys(self) -> bool:
        """Whether the net is for use: it is filled from outside, and its outputs are meant to be large."""
        return self.solver is None and not any(
            layer.source and layer.type not in ("Input", "DummyData", "Parameter") for layer in graph.every(self.net)
        )

    @property
    def tests(self) -> bool:
        """Whether a training with it would test. Without the solver: whether it has anything for the test alone."""
        if self.solver is not None:
            return bool(self.solver.ints("test_iter") or self.solver.whole("test_interval"))
        return any(
            graph.present(layer, "TEST", self.stages) and not graph.present(layer, "TRAIN", self.stages)
            for layer in graph.every(self.net)
        )

    def finding(self, level: Level, rule: str, line: int, what: str, why: str = "", mend: str = "") -> Finding:
        return Finding(level, rule, self.file, line, what, why, mend)


Rule = Callable[[Case], Iterable[Finding]]


@dataclass(frozen=True)
class Report:
    """All findings in the order of file and line, and the checks that were left out, each with how to have it."""

    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]

    @property
    def errors(self) -> int:
        return sum(one.level == "error" for one in self.findings)


def batch_of(layer: Layer) -> int:
    """A data layer's batch size; 0 where it names none."""
    sizes = [param.value.whole("batch_size") for param in layer.message.fields if isinstance(param.value, Message)]
    return max(sizes, default=0)


def source_of(layer: Layer) -> str:
    """The database that a layer reads; empty where it reads none."""
    return layer.param("data").text("source") if layer.type in ("Data", "AnnotatedData") else ""


def lint(
    file: Path, schema: Schema | None = None, data: Path | None = None, given: Mapping[str, Shape] | None = None
) -> Report:
    """Check a net, or a solver and the nets that it names. `data` is the folder that is /data in the training."""
    from provision.net import lint_data, lint_layers, lint_net, lint_solver

    message = text.read(file)
    if not is_solver(message):
        cases = [Case(str(file), message, None, "", schema, given or {}, lint_data.records(message, data))]
        before: list[Finding] = []
    else:
        nets, before = lint_solver.nets_of(file, message)
        cases = [
            Case(str(path), net, message, str(file), schema, given or {}, lint_data.records(net, data), stages)
            for path, net, stages in nets
        ]
        before += lint_solver.findings(str(file), message, schema, [case.net for case in cases])
    found = [
        one for case in cases for rule in (*lint_net.RULES, *lint_layers.RULES, *lint_data.RULES) for one in rule(case)
    ]
    found = sorted(dict.fromkeys([*before, *found]), key=lambda one: (one.file, one.line, one.rule))
    return Report(tuple(found), tuple(_left_out(cases, schema, data)))


def is_solver(message: Message) -> bool:
    """Whether it is a solver's text, not a net's."""
    keys = {one.name for one in message.fields}
    if keys & {"layer", "layers", "input"}:
        return False
    if keys & {"net", "train_net", "base_lr", "max_iter", "net_param"}:
        return True
    raise UsageError("neither a net nor a solver: it has no layers, and no base_lr", "name a .prototxt of either")


def _left_out(cases: Iterable[Case], schema: Schema | None, data: Path | None) -> Iterator[str]:
    if schema is None:
        yield "unknown fields and types of layers (no fork's schema is here): --stack STACK --source git|debian"
    databases = any(source_of(layer) for case in cases for layer in graph.every(case.net))
    if databases and data is None:
        yield "labels against num_output, and what hangs on the databases' shapes: --data DIR"
    elif databases and not any(case.records for case in cases):
        yield f"labels against num_output: none of the databases that the net names is in {data}"
    unknown = [
        row.layer.name
        for case in cases
        for phase in PHASES
        for row in case.inferred[phase].rows
        if row.layer.source and None in row.tops[:1]
    ]
    if unknown:
        names = ", ".join(dict.fromkeys(unknown))
        yield f"shapes behind {names}: --shape BLOB:N,C,H,W" + ("" if data else " or --data DIR")
