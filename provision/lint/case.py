"""What a rule of `lint` gets to look at: a file's net, and the ways in which Caffe builds it."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from provision.lint.finding import Finding, Level
from provision.net import graph
from provision.net.graph import Layer, Phase
from provision.net.schema import Schema
from provision.net.shape_kit import Shape
from provision.net.shapes import Inferred, infer
from provision.net.text import Message

FILLED = frozenset(("Input", "DummyData", "Parameter", "MemoryData"))  # no picture of a data set comes out of these
_LOSS = re.compile("Loss")


@dataclass(frozen=True)
class Records:
    """What a database holds: the shape of its first record, how many there are, and the labels seen (in the records,
    in SSD's boxes, or for a label picture in its pixels) in the first `looked` of them."""

    shape: Shape
    count: int
    labels: frozenset[int]
    looked: int


@dataclass(frozen=True)
class State:
    """In which Caffe builds a net (NetState), and how many batches the solver then tests with it (0: not told)."""

    phase: Phase
    stages: frozenset[str] = frozenset()
    level: int = 0
    rounds: int = 0

    def __str__(self) -> str:
        stages = f", stage {' and '.join(sorted(self.stages))}" if self.stages else ""
        return self.phase + stages + (f", level {self.level}" if self.level else "")


@dataclass(frozen=True)
class Case:
    """A file's net as it is checked: the states in which it is built, with its solver where that was named, a fork's
    schema, and what the databases hold (by the source that a layer names). `stack` is the fork that reads it; empty
    where the net has words of a fork that no stack has. `stages` are of those who look at one phase alone."""

    file: str
    net: Message
    solver: Message | None = None
    schema: Schema | None = None
    given: Mapping[str, Shape] = field(default_factory=dict)
    records: Mapping[str, Records] = field(default_factory=dict)
    states: tuple[State, ...] = ()
    stack: str = ""
    stages: frozenset[str] = frozenset()

    @cached_property
    def every(self) -> tuple[Layer, ...]:
        """All layers of the file, whatever their phase."""
        return tuple(graph.every(self.net))

    @cached_property
    def built(self) -> "tuple[Built, ...]":
        return tuple(Built(self, state) for state in self.states)

    @cached_property
    def makers(self) -> Mapping[str, Layer]:
        """The first layer of the file that makes each blob, in whatever state."""
        found: dict[str, Layer] = {}
        for layer in self.every:
            for name in layer.tops:
                found.setdefault(name, layer)
        return found

    def layers(self, phase: Phase) -> list[Layer]:
        return graph.layers(self.net, phase, self.stages)

    def known(self, phase: Phase) -> dict[str, Shape]:
        return known(self.layers(phase), self.given, self.records)

    @property
    def speaks_bvlc(self) -> bool:
        """Whether a stack reads it whose shapes are known here: errors of shapes are such of its Caffe."""
        return bool(self.stack or self.schema)

    def finding(
        self, level: Level, rule: str, line: int, what: str, why: str = "", mend: str = "", fold: str = ""
    ) -> Finding:
        return Finding(level, self.file, what, mend, rule, line, why, fold or why or mend)


@dataclass(frozen=True)
class Built:
    """A net as Caffe builds it: the layers of its file that the state has, with their shapes."""

    case: Case
    state: State

    @property
    def phase(self) -> Phase:
        return self.state.phase

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(graph.layers(self.case.net, self.phase, self.state.stages, self.state.level))

    @cached_property
    def inferred(self) -> Inferred:
        return infer(self.layers, known(self.layers, self.case.given, self.case.records))

    @cached_property
    def sources(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.source)

    @cached_property
    def unmade(self) -> frozenset[str]:
        """Bottoms that nothing makes before they are read."""
        made: set[str] = set()
        missing: set[str] = set()
        for layer in self.layers:
            missing.update(name for name in layer.bottoms if name not in made)
            made.update(layer.tops)
        return frozenset(missing)

    @cached_property
    def deploys(self) -> bool:
        """Whether it is for use: nothing is learned or scored in it, and its outputs are meant to be large."""
        if self.case.solver is not None or any(is_loss(layer) for layer in self.layers):
            return False
        data = [layer for layer in self.sources if layer.type not in FILLED]
        return not data or not (self.phase == "TRAIN" or any(is_score(layer) for layer in self.layers))

    @property
    def trains(self) -> bool:
        return self.phase == "TRAIN" and not self.deploys

    @property
    def tests(self) -> bool:
        return self.phase == "TEST" and not self.deploys

    @property
    def never_runs(self) -> bool:
        """Whether the solver only makes this test net, for somebody else to run."""
        solver = self.case.solver
        if solver is None or not self.tests or solver.flag("test_initialization", True):
            return False
        every, last = solver.whole("test_interval"), solver.whole("max_iter")
        return every > last or not every


Rule = Callable[[Case], Iterable[Finding]]
BuiltRule = Callable[[Built], Iterable[Finding]]
_SCORE = re.compile(r"Accuracy$|Evaluate$|^Eval")


def is_loss(layer: Layer) -> bool:
    """Whether the layer adds to what is made smaller: by its loss_weight, else by its type."""
    weights = [str(value) for value in layer.message.all("loss_weight")]
    if weights:
        return any(weight.strip("0.-") for weight in weights)
    return bool(_LOSS.search(layer.type))


def is_score(layer: Layer) -> bool:
    """Whether the layer says how good the net is, and makes few numbers."""
    return bool(_SCORE.search(layer.type))


def known(layers: Iterable[Layer], given: Mapping[str, Shape], records: Mapping[str, Records]) -> dict[str, Shape]:
    """Shapes of the data: out of the databases, or given; the number of pictures is the file's where it has one."""
    found: dict[str, Shape] = dict(given)
    for layer in layers:
        name, batch, held = "".join(layer.tops[:1]), batch_of(layer), records.get(source_of(layer))
        if name in given and layer.source and batch:
            found[name] = (batch, *given[name][1:])
        elif held and name not in given:
            crop = layer.message.sub("transform_param").whole("crop_size")
            found[name] = (batch, held.shape[0], *((crop, crop) if crop else held.shape[1:]))
    return found


def batch_of(layer: Layer) -> int:
    """A data layer's batch size; 0 where it names none."""
    sizes = [param.value.whole("batch_size") for param in layer.message.fields if isinstance(param.value, Message)]
    return max(sizes, default=0)


def source_of(layer: Layer) -> str:
    """The database that a layer reads; empty where it reads none."""
    return layer.param("data").text("source") if layer.type in ("Data", "AnnotatedData") else ""
