"""Layers of 2013 (V0: everything in one `layer { … }`) as those of 2014 (V1: a message for each type's own fields)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from provision.net.text import Field, Message, Word

Remark = tuple[int, str]  # the line, and what has no place any more

_TYPES = {"conv": "CONVOLUTION", "innerproduct": "INNER_PRODUCT", "pool": "POOLING", "images": "IMAGE_DATA"}
_OWN = {
    "conv": "convolution_param", "innerproduct": "inner_product_param", "pool": "pooling_param",
    "dropout": "dropout_param", "lrn": "lrn_param", "data": "data_param", "hdf5_data": "hdf5_data_param",
    "images": "image_data_param", "window_data": "window_data_param", "infogain_loss": "infogain_loss_param",
    "concat": "concat_param", "hdf5_output": "hdf5_output_param",
}  # fmt: skip
_DENSE, _WINDOW = ("conv", "innerproduct"), ("conv", "pool")
_READS = ("data", "hdf5_data", "images", "window_data")

# a field's new name, and the types that take it
_FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "num_output": ("num_output", _DENSE), "biasterm": ("bias_term", _DENSE),
    "weight_filler": ("weight_filler", _DENSE), "bias_filler": ("bias_filler", _DENSE),
    "pad": ("pad", _WINDOW), "kernelsize": ("kernel_size", _WINDOW), "stride": ("stride", _WINDOW),
    "group": ("group", ("conv",)), "pool": ("pool", ("pool",)), "dropout_ratio": ("dropout_ratio", ("dropout",)),
    **{name: (name, ("lrn",)) for name in ("local_size", "alpha", "beta", "k")},
    "source": ("source", (*_READS, "infogain_loss")), "batchsize": ("batch_size", _READS),
    "rand_skip": ("rand_skip", ("data", "images")), "shuffle_images": ("shuffle", ("images",)),
    "new_height": ("new_height", ("images",)), "new_width": ("new_width", ("images",)),
    "concat_dim": ("concat_dim", ("concat",)),
    **{f"det_{name}": (name, ("window_data",))
       for name in ("fg_threshold", "bg_threshold", "fg_fraction", "context_pad", "crop_mode")},
}  # fmt: skip
_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_SAME = ("name", "blobs", "blobs_lr", "weight_decay")


def from_v0(connection: Message, remarks: list[Remark]) -> Message:
    """A layer of V1 made of `layers { layer { … } bottom: … top: … }`; another one as it is."""
    if not connection.messages("layer"):
        return connection
    layer = connection.sub("layer")
    kind = layer.text("type")
    fields = [field for field in connection.fields if field.name in ("bottom", "top")]
    own: list[Field] = []
    transform: list[Field] = []
    for field in layer.fields:
        new, takers = _FIELDS.get(field.name, ("", ()))
        if field.name in _SAME:
            fields.append(field)
        elif field.name == "type":
            word = Word(_TYPES.get(kind, kind.upper()))
            fields.append(replace(field, value=word))
        elif field.name in _TRANSFORM:
            transform.append(replace(field, name=_TRANSFORM[field.name]))
        elif kind in takers:
            own.append(replace(field, name=new))
        elif field.name == _OWN.get(kind) and isinstance(field.value, Message):
            own += field.value.fields
        else:
            remarks.append((field.line, f"{field.name} means nothing to a layer of type {kind} and is left out"))
    lost = [field for field in connection.fields if field.name not in ("layer", "bottom", "top")]
    remarks += [(field.line, f"{field.name} beside a layer of 2013 is left out, as Caffe does") for field in lost]
    fields += [*_sub("transform_param", transform), *_sub(_OWN.get(kind, ""), own)]
    return Message(tuple(fields), connection.line)


def _sub(name: str, parts: Sequence[Field]) -> Iterator[Field]:
    if parts:
        yield Field(name, Message(tuple(parts), parts[0].line), parts[0].line, parts[0].column)


def folded(connections: Sequence[Message], remarks: list[Remark]) -> list[Message | None]:
    """The layers with the padding of a padding layer in the convolution or pooling that reads it; None in its place.

    A padding that something else reads stays where it is, and is remarked: Caffe stops there.
    """
    maker: dict[str, Message] = {}
    found: list[Message] = []
    kept: list[Message] = []
    for connection in connections:
        sources = [maker.get(name) for name in connection.texts("bottom")]
        padding = sources[0] if sources else None
        fits = len(sources) == 1 and connection.sub("layer").text("type") in _WINDOW
        if padding is not None and _pads(padding) and fits:
            found.append(_padded(connection, padding))
        else:
            if stays := [source for source in sources if source is not None and _pads(source)]:
                remarks.append((connection.line, "only a convolution or a pooling can read a padding layer"))
                kept += stays
            found.append(connection)
        maker.update(dict.fromkeys(connection.texts("top"), connection))
    return [None if _pads(one) and all(one is not other for other in kept) else one for one in found]


def _pads(connection: Message) -> bool:
    return connection.sub("layer").text("type") == "padding"


def _padded(connection: Message, padding: Message) -> Message:
    layer, pad = connection.sub("layer"), padding.sub("layer").all("pad")
    bottom = padding.texts("bottom")[:1] or connection.texts("bottom")
    new = (*(field for field in layer.fields if field.name != "pad"), *(Field("pad", one) for one in pad or [0]))
    fields = [
        replace(field, value=Message(new, layer.line)) if field.name == "layer" else
        replace(field, value=bottom[0]) if field.name == "bottom" else field
        for field in connection.fields
    ]  # fmt: skip
    return Message(tuple(fields), connection.line)
