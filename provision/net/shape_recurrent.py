"""Rules of shapes for RNN and LSTM, which Caffe unrolls into a net of their own (recurrent_layer.cpp at 9b89154)."""

from collections.abc import Sequence

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, Rule, Shape, size, sizes, wanted


def recurrent(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """Time x streams x inputs, and a mark for each step; then an input for each stream that stays the same, and, where
    they are exposed, the hidden state (and cells), which come out as tops as well."""
    outputs, (time, streams) = wanted(layer.param("recurrent"), "num_output"), _steps(bottoms)
    states = (2 if layer.type == "LSTM" else 1) if layer.param("recurrent").flag("expose_hidden") else 0
    if len(layer.tops) != 1 + states or not 2 + states <= len(bottoms) <= 3 + states:
        told = f"{2 + states} or {3 + states} bottoms and {1 + states} tops"
        raise Odd(f"{layer.type} takes {told}, and has {len(bottoms)} and {len(layer.tops)}")
    static = bottoms[2:3] if len(bottoms) > 2 + states else []
    if static and (len(static[0]) < 2 or static[0][0] != streams):
        raise Odd(f"an input for each of {streams} streams is wanted, not {sizes(static[0])}")
    if wrong := [shape for shape in bottoms[len(bottoms) - states :] if shape != (1, streams, outputs)]:
        raise Odd(f"a state of {sizes((1, streams, outputs))} is wanted, not {sizes(wrong[0])}")
    rows = outputs * (4 if layer.type == "LSTM" else 1)
    params: list[Shape] = [(rows, size(bottoms[0][2:])), (rows,)]
    params += [(rows, size(shape[1:])) for shape in static]
    params += [(rows, outputs)] + ([(outputs, outputs), (outputs,)] if layer.type == "RNN" else [])
    matrices = sum(size(shape) for shape in params if len(shape) == 2)
    tops = ((time, streams, outputs), *((1, streams, outputs),) * states)
    return Made(tops, tuple(params), time * streams * matrices)


def _steps(bottoms: Sequence[Shape]) -> tuple[int, int]:
    if len(bottoms) < 2 or len(bottoms[0]) < 3:
        raise Odd(f"time x streams x inputs, and a mark for each step are wanted, not {', '.join(map(sizes, bottoms))}")
    time, streams = bottoms[0][:2]
    if bottoms[1] != (time, streams):
        raise Odd(f"{sizes(bottoms[0])} wants sequence marks of {time} x {streams}, not {sizes(bottoms[1])}")
    return time, streams


RULES: dict[str, Rule] = {"LSTM": recurrent, "RNN": recurrent}
