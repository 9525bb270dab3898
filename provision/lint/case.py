"""What a rule of `lint` gets to look at: a net with its solver, and what its databases hold."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from provision.lint.finding import Finding, Level
from provision.net import graph
from provision.net.graph import PHASES, Layer, Phase
from provision.net.schema import Schema
from provision.net.shape_kit import Shape
from provision.net.shapes import Inferred, infer
from provision.net.text import Message


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
        return Finding(level, self.file, what, mend, rule, line, why)


Rule = Callable[[Case], Iterable[Finding]]


def batch_of(layer: Layer) -> int:
    """A data layer's batch size; 0 where it names none."""
    sizes = [param.value.whole("batch_size") for param in layer.message.fields if isinstance(param.value, Message)]
    return max(sizes, default=0)


def source_of(layer: Layer) -> str:
    """The database that a layer reads; empty where it reads none."""
    return layer.param("data").text("source") if layer.type in ("Data", "AnnotatedData") else ""
