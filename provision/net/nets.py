"""Nets written in Python: a builder that makes prototxt, and the blocks of which deep nets are made.

    net = Net("small")
    data, label = net.data("/data/train_lmdb", batch=64, phase="TRAIN", scale=1 / 255)
    net.data("/data/test_lmdb", batch=100, phase="TEST", scale=1 / 255)
    top = conv_block(net, data, "conv1", 32)
    top = residual(net, top, "conv2", 64, stride=2)
    top = net.dense(net.pool(top, "pool", how="AVE"), "score", 10)
    net.loss_and_accuracy(top, label)
    Path("net.prototxt").write_text(net.prototxt())

A blob is its name, a text. Methods add one layer and return its top; blocks are functions that call several.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from infra.errors import UsageError
from provision.net.graph import Phase
from provision.net.text import Field, Message, Value, Word, write

# a parameter's value: enums are Word, messages mappings, repeated fields lists
Given = bool | int | float | str | Mapping[str, "Given"] | Sequence["Given"]

_XAVIER: Mapping[str, Given] = {"type": "xavier"}
_MSRA: Mapping[str, Given] = {"type": "msra"}


def fields(given: Mapping[str, Given]) -> tuple[Field, ...]:
    """The fields of a mapping; a list gives its field several times."""
    found: list[Field] = []
    for name, value in given.items():
        several = isinstance(value, Sequence) and not isinstance(value, str)
        found += [Field(name, _value(item)) for item in (value if several else [value])]  # type: ignore[union-attr]
    return tuple(found)


def _value(given: Given) -> Value:
    if isinstance(given, bool):
        return Word("true" if given else "false")
    if isinstance(given, Mapping):
        return Message(fields(given))
    if isinstance(given, (int, float, str)):
        return given
    raise TypeError(f"{given!r} is no value of a field")


@dataclass
class Net:
    """A net as it is built: layers in order. UsageError where two layers would have one name."""

    name: str
    layers: list[Message] = field(default_factory=list)
    _names: set[tuple[str, str]] = field(default_factory=set)

    def layer(
        self, kind: str, name: str, bottoms: Sequence[str] = (), tops: Sequence[str] = (), *,
        phase: Phase | None = None, **params: Given,
    ) -> str:  # fmt: skip
        """Add any layer; `params` are its fields (convolution_param={…}). The result: its first top, or its name.

        UsageError where its name is taken.
        """
        for when in (phase,) if phase else ("TRAIN", "TEST"):
            if (name, when) in self._names:
                raise UsageError(f"there are two layers called {name!r}", "give each layer a name of its own")
            self._names.add((name, when))
        rule: dict[str, Given] = {"include": {"phase": Word(phase)}} if phase else {}
        head: dict[str, Given] = {"name": name, "type": kind, "bottom": list(bottoms), "top": list(tops)}
        self.layers.append(Message(fields({**head, **rule, **params})))
        return tops[0] if tops else name

    def prototxt(self) -> str:
        """The net as Caffe reads it."""
        return write(Message((Field("name", self.name), *(Field("layer", layer) for layer in self.layers))))

    def data(self, source: str, batch: int, phase: Phase, *, scale: float = 1.0, means: Sequence[float] = (),
             crop: int = 0, mirror: bool = False, name: str = "data") -> tuple[str, str]:  # fmt: skip
        """A database of images with labels, for one phase; its two tops, NAME and label. Mirror only trains."""
        transform: dict[str, Given] = {"scale": scale} if scale != 1.0 else {}
        transform |= {"mean_value": list(means)} if means else {}
        transform |= {"crop_size": crop} if crop else {}
        transform |= {"mirror": True} if mirror and phase == "TRAIN" else {}
        backend: dict[str, Given] = {"source": source, "batch_size": batch, "backend": Word("LMDB")}
        more: dict[str, Given] = {"transform_param": transform} if transform else {}
        self.layer("Data", name, (), (name, "label"), phase=phase, **more, data_param=backend)
        return name, "label"

    def inputs(self, shape: Sequence[int], name: str = "data") -> str:
        """A blob that is filled from outside, as a net for use has it: N, C, H, W."""
        return self.layer("Input", name, (), (name,), input_param={"shape": {"dim": list(shape)}})

    def conv(self, bottom: str, name: str, outputs: int, kernel: int = 3, *, stride: int = 1, pad: int | None = None,
             group: int = 1, dilation: int = 1, bias: bool = True) -> str:  # fmt: skip
        """A convolution; without `pad` its output is as large as its input (by its stride)."""
        around = dilation * (kernel - 1) // 2 if pad is None else pad
        param: dict[str, Given] = {"num_output": outputs, "kernel_size": kernel, "stride": stride, "pad": around}
        param |= {"group": group} if group != 1 else {}
        param |= {"dilation": dilation} if dilation != 1 else {}
        param |= {"bias_term": bias, "weight_filler": _MSRA}
        return self.layer("Convolution", name, (bottom,), (name,), convolution_param=param)

    def pool(
        self, bottom: str, name: str, kernel: int = 0, *, stride: int = 2, how: Literal["MAX", "AVE"] = "MAX"
    ) -> str:
        """A pooling; of the whole picture where `kernel` is 0."""
        window: dict[str, Given] = {"kernel_size": kernel, "stride": stride} if kernel else {"global_pooling": True}
        return self.layer("Pooling", name, (bottom,), (name,), pooling_param={"pool": Word(how), **window})

    def relu(self, blob: str) -> str:
        """A ReLU, in place."""
        return self.layer("ReLU", f"{blob}/relu", (blob,), (blob,))

    def norm(self, blob: str) -> str:
        """Batch norm and the scale and shift that Caffe has as a layer of its own, both in place. Caffe itself takes
        the batch's numbers in TRAIN and the kept ones in TEST, as long as use_global_stats is not given."""
        fixed: dict[str, Given] = {"lr_mult": 0, "decay_mult": 0}
        self.layer("BatchNorm", f"{blob}/bn", (blob,), (blob,), param=[fixed] * 3)
        return self.layer("Scale", f"{blob}/scale", (blob,), (blob,), scale_param={"bias_term": True})

    def dense(self, bottom: str, name: str, outputs: int) -> str:
        param: dict[str, Given] = {"num_output": outputs, "weight_filler": _XAVIER}
        return self.layer("InnerProduct", name, (bottom,), (name,), inner_product_param=param)

    def dropout(self, blob: str, ratio: float = 0.5) -> str:
        return self.layer("Dropout", f"{blob}/drop", (blob,), (blob,), dropout_param={"dropout_ratio": ratio})

    def concat(self, bottoms: Sequence[str], name: str) -> str:
        return self.layer("Concat", name, bottoms, (name,))

    def add(self, bottoms: Sequence[str], name: str) -> str:
        return self.layer("Eltwise", name, bottoms, (name,), eltwise_param={"operation": Word("SUM")})

    def loss_and_accuracy(self, score: str, label: str, top_k: Sequence[int] = (1,)) -> str:
        """Softmax loss in both phases, accuracy in TEST alone: nothing but scalars comes out of a test."""
        for k in top_k:
            name = "accuracy" if k == 1 else f"accuracy_top{k}"
            self.layer("Accuracy", name, (score, label), (name,), phase="TEST", accuracy_param={"top_k": k})
        return self.layer("SoftmaxWithLoss", "loss", (score, label), ("loss",))


