"""Sound nets for pixels by chance: scores as large as the picture (FCN), poolings undone by their masks (SegNet)."""

from tests.corpus.nets import Drawing, Part, Parts, Random, conv, database, pool, relu, solver

_PYTHON = 'python_param { module: "layers" layer: "Pairs" param_str: "{}" }'


def pixels(chance: Random) -> Drawing:
    """In the manner of FCN: a deconvolution, and a crop to the picture. Pairs come out of databases or of Python, and
    a Python program may train, which needs no max_iter."""
    classes, python = chance.randrange(2, 22), chance.random() < 0.5
    size = chance.choice([64, 96])
    body = (
        conv("conv1", "data", 8, more=""), relu("conv1"), pool("pool1", "conv1"), conv("conv2", "pool1", 16),
        relu("conv2"), pool("pool2", "conv2"), conv("score_fr", "pool2", classes, 1),
        Part("Deconvolution", "upscore", ("score_fr",), ("upscore",),
             f"convolution_param {{ num_output: {classes} kernel_size: 8 stride: 4 bias_term: false }}"),
        Part("Crop", "score", ("upscore", "data"), ("score",), "crop_param { axis: 2 offset: 2 }"),
        Part("SoftmaxWithLoss", "loss", ("score", "label"), ("loss",), "loss_param { ignore_label: 255 }"),
    )  # fmt: skip

    def feed(name: str) -> Parts:
        if python:
            return (Part("Python", "data", (), ("data", "label"), _PYTHON),)
        return (database(name, "", 1, ("data",)), database(f"{name}_labels", "", 1, ("label",)))

    told = ['train_net: "train.prototxt"', 'test_net: "val.prototxt"']
    nets = {"train.prototxt": (*feed("train"), *body), "val.prototxt": (*feed("val"), *body)}
    made = Drawing("pixels", nets, solver(chance, told, [7]), (1, 3, size, size), classes)
    return made.with_solver("max_iter.*", "") if python and chance.random() < 0.5 else made


def masked(chance: Random) -> Drawing:
    """In the manner of SegNet, whose Caffe has layers of its own."""
    classes, depth = chance.randrange(2, 12), chance.randrange(1, 4)
    parts: list[Part] = []
    bottom = "data"
    for number in range(1, depth + 1):
        name = f"conv{number}"
        parts += [conv(name, bottom, 8), Part("BN", f"{name}_bn", (name,), (name,), "bn_param { bn_mode: LEARN }")]
        window = "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
        parts += [relu(name), Part("Pooling", f"pool{number}", (name,), (f"pool{number}", f"mask{number}"), window)]
        bottom = f"pool{number}"
    for number in range(depth, 0, -1):
        name = f"up{number}"
        parts.append(Part("Upsample", name, (bottom, f"mask{number}"), (name,), "upsample_param { scale: 2 }"))
        parts.append(conv(f"conv{number}_d", name, 8))
        bottom = f"conv{number}_d"
    parts += [conv("score", bottom, classes, 1), Part("SoftmaxWithLoss", "loss", ("score", "label"), ("loss",))]
    source = 'dense_image_data_param { source: "/data/train.txt" batch_size: 4 }'
    data = Part("DenseImageData", "data", (), ("data", "label"), source)
    told = solver(chance, ['net: "train.prototxt"'], [])
    return Drawing("masked", {"train.prototxt": (data, *parts)}, told, classes=classes)
