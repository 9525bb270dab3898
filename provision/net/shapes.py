"""Shapes, parameters and multiply-adds of a net without running it.

Each layer's type has a rule in `shape_rules.RULES`, a function of the layer and the shapes that come in. What cannot be
known without the data (the channels of a database, a Python layer's tops) is None until it is given by name; what
depends on it is None as well. `tests/engine/test_net_shapes.py` holds the rules against Caffe.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provision.net.graph import Layer
from provision.net.shape_counts import counted
from provision.net.shape_kit import Made, Odd, Shape
from provision.net.shape_rules import LEARNING, PART_RULES, RULES, python

_MOST = 2**31 - 1  # an int of C++


@dataclass(frozen=True)
class Row:
    """What is known of one layer. `tops` in order, None where unknown; `params` are its blobs' shapes (None: unknown),
    `counted` the numbers in those that no earlier layer shares, `kept` those of them that are not learned; `macs`
    multiply-adds of one forward pass. `odd` says why Caffe would stop, `note` where a shape comes from."""

    layer: Layer
    tops: tuple[Shape | None, ...]
    params: tuple[Shape, ...] | None
    counted: int | None
    macs: int | None
    odd: str = ""
    kept: int = 0
    note: str = ""

    @property
    def learned(self) -> int | None:
        return None if self.counted is None else self.counted - self.kept


@dataclass(frozen=True)
class Inferred:
    """The layers' rows and the blobs' shapes after the last of them. Sums are of what is known: `params_known` and
    `macs_known` say whether that is all."""

    rows: tuple[Row, ...]
    blobs: Mapping[str, Shape | None]

    @property
    def params(self) -> int:
        """The numbers in all blobs, learned and kept."""
        return sum(row.counted or 0 for row in self.rows)

    @property
    def kept(self) -> int:
        return sum(row.kept for row in self.rows)

    @property
    def learned(self) -> int:
        return self.params - self.kept

    @property
    def macs(self) -> int:
        return sum(row.macs or 0 for row in self.rows)

    @property
    def params_known(self) -> bool:
        return all(row.counted is not None for row in self.rows)

    @property
    def macs_known(self) -> bool:
        return all(row.macs is not None for row in self.rows)

    @property
    def whole(self) -> bool:
        """Whether nothing is unknown."""
        return all(row.params is not None and None not in row.tops for row in self.rows)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The blobs from which everything unknown follows, in order: what `--shape` is to tell. A layer whose shapes
        do not fit is none of them, and what nothing makes is one."""
        made = {name for row in self.rows for name in row.layer.tops}
        shapes = {name: shape for name, shape in self.blobs.items() if name not in made}
        found: dict[str, None] = {}
        for row in self.rows:
            found.update((name, None) for name in row.layer.bottoms if name not in shapes)
            waits = None in [shapes.get(name) for name in row.layer.bottoms]
            waits = waits and (row.layer.type in RULES or row.layer.in_place or python(row.layer) is not None)
            tops = dict(zip(row.layer.tops, row.tops, strict=True))
            if not row.odd and not row.note and not waits:
                found.update((name, None) for name, shape in tops.items() if shape is None)
            shapes.update(tops)
        return tuple(found)

    def outputs(self) -> list[tuple[str, Shape | None]]:
        """Blobs that no layer reads: what Caffe prints in a test, each with its shape."""
        left: dict[str, None] = {}
        for row in self.rows:
            for bottom in row.layer.bottoms:
                left.pop(bottom, None)
            left.update(dict.fromkeys(row.layer.tops))
        return [(name, self.blobs.get(name)) for name in left]


def infer(layers: Sequence[Layer], given: Mapping[str, Shape] | None = None) -> Inferred:
    """Walk the layers in order. `given` are shapes of blobs, and win over what the file tells."""
    told = given or {}
    read = {name for layer in layers for name in layer.bottoms}
    made = {name for layer in layers for name in layer.tops}
    blobs: dict[str, Shape | None] = {name: shape for name, shape in told.items() if name in read - made}
    shared: set[str] = set()
    rows = []
    for layer in layers:
        row = _row(layer, [blobs.get(name) for name in layer.bottoms], told, shared)
        blobs.update(zip(layer.tops, row.tops, strict=True))
        rows.append(row)
    return Inferred(tuple(rows), blobs)


def count(shape: Shape) -> int:
    """How many numbers a blob of that shape holds; a scalar's is 1."""
    return math.prod(shape)


def _row(layer: Layer, bottoms: list[Shape | None], given: Mapping[str, Shape], shared: set[str]) -> Row:
    made, odd = _made(layer, bottoms)
    known = made.tops if made else _in_place(layer, bottoms)
    padded = (*known, *(None,) * len(layer.tops))
    tops = tuple(given.get(name, padded[at]) for at, name in enumerate(layer.tops))
    note = made.note if made and not set(layer.tops) & set(given) else ""
    if made is None:
        counts = layer.source or (layer.type in RULES and layer.type not in LEARNING)
        return Row(layer, tops, () if counts else None, 0 if counts else None, 0 if counts else None, odd)
    fresh = _fresh(layer, made.params, shared)
    kept = sum(numbers for at, numbers in fresh.items() if at in made.kept)
    return Row(layer, tops, made.params, sum(fresh.values()), made.macs, odd, kept, note)


def _made(layer: Layer, bottoms: list[Shape | None]) -> tuple[Made | None, str]:
    known = [shape for shape in bottoms if shape is not None]
    try:
        counted(layer)
        if rule := PART_RULES.get(layer.type) or python(layer):
            return _held(rule(layer, bottoms)), ""
        if layer.type not in RULES or len(known) < len(bottoms):
            return None, ""
        return _held(RULES[layer.type](layer, known)), ""
    except Odd as odd:
        return None, str(odd)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        shapes = ", ".join(map(words, bottoms)) or "no shape"
        return None, f"{layer.type} cannot take {len(bottoms)} bottoms of {shapes}"


def _held(made: Made) -> Made:
    """What was made, where each blob can hold it (blob.cpp: Reshape)."""
    for shape in (*made.tops, *made.params):
        if shape is not None and count(shape) > _MOST:
            raise Odd(f"{words(shape)} are more numbers than a blob holds, {_MOST:,}")
    return made


def _in_place(layer: Layer, bottoms: Sequence[Shape | None]) -> tuple[Shape | None, ...]:
    """What works in its bottom's place keeps its shape, whatever it does."""
    by_name = dict(zip(layer.bottoms, bottoms, strict=True))
    return tuple(by_name.get(name) for name in layer.tops)


def _fresh(layer: Layer, params: Sequence[Shape], shared: set[str]) -> dict[int, int]:
    """The counts of those parameters, by place, whose name is not taken: layers that name one alike share it."""
    specs = layer.message.messages("param")
    found: dict[int, int] = {}
    for at, shape in enumerate(params):
        name = specs[at].text("name") if at < len(specs) else ""
        if name and name in shared:
            continue
        shared.update({name} if name else ())
        found[at] = count(shape)
    return found


def words(shape: Shape | None) -> str:
    """A shape for people: 64 x 3 x 224 x 224."""
    if shape is None:
        return "?"
    return " x ".join(str(size) for size in shape) if shape else "scalar"
