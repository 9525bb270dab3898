"""Nets and solvers of earlier Caffes as today's are written.

Read are `layers { layer { type: "conv" … } }` (V0, 2013), `layers { type: CONVOLUTION … }` (V1, 2014), `input` with its
`input_dim` or `input_shape`, and batch norms with learning rates of their own. What becomes of each field is what
`upgrade_net_proto_text` and `upgrade_solver_proto_text` make of it (Caffe's util/upgrade_proto.cpp at 9b89154). Fields
and types of a fork's own stay as they are, and every field keeps its line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from infra.errors import UsageError
from provision.net.text import Field, Message, Value, Word
from provision.net.upgrade_v0 import Remark, folded, from_v0

# types of V1 whose new name is not their words in capitals, those of the forks of 2014 and 2015 among them
_TYPES = {
    "ABSVAL": "AbsVal", "ARGMAX": "ArgMax", "BN": "BN", "BNLL": "BNLL", "DENSE_CRF": "DenseCRF", "DENSECRF": "DenseCRF",
    "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output", "LRN": "LRN", "LSTM": "LSTM", "MVN": "MVN", "NONE": "",
    "PRELU": "PReLU", "PSROI_POOLING": "PSROIPooling", "RELU": "ReLU", "RNN": "RNN", "ROI_POOLING": "ROIPooling",
    "SMOOTH_L1_LOSS": "SmoothL1Loss", "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPP": "SPP", "TANH": "TanH",
}  # fmt: skip


def _listed(text: str) -> list[str]:
    return text.split()


# the words of V1's types by their numbers, which a text may have in their place
_NUMBERED = dict(
    enumerate(
        _listed(
            "NONE ACCURACY BNLL CONCAT CONVOLUTION DATA DROPOUT EUCLIDEAN_LOSS FLATTEN HDF5_DATA HDF5_OUTPUT IM2COL "
            "IMAGE_DATA INFOGAIN_LOSS INNER_PRODUCT LRN MULTINOMIAL_LOGISTIC_LOSS POOLING RELU SIGMOID SOFTMAX "
            "SOFTMAX_LOSS SPLIT TANH WINDOW_DATA ELTWISE POWER SIGMOID_CROSS_ENTROPY_LOSS HINGE_LOSS MEMORY_DATA "
            "ARGMAX THRESHOLD DUMMY_DATA SLICE MVN ABSVAL SILENCE CONTRASTIVE_LOSS EXP DECONVOLUTION"
        )
    )
)
_MOVED = ("scale", "mean_file", "crop_size", "mirror")  # from a data layer's own message to transform_param
_DATA = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}
_SPECS = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
_ORDER = ("name", "type", "bottom", "top", "loss_weight", "param", "blobs", "include", "exclude", "transform_param")
_SOLVERS = {
    "SGD": "SGD", "NESTEROV": "Nesterov", "ADAGRAD": "AdaGrad", "RMSPROP": "RMSProp", "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}  # fmt: skip


@dataclass(frozen=True)
class Upgraded:
    """A net or solver in today's words. `done` names what was old; `remarks` what has no place any more."""

    message: Message
    done: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()


def net(message: Message) -> Upgraded:
    """The net in today's words. UsageError where it mixes `layers` and `layer`, which Caffe refuses."""
    old, new = message.messages("layers"), message.messages("layer")
    if old and new:
        what = f"`layers` (line {old[0].line}) and `layer` (line {new[0].line}) are mixed, and Caffe refuses such a net"
        raise UsageError(what, "write all of them as `layer`, or as `layers`")
    remarks: list[Remark] = []
    upgraded = _each(message, remarks)
    fields, inputs = list[Field](), _inputs(message, remarks)
    for field in message.fields:
        if field.name in ("layer", "layers") and isinstance(field.value, Message):
            layer, _ = next(upgraded)
            if layer is None:
                continue
            field = Field("layer", layer, field.line, field.column)
        if field.name == "layer" and isinstance(field.value, Message) and inputs:
            fields, inputs = [*fields, *inputs], []
        if field.name not in ("input", "input_dim", "input_shape"):
            fields.append(field)
    made = Message(tuple(_cold_norm(field) for field in (*fields, *inputs)), message.line)
    return Upgraded(made, tuple(_done(message)), tuple(remarks))


