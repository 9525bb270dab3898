"""Sound detectors by chance, in the manner of SSD: maps of any number, priors of any kind, training, test and use."""

from dataclasses import dataclass, replace

from tests.corpus.nets import Drawing, Part, Parts, Random, conv, relu, solver

SIDE = 128


@dataclass(frozen=True)
class Map:
    """A map of features: its blob, how many pixels a cell covers, the priors' text and how many a cell has."""

    blob: str
    step: int
    priors: str
    count: int


def _map(chance: Random, blob: str, step: int, least: int) -> Map:
    """Priors by chance; counted here in words of our own: a square of each size, what the ratios add, one between
    each pair of sizes."""
    sizes = sorted(chance.sample(range(least, least + 40), chance.choice([1, 1, 2])))
    ratios = chance.sample([2, 3, 4], chance.randrange(0, 3))
    flip, between = chance.random() < 0.8, chance.random() < 0.6
    text = [f"min_size: {size}" for size in sizes]
    text += [f"max_size: {size + 20}" for size in sizes] if between else []
    text += [f"aspect_ratio: {ratio}" for ratio in ratios]
    text += ["flip: true" if flip else "flip: false"] if not flip or chance.random() < 0.5 else []
    text += ["variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2"] if chance.random() < 0.7 else []
    text += [f"step: {step}"] if chance.random() < 0.5 else []
    shapes = 1 + len(ratios) * (2 if flip else 1)
    return Map(blob, step, " ".join(text), len(sizes) * shapes + (len(sizes) if between else 0))


def detector(chance: Random) -> Drawing:
    classes, maps, body = chance.randrange(2, 22), [], []
    bottom, step = "data", 1
    for number in range(1, 4 + chance.randrange(1, 4)):
        step *= 2
        body += [conv(f"conv{number}", bottom, 8, 3, 2), relu(f"conv{number}")]
        bottom = f"conv{number}"
        if number >= 3:
            maps.append(_map(chance, bottom, step, 10 * number))
    shared = chance.random() < 0.85
    heads = _heads(maps, classes, 1 if shared else classes)
    code = f"num_classes: {classes} share_location: {str(shared).lower()} code_type: CENTER_SIZE"
    mining = "mining_type: MAX_NEGATIVE" if shared else "mining_type: NONE"
    loss = Part("MultiBoxLoss", "mbox_loss", ("mbox_loc", "mbox_conf", "mbox_priorbox", "label"), ("mbox_loss",),
                f"multibox_loss_param {{ {code} {mining} }} propagate_down: true propagate_down: true "
                "propagate_down: false propagate_down: false")  # fmt: skip
    found = _found(classes, code)
    score = Part("DetectionEvaluate", "eval", ("detection_out", "label"), ("eval",),
                 f"detection_evaluate_param {{ num_classes: {classes} }}")  # fmt: skip
    use = Part("Input", "data", (), ("data",), f"input_param {{ shape {{ dim: 1 dim: 3 dim: {SIDE} dim: {SIDE} }} }}")
    scored = (_feed("test", 1), *body, *heads, *found, score)
    nets: dict[str, Parts] = {"train.prototxt": (_feed("train", 8), *body, *heads, loss), "test.prototxt": scored}
    if chance.random() < 0.25:
        last = (replace(part, rule="phase: TEST") if part.type == "DetectionOutput" else part for part in found)
        return Drawing("detector", {"deploy.prototxt": (use, *body, *heads, *last)}, classes=classes)
    told = solver(chance, ['train_net: "train.prototxt"', 'test_net: "test.prototxt"'], [11])
    return Drawing("detector", nets, told, (8, 3, SIDE, SIDE), classes)


def _feed(name: str, batch: int) -> Part:
    resize = f"resize_param {{ prob: 1 resize_mode: WARP height: {SIDE} width: {SIDE} }}"
    source = f'data_param {{ source: "/data/{name}_lmdb" batch_size: {batch} backend: LMDB }}'
    phase = "TRAIN" if name == "train" else "TEST"
    return Part("AnnotatedData", "data", (), ("data", "label"),
                f"transform_param {{ mean_value: 104 mean_value: 117 mean_value: 123 {resize} }} {source}",
                f"phase: {phase}")  # fmt: skip


def _heads(maps: list[Map], classes: int, places: int) -> Parts:
    parts: list[Part] = []
    for one in maps:
        for kind, outputs in (("loc", one.count * 4 * places), ("conf", one.count * classes)):
            name = f"{one.blob}_mbox_{kind}"
            order = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
            parts.append(conv(name, one.blob, outputs))
            parts.append(Part("Permute", f"{name}_perm", (name,), (f"{name}_perm",), order))
            parts.append(
                Part("Flatten", f"{name}_flat", (f"{name}_perm",), (f"{name}_flat",), "flatten_param { axis: 1 }")
            )
        name = f"{one.blob}_mbox_priorbox"
        parts.append(Part("PriorBox", name, (one.blob, "data"), (name,), f"prior_box_param {{ {one.priors} }}"))
    for kind, axis in (("loc", 1), ("conf", 1), ("priorbox", 2)):
        end = "" if kind == "priorbox" else "_flat"
        bottoms = tuple(f"{one.blob}_mbox_{kind}{end}" for one in maps)
        parts.append(Part("Concat", f"mbox_{kind}", bottoms, (f"mbox_{kind}",), f"concat_param {{ axis: {axis} }}"))
    return tuple(parts)


def _found(classes: int, code: str) -> Parts:
    dims = f"reshape_param {{ shape {{ dim: 0 dim: -1 dim: {classes} }} }}"
    rest = "background_label_id: 0 nms_param { nms_threshold: 0.45 top_k: 400 } keep_top_k: 200"
    return (
        Part("Reshape", "conf_reshape", ("mbox_conf",), ("conf_reshape",), dims),
        Part("Softmax", "conf_softmax", ("conf_reshape",), ("conf_softmax",), "softmax_param { axis: 2 }"),
        Part("Flatten", "conf_flatten", ("conf_softmax",), ("conf_flatten",), "flatten_param { axis: 1 }"),
        Part("DetectionOutput", "detection_out", ("mbox_loc", "conf_flatten", "mbox_priorbox"), ("detection_out",),
             f"detection_output_param {{ {code} {rest} }}"),
    )  # fmt: skip
