"""One layer by chance, behind blobs of any shape, sound or not."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.unit.test_net_refused import net_of

Random = random.Random
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Drawn:
    """A layer's type, the text of its parameters, the shapes of its bottoms, and how many tops it has."""

    type: str
    params: str
    bottoms: tuple[Shape, ...]
    tops: int = 1

    @property
    def text(self) -> str:
        return net_of(self.type, self.params, self.bottoms, " ".join(f"t{at}" for at in range(self.tops)))


Draw = Callable[[Random], Drawn]
_SIZES, _AXES = (1, 2, 3, 4, 5, 6, 8), (-5, -4, -3, -2, -1, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5)


def drawn(seed: int) -> Drawn:
    chance = Random(seed)
    return chance.choice(_DRAWS)(chance)


def _shape(chance: Random, axes: int | None = None) -> Shape:
    count = chance.choice([0, 1, 2, 2, 3, 4, 4, 4, 4, 5]) if axes is None else axes
    return tuple(chance.choice(_SIZES) for _ in range(count))


def _maybe(chance: Random, share: float, text: str) -> str:
    return f"{text} " if chance.random() < share else ""


def _axis(chance: Random, share: float = 0.7, name: str = "axis") -> str:
    return _maybe(chance, share, f"{name}: {chance.choice(_AXES)}")


def _dims(shape: Sequence[int]) -> str:
    return "shape { " + " ".join(f"dim: {dim}" for dim in shape) + " }"


def _sides(chance: Random, name: str, numbers: Sequence[int], axes: int) -> str:
    """A window's field in one of its forms: once, for each axis, by height and width, one of these, or both."""
    whole, one = "kernel_size" if name == "kernel" else name, chance.choice(numbers)
    pair = f"{name}_h: {chance.choice(numbers)} {name}_w: {chance.choice(numbers)}"
    several = " ".join(f"{whole}: {chance.choice(numbers)}" for _ in range(chance.choice([axes, axes, 2, 3])))
    single = f"{whole}: {one}"
    forms = [single] * 5 + [pair, pair, several, f"{name}_{chance.choice('hw')}: {one}", f"{single} {pair}"]
    return chance.choice(forms) + " "


def _window(chance: Random, axes: int) -> str:
    text = _sides(chance, "kernel", (0, 1, 1, 2, 2, 3, 3, 4), axes) if chance.random() < 0.95 else ""
    text += _sides(chance, "stride", (0, 1, 1, 2, 2, 3), axes) if chance.random() < 0.4 else ""
    return text + (_sides(chance, "pad", (0, 1, 1, 2, 3), axes) if chance.random() < 0.4 else "")


def _convolution(chance: Random) -> Drawn:
    kind, axes = (
        chance.choice(["Convolution", "Convolution", "Deconvolution", "Im2col"]),
        chance.choice([2, 2, 2, 2, 1, 3, 0]),
    )
    bottom = (chance.choice([1, 2]), chance.choice([1, 2, 3, 4, 6]), *(chance.randrange(1, 10) for _ in range(axes)))
    words = f"num_output: {chance.choice([1, 2, 4, 6, 6, 3, 0])} {_window(chance, axes)}{_axis(chance, 0.1)}"
    words += _maybe(chance, 0.3, f"group: {chance.choice([0, 1, 2, 2, 3])}") + _maybe(chance, 0.2, "bias_term: false")
    words += _maybe(chance, 0.2, " ".join(["dilation: 2"] * chance.choice([1, 1, 2])))
    several = 1 if kind == "Im2col" else chance.choice([1, 1, 1, 2])
    others = [bottom if chance.random() < 0.8 else _shape(chance) for _ in range(several - 1)]
    return Drawn(kind, f"convolution_param {{ {words} }}", (bottom, *others), several)


def _pooling(chance: Random) -> Drawn:
    bottom = (*_shape(chance, 2), chance.randrange(1, 14), chance.randrange(1, 14))
    words = _window(chance, 2) + _maybe(chance, 0.4, f"pool: {chance.choice(['MAX', 'AVE', '0', '1'])}")
    if chance.random() < 0.15:
        words = "global_pooling: true " + _maybe(chance, 0.3, f"stride: {chance.choice([1, 2])}")
    bottoms = (bottom if chance.random() < 0.9 else _shape(chance),)
    return Drawn("Pooling", f"pooling_param {{ {words} }}", bottoms, chance.choice([1, 1, 2]))


def _dense(chance: Random) -> Drawn:
    words = f"num_output: {chance.choice([0, 1, 3])} {_axis(chance, 0.5)}" + _maybe(chance, 0.3, "transpose: true")
    return Drawn("InnerProduct", f"inner_product_param {{ {words} }}", (_shape(chance),))