def solver(message: Message) -> Upgraded:
    """The solver with `type` in place of `solver_type`. UsageError where it has both, or a type that is none."""
    kinds = [field for field in message.fields if field.name == "solver_type"]
    if not kinds:
        return Upgraded(message)
    if message.all("type"):
        what = f"solver_type (line {kinds[0].line}) and type (line {message.line_of('type')}) are both given"
        raise UsageError(what, "leave solver_type out")
    known = {**_SOLVERS, **dict(zip(map(str, range(6)), _SOLVERS.values(), strict=True))}
    if (kind := str(kinds[-1].value)) not in known:
        raise UsageError(f"line {kinds[-1].line}: there is no solver_type {kind}", f"one of {', '.join(_SOLVERS)}")
    new = replace(kinds[-1], name="type", value=known[kind])
    fields = [new if field is kinds[-1] else field for field in message.fields if field not in kinds[:-1]]
    return Upgraded(Message(tuple(fields), message.line), ("solver_type",))


def layers(message: Message, remarks: list[Remark] | None = None) -> list[tuple[Message, bool]]:
    """Every layer of the file in today's words, and whether it is an old one; V0's padding layers are folded in."""
    return [(layer, old) for layer, old in _each(message, [] if remarks is None else remarks) if layer is not None]


def _each(message: Message, remarks: list[Remark]) -> Iterator[tuple[Message | None, bool]]:
    """The file's layers in order, with None for each padding layer that went into the layer behind it."""
    old = iter(folded(message.messages("layers"), remarks))
    for field in message.fields:
        if field.name == "layer" and isinstance(field.value, Message):
            yield field.value, False
        elif field.name == "layers" and isinstance(field.value, Message):
            layer = next(old)
            yield None if layer is None else from_v1(from_v0(layer, remarks), remarks), True


def from_v1(layer: Message, remarks: list[Remark]) -> Message:
    """A layer of V1 in today's words."""
    kind = new_type(layer.one("type"))
    fields = [field for field in layer.fields if field.name not in ("type", "layer", *_SPECS)]
    if kind:
        at = next(field for field in layer.fields if field.name == "type")
        fields.append(replace(at, value=kind))
    fields += _specs(layer)
    fields = _moved(fields, _DATA[kind]) if kind in _DATA else fields
    remarks += [(field.line, "a layer in a layer of V1 is left out") for field in layer.fields if field.name == "layer"]
    return Message(tuple(sorted(fields, key=_rank)), layer.line)


def new_type(value: Value | None) -> str:
    """The new name of an old type: INNER_PRODUCT, or 14, is InnerProduct. What is no enum's word stays."""
    if isinstance(value, int) and value in _NUMBERED:
        value = Word(_NUMBERED[value])
    word = str(value) if isinstance(value, str) else ""
    if not isinstance(value, Word) or not word.isupper():
        return word
    return _TYPES.get(word, "".join(part.capitalize() for part in word.split("_")))


def _rank(field: Field) -> int:
    return _ORDER.index(field.name) if field.name in _ORDER else len(_ORDER)


def _specs(layer: Message) -> Iterator[Field]:
    """blobs_lr, weight_decay, names and share modes as one `param` for each blob."""
    columns = {new: [one for one in layer.fields if one.name == old] for old, new in _SPECS.items()}
    whole = [one for one in columns["name"] if isinstance(one.value, Message)]  # today's word in an old layer
    columns["name"] = [one for one in columns["name"] if one not in whole]
    yield from whole
    for at in range(max(map(len, columns.values()))):
        parts = [replace(column[at], name=new) for new, column in columns.items() if at < len(column)]
        yield Field("param", Message(tuple(parts), parts[0].line), parts[0].line, parts[0].column)