def conv_block(net: Net, bottom: str, name: str, outputs: int, kernel: int = 3, *, stride: int = 1) -> str:
    """Convolution, batch norm with scale, ReLU."""
    return net.relu(net.norm(net.conv(bottom, name, outputs, kernel, stride=stride, bias=False)))


def crelu_block(net: Net, bottom: str, name: str, outputs: int, kernel: int = 3, *, stride: int = 1) -> str:
    """Concatenated ReLU (Shang et al. 2016, arXiv 1603.05201): half of the convolutions, and their negatives."""
    half = net.conv(bottom, f"{name}/half", outputs // 2, kernel, stride=stride, bias=False)
    negative = net.layer("Power", f"{name}/neg", (half,), (f"{name}/neg",), power_param={"scale": -1.0})
    both = net.concat((half, negative), name)
    net.layer("Scale", f"{name}/scale", (both,), (both,), scale_param={"bias_term": True})
    return net.relu(both)


def residual(net: Net, bottom: str, name: str, outputs: int, *, stride: int = 1, project: bool | None = None) -> str:
    """Two convolutions beside a shortcut (He et al. 2016, arXiv 1512.03385); `project`: the shortcut is a convolution
    of 1 x 1, needed where `outputs` or the size differ from the bottom's (so by default where the stride is not 1)."""
    first = conv_block(net, bottom, f"{name}/a", outputs, stride=stride)
    second = net.norm(net.conv(first, f"{name}/b", outputs, bias=False))
    shortcut = bottom
    if stride != 1 if project is None else project:
        shortcut = net.norm(net.conv(bottom, f"{name}/shortcut", outputs, 1, stride=stride, bias=False))
    return net.relu(net.add((second, shortcut), name))