def _spread(chance: Random) -> Drawn:
    """Scale and Bias, with a second bottom or without."""
    kind, bottom, axis = chance.choice(["Scale", "Bias"]), _shape(chance), chance.choice(_AXES)
    words = _maybe(chance, 0.8, f"axis: {axis}") + _maybe(
        chance, 0.4, f"num_axes: {chance.choice([-2, -1, 0, 1, 2, 3])}"
    )
    words += _maybe(chance, 0.4, "bias_term: true") if kind == "Scale" else ""
    begin = axis if axis >= 0 else len(bottom) + axis
    second = bottom[max(begin, 0) :][: chance.randrange(3)] if chance.random() < 0.7 else _shape(chance)
    bottoms = (bottom, second) if chance.random() < 0.4 else (bottom,)
    return Drawn(kind, f"{kind.lower()}_param {{ {words} }}", bottoms)


def _slice(chance: Random) -> Drawn:
    tops = chance.choice([1, 2, 2, 3])
    points = sorted(chance.sample(range(1, 8), chance.choice([tops - 1, tops - 1, tops])))
    words = _axis(chance) + _maybe(chance, 0.6, " ".join(f"slice_point: {point}" for point in points))
    words += _maybe(chance, 0.1, f"slice_dim: {chance.choice([0, 1, 2])}")
    return Drawn("Slice", f"slice_param {{ {words} }}", (_shape(chance),), tops)


def _concat(chance: Random) -> Drawn:
    first, axis = _shape(chance), chance.choice(_AXES)
    begin = axis if axis >= 0 else len(first) + axis
    alike = [tuple(chance.choice(_SIZES) if at == begin else dim for at, dim in enumerate(first)) for _ in range(2)]
    others = [one if chance.random() < 0.8 else _shape(chance) for one in alike[: chance.randrange(3)]]
    words = _maybe(chance, 0.8, f"axis: {axis}") + _maybe(chance, 0.1, f"concat_dim: {chance.choice([0, 1, 2])}")
    return Drawn("Concat", f"concat_param {{ {words} }}", (first, *others))


def _eltwise(chance: Random) -> Drawn:
    shape, several = _shape(chance), chance.choice([1, 2, 2, 3])
    others = [shape if chance.random() < 0.85 else _shape(chance) for _ in range(several - 1)]
    words = _maybe(chance, 0.5, f"operation: {chance.choice(['PROD', 'SUM', 'MAX'])}")
    words += _maybe(chance, 0.2, " ".join(["coeff: 2"] * chance.choice([several, several, 1])))
    return Drawn("Eltwise", f"eltwise_param {{ {words} }}", (shape, *others))


def _crop(chance: Random) -> Drawn:
    first = _shape(chance, chance.choice([4, 4, 4, 3, 2]))
    second = tuple(max(1, dim - chance.choice([0, 0, 1, 2, -1])) for dim in first)
    offsets = " ".join(f"offset: {chance.choice([0, 0, 1, 2])}" for _ in range(chance.choice([1, 1, 2, 3])))
    bottoms = (first, second if chance.random() < 0.9 else _shape(chance))
    return Drawn("Crop", f"crop_param {{ {_axis(chance)}{_maybe(chance, 0.6, offsets)} }}", bottoms)


def _reshape(chance: Random) -> Drawn:
    bottom = _shape(chance)
    dims = [chance.choice([0, 0, -1, 1, 2, 3, *bottom]) for _ in range(chance.randrange(5))]
    words = _dims(dims) + " " + _axis(chance, 0.3)
    words += _maybe(chance, 0.3, f"num_axes: {chance.choice([-2, -1, 0, 1, 1, 2, 3])}")
    return Drawn("Reshape", f"reshape_param {{ {words} }}", (bottom,))


def _along(chance: Random) -> Drawn:
    """Layers of one bottom that have an axis."""
    kind, words = chance.choice([
        ("flatten", _axis(chance) + _axis(chance, 0.6, "end_axis")), ("reduction", _axis(chance)),
        ("argmax", _axis(chance, 0.6) + _maybe(chance, 0.5, f"top_k: {chance.choice([0, 1, 2, 9])}")
         + _maybe(chance, 0.4, "out_max_val: true")),
        ("tile", _axis(chance) + _maybe(chance, 0.9, f"tiles: {chance.choice([1, 2, 3, 0])}")),
        ("softmax", _axis(chance)),
    ])  # fmt: skip
    kinds = {"argmax": "ArgMax"}
    return Drawn(kinds.get(kind, kind.capitalize()), f"{kind}_param {{ {words} }}", (_shape(chance),))