def _moved(fields: Sequence[Field], name: str) -> list[Field]:
    """The fields with the transformation out of the data's own message, which wins as it does in Caffe."""
    own = [part for field in fields if field.name == name and isinstance(field.value, Message)
           for part in field.value.fields]  # fmt: skip
    moved = [part for part in own if part.name in _MOVED]
    if not moved:
        return list(fields)
    before = [part for field in fields if field.name == "transform_param" and isinstance(field.value, Message)
              for part in field.value.fields if part.name not in {one.name for one in moved}]  # fmt: skip
    transform = Field("transform_param", Message((*before, *moved), moved[0].line), moved[0].line, moved[0].column)
    rest = tuple(part for part in own if part.name not in _MOVED)
    kept = [field for field in fields if field.name not in (name, "transform_param")]
    first = next(field for field in fields if field.name == name)
    return [*kept, transform, replace(first, value=Message(rest, first.line))]


def shapes_of_inputs(message: Message) -> list[Message]:
    """The shapes of the net's `input`s, in order: `input_shape`, or `input_dim` by fours."""
    if shapes := message.messages("input_shape"):
        return shapes
    dims = [field for field in message.fields if field.name == "input_dim"]
    return [
        Message(tuple(replace(dim, name="dim") for dim in dims[at : at + 4]), dims[at].line)
        for at in range(0, len(dims), 4)
    ]


def _inputs(message: Message, remarks: list[Remark]) -> list[Field]:
    """One layer of type Input for all `input`s; none where no shape is told, as of a net inside a caffemodel."""
    names, shapes = [field for field in message.fields if field.name == "input"], shapes_of_inputs(message)
    if not names:
        return []
    if not shapes:
        remarks.append((names[0].line, "an input without a shape is left out"))
        return []
    if len(shapes) != len(names):
        remarks.append((names[0].line, f"{len(names)} inputs have {len(shapes)} shapes"))
    line = names[0].line
    shape = Message(tuple(Field("shape", one, one.line) for one in shapes[: len(names)]), line)
    tops = tuple(replace(name, name="top") for name in names)
    made = (Field("name", "input", line), Field("type", "Input", line), *tops, Field("input_param", shape, line))
    return [Field("layer", Message(made, line), line)]


def _hot(layer: Message) -> bool:
    return layer.text("type") == "BatchNorm" and len(layer.messages("param")) == 3


def _cold_norm(field: Field) -> Field:
    """A batch norm whose three kept blobs would be learned: their learning rates and decays become 0."""
    layer = field.value
    if field.name != "layer" or not isinstance(layer, Message) or not _hot(layer):
        return field
    cold = (Field("lr_mult", 0), Field("decay_mult", 0))
    parts = [
        replace(part, value=Message((*(one for one in part.value.fields if one.name not in ("lr_mult", "decay_mult")),
                                     *cold), part.line))
        if part.name == "param" and isinstance(part.value, Message) else part
        for part in layer.fields
    ]  # fmt: skip
    return replace(field, value=Message(tuple(parts), layer.line))


def _done(message: Message) -> Iterator[str]:
    """What of the net is old, in the order in which Caffe mends it."""
    old = message.messages("layers")
    if any(layer.messages("layer") for layer in old):
        yield "layers of 2013 (V0)"
    elif old:
        yield "layers of 2014 (V1)"
    if any(part.name in _MOVED for layer in old for name in _DATA.values() for part in layer.sub(name).fields):
        yield "transformations in data layers"
    if message.all("input"):
        yield "input fields"
    if any(_hot(layer) and any(_warm(spec) for spec in layer.messages("param")) for layer in message.messages("layer")):
        yield "learning rates of batch norms"


def _warm(spec: Message) -> bool:
    return spec.one("lr_mult", 1) != 0 or spec.one("decay_mult", 1) != 0
