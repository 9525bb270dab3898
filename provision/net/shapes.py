"""Shapes, parameters and multiply-adds of a net without running it.

Each layer's type has a rule in `shape_rules.RULES`, a function of the layer and the shapes that come in. What cannot be
known without the data (the channels of a database, a Python layer's tops) is None until it is given by name; what
depends on it is None as well. `tests/engine/test_net_shapes.py` holds the rules against Caffe.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provision.net.graph import Layer
from provision.net.shape_rules import OWN_SHAPE, RULES, Made, Odd, Shape


@dataclass(frozen=True)
class Row:
    """What is known of one layer. `tops` in order, None where unknown; `params` are its blobs' shapes (None: unknown),
    `counted` the numbers in those that no earlier layer shares; `macs` multiply-adds of one forward pass."""

    layer: Layer
    tops: tuple[Shape | None, ...]
    params: tuple[Shape, ...] | None
    counted: int | None
    macs: int | None
    odd: str = ""


@dataclass(frozen=True)
class Inferred:
    """The layers' rows and the blobs' shapes after the last of them. `losses` are tops that add to the loss."""

    rows: tuple[Row, ...]
    blobs: Mapping[str, Shape | None]

    @property
    def params(self) -> int:
        return sum(row.counted or 0 for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs or 0 for row in self.rows)

    @property
    def whole(self) -> bool:
        """Whether nothing is unknown."""
        return all(row.params is not None and None not in row.tops for row in self.rows)

    def outputs(self) -> list[tuple[str, Shape | None]]:
        """Blobs that no layer reads: what Caffe prints in a test, each with its shape."""
        left: dict[str, None] = {}
        for row in self.rows:
            for bottom in row.layer.bottoms:
                left.pop(bottom, None)
            left.update(dict.fromkeys(row.layer.tops))
        return [(name, self.blobs.get(name)) for name in left]


def infer(layers: Sequence[Layer], given: Mapping[str, Shape] | None = None) -> Inferred:
    """Walk the layers in order. `given` are shapes of blobs that data or Python layers make, and win over the file."""
    blobs: dict[str, Shape | None] = {}
    shared: set[str] = set()
    rows = []
    for layer in layers:
        row = _row(layer, [blobs.get(name) for name in layer.bottoms], given or {}, shared)
        blobs.update(zip(layer.tops, row.tops, strict=True))
        rows.append(row)
    return Inferred(tuple(rows), blobs)


def count(shape: Shape) -> int:
    """How many numbers a blob of that shape holds; a scalar's is 1."""
    return math.prod(shape)


def _row(layer: Layer, bottoms: list[Shape | None], given: Mapping[str, Shape], shared: set[str]) -> Row:
    made, odd = _made(layer, bottoms)
    known = made.tops if made else (None,) * len(layer.tops)
    tops = tuple(
        given.get(name, known[at] if at < len(known) else None) if layer.source or at >= len(known) or known[at] is None
        else known[at]
        for at, name in enumerate(layer.tops)
    )  # fmt: skip
    params = made.params if made else None
    counted = None if params is None else sum(_fresh(layer, params, shared))
    return Row(layer, tops, params, counted, made.macs if made else None, odd)


def _made(layer: Layer, bottoms: list[Shape | None]) -> tuple[Made | None, str]:
    rule = RULES.get(layer.type)
    known = [shape for shape in bottoms if shape is not None]
    if rule is None or (len(known) < len(bottoms) and layer.type not in OWN_SHAPE):
        return None, ""
    try:
        return rule(layer, known), ""
    except Odd as odd:
        return None, str(odd)
    except (IndexError, ZeroDivisionError):
        return (
            None,
            f"{layer.type} cannot take {len(bottoms)} bottoms of {', '.join(map(words, bottoms)) or 'no shape'}",
        )


def _fresh(layer: Layer, params: Sequence[Shape], shared: set[str]) -> list[int]:
    """The counts of those parameters whose name is not taken: layers that name a parameter alike share it."""
    specs = layer.message.all("param")
    found = []
    for at, shape in enumerate(params):
        spec = specs[at] if at < len(specs) else ""
        name = spec if isinstance(spec, str) else getattr(spec, "text", lambda _: "")("name")
        if name and name in shared:
            continue
        shared.update({name} if name else ())
        found.append(count(shape))
    return found


def words(shape: Shape | None) -> str:
    """A shape for people: 64 x 3 x 224 x 224."""
    if shape is None:
        return "?"
    return " x ".join(str(size) for size in shape) if shape else "scalar"