def _alone(chance: Random) -> Drawn:
    """Layers of one bottom that keep its shape, or count their own."""
    kind, params = chance.choice([
        ("BatchNorm", ""), ("PReLU", ""), ("PReLU", "prelu_param { channel_shared: true }"), ("MVN", ""),
        ("AbsVal", ""),
        ("LRN", f"lrn_param {{ local_size: {chance.choice([1, 2, 3, 5])} }}"), ("ReLU", ""), ("Exp", ""),
        ("SPP", f"spp_param {{ pyramid_height: {chance.choice([0, 1, 2, 3, 4])} }}"), ("Swish", ""),
        ("Embed", f"embed_param {{ num_output: {chance.choice([0, 3])} input_dim: {chance.choice([0, 5])} }}"),
    ])  # fmt: skip
    bottom = (*_shape(chance, 2), chance.randrange(1, 14), chance.randrange(1, 14)) if kind == "SPP" else _shape(chance)
    return Drawn(kind, params, (bottom,), chance.choice([1, 1, 1, 2]))


def _chosen(chance: Random) -> Drawn:
    shape = _shape(chance)
    if chance.random() < 0.5:
        return Drawn("BatchReindex", "", (shape, chance.choice([(3,), (2,), (2, 2), ()])))
    selector = (*shape[:1], *chance.choice([(), (1,), (1, 1), (2,)]))
    several = chance.choice([1, 1, 2])
    return Drawn("Filter", "", (*(shape,) * several, selector), several if chance.random() < 0.9 else 1)


def _loss(chance: Random) -> Drawn:
    kind, score = chance.choice(_LOSSES), _shape(chance)
    label: Shape = score if kind in ("EuclideanLoss", "SigmoidCrossEntropyLoss") else score[:1]
    if kind in ("SoftmaxWithLoss", "Accuracy", "InfogainLoss") and len(score) > 2:
        label = (*score[:1], *chance.choice([(), (1,)]), *score[2:])
    label = label if chance.random() < 0.75 else _shape(chance)
    own = {"SoftmaxWithLoss": "softmax", "Accuracy": "accuracy", "InfogainLoss": "infogain_loss"}.get(kind)
    words = _axis(chance, 0.3) + (
        _maybe(chance, 0.4, f"top_k: {chance.choice([0, 1, 2, 9])}") if own == "accuracy" else ""
    )
    bottoms = (score, score if chance.random() < 0.8 else _shape(chance), label) if kind[0] == "C" else (score, label)
    classes = score[1] if len(score) > 1 else 1
    bottoms += (chance.choice([(classes, classes), (1, 1, classes, 1)]),) if kind[0] == "I" else ()
    return Drawn(kind, f"{own}_param {{ {words} }}" if own else "", bottoms, chance.choice([1, 1, 1, 0, 2]))


def _recurrent(chance: Random) -> Drawn:
    time, streams, kind = chance.choice([1, 2, 3]), chance.choice([1, 2]), chance.choice(["RNN", "LSTM"])
    marks = (time, streams) if chance.random() < 0.9 else _shape(chance)
    bottoms: list[Shape] = [(time, streams, *chance.choice([(4,), (2, 2), (), (3,)])), marks]
    words, states = f"num_output: {chance.choice([0, 2, 3, 3])}", 0
    if chance.random() < 0.3:
        bottoms.append((chance.choice([streams, streams, 3]), *chance.choice([(5,), (2, 2), ()])))
    if chance.random() < 0.3:
        words, states = f"{words} expose_hidden: true", 2 if kind == "LSTM" else 1
        bottoms += [(1, streams, 3)] * states
    return Drawn(kind, f"recurrent_param {{ {words} }}", tuple(bottoms), 1 + states)


def _dummy(chance: Random) -> Drawn:
    tops = chance.choice([1, 2, 3])
    words = " ".join(_dims(_shape(chance)) for _ in range(chance.choice([tops, tops, 1, 0, 2])))
    if chance.random() < 0.5:
        counts = {name: chance.choice([tops, tops, 1, 1, 0]) for name in ("num", "channels", "height", "width")}
        words = " ".join(f"{name}: {chance.choice([1, 2])}" for name, count in counts.items() for _ in range(count))
    return Drawn("DummyData", f"dummy_data_param {{ {words} }}", (), tops)


_LOSSES = (
    "SoftmaxWithLoss", "EuclideanLoss", "HingeLoss", "SigmoidCrossEntropyLoss", "MultinomialLogisticLoss",
    "InfogainLoss", "ContrastiveLoss", "Accuracy",
)  # fmt: skip
_DRAWS: tuple[Draw, ...] = (
    _convolution, _convolution, _pooling, _dense, _spread, _slice, _concat, _eltwise, _crop, _reshape, _along, _along,
    _alone, _alone, _chosen, _loss, _loss, _recurrent, _dummy,
)  # fmt: skip
