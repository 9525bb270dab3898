"""Faults that are put into sound nets and solvers, each with the rule and a word by which `net lint` has to find it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.corpus.nets import Drawing, Part, Random


@dataclass(frozen=True)
class Faulty:
    """A drawing with one fault; the rule that finds it, and what its words must have."""

    drawing: Drawing
    rule: str
    word: str


Fault = Callable[[Random, Drawing], Faulty | None]


def _places(drawing: Drawing, fits: Callable[[Part], bool]) -> list[tuple[str, int, Part]]:
    """The layers that fit, of those that are built."""
    return [
        (file, at, part) for file, parts in drawing.nets.items() for at, part in enumerate(parts)
        if fits(part) and not (file == "train.prototxt" and "TEST" in part.rule)
        and not (drawing.solver and "deploy" in part.rule)
    ]  # fmt: skip


def _one(
    chance: Random, drawing: Drawing, fits: Callable[[Part], bool], change: Callable[[Part], Part | None], rule: str,
    word: Callable[[Part], str] = lambda part: part.name,
) -> Faulty | None:  # fmt: skip
    """One layer that fits is changed."""
    places = _places(drawing, fits)
    if not places:
        return None
    file, at, part = chance.choice(places)
    return Faulty(drawing.with_part(file, at, change(part)), rule, word(part))


def _params(old: str, new: Callable[[str], str] | str) -> Callable[[Part], Part]:
    def change(part: Part) -> Part:
        made = re.sub(old, new if isinstance(new, str) else lambda found: new(found[1]), part.params, count=1)
        assert made != part.params, part
        return replace(part, params=made)

    return change


def _is(*kinds: str, having: str = "") -> Callable[[Part], bool]:
    return lambda part: part.type in kinds and re.search(having, part.params) is not None


def slip_in_bottom(chance: Random, drawing: Drawing) -> Faulty | None:
    def change(part: Part) -> Part:
        return replace(part, bottoms=(f"{part.bottoms[0]}_x", *part.bottoms[1:]))

    def fits(part: Part) -> bool:
        return bool(part.bottoms)

    return _one(chance, drawing, fits, change, "bottom", lambda part: f"{part.bottoms[0]}_x")


def made_twice(chance: Random, drawing: Drawing) -> Faulty | None:
    def fits(part: Part) -> bool:
        return part.type == "Convolution" and "data" not in part.bottoms

    return _one(chance, drawing, fits, lambda part: replace(part, tops=("data",)), "top")


def unknown_type(chance: Random, drawing: Drawing) -> Faulty | None:
    kinds = _is("Convolution", "Pooling", "ReLU")
    return _one(
        chance, drawing, kinds, lambda part: replace(part, type=f"{part.type}z"), "type", lambda part: f"{part.type}z"
    )


def placeholder(chance: Random, drawing: Drawing) -> Faulty | None:
    def fits(part: Part) -> bool:
        return "/data/" in part.params

    return _one(chance, drawing, fits, _params("/data/", "${ROOT}/"), "placeholder", lambda part: "${ROOT}")


def large_kernel(chance: Random, drawing: Drawing) -> Faulty | None:
    if drawing.kind == "masked":  # its Caffe is not known here to the last
        return None
    return _one(chance, drawing, _is("Convolution"), _params(r"kernel_size: \d+", "kernel_size: 999"), "shape")


def one_name(chance: Random, drawing: Drawing) -> Faulty | None:
    file, parts = chance.choice(list(drawing.nets.items()))
    learned = [at for at, part in enumerate(parts) if part.type in ("Convolution", "InnerProduct")]
    if len(learned) < 2:
        return None
    first, second = sorted(chance.sample(learned, 2))
    return Faulty(
        drawing.with_part(file, second, replace(parts[second], name=parts[first].name)), "name", parts[first].name
    )


def in_place(chance: Random, drawing: Drawing) -> Faulty | None:
    places = _is("Convolution", "Pooling")
    return _one(chance, drawing, places, lambda part: replace(part, tops=part.bottoms), "in-place")


def global_stats(chance: Random, drawing: Drawing) -> Faulty | None:
    change = _params("$", " batch_norm_param { use_global_stats: false }")
    tested = replace(drawing, nets={file: parts for file, parts in drawing.nets.items() if file != "train.prototxt"})
    faulty = _one(chance, tested, _is("BatchNorm"), change, "norm", lambda part: "in TEST")
    return faulty and replace(faulty, drawing=replace(drawing, nets={**drawing.nets, **faulty.drawing.nets}))


def no_loss(chance: Random, drawing: Drawing) -> Faulty | None:
    if not drawing.solver or drawing.kind == "staged":
        return None
    file = next(iter(drawing.nets))
    at = next(at for at, part in enumerate(drawing.nets[file]) if part.type in ("SoftmaxWithLoss", "MultiBoxLoss"))
    return Faulty(drawing.with_part(file, at, None), "loss", "no layer of the training is a loss")


def no_test_data(chance: Random, drawing: Drawing) -> Faulty | None:
    if len(drawing.nets) < 2:
        return None
    file = list(drawing.nets)[1]
    if sum(not part.bottoms for part in drawing.nets[file]) != 1:
        return None
    at = next(at for at, part in enumerate(drawing.nets[file]) if not part.bottoms)
    return Faulty(drawing.with_part(file, at, None), "phase", "no layer gives data in TEST")


def tests_what_it_trains(chance: Random, drawing: Drawing) -> Faulty | None:
    if drawing.kind not in ("plain", "residual", "detector") or not drawing.solver:
        return None
    change = _params(r"/data/(val|test)_lmdb", "/data/train_lmdb")
    return _one(chance, drawing, _is("Data", "AnnotatedData", having="/data/(val|test)_"), change, "phase")


def far_top_k(chance: Random, drawing: Drawing) -> Faulty | None:
    change = _params(r"top_k: \d+", f"top_k: {drawing.classes + 1}")
    return _one(chance, drawing, _is("Accuracy", having="top_k"), change, "label", lambda part: "top_k")


def loud_test(chance: Random, drawing: Drawing) -> Faulty | None:
    if drawing.kind != "pixels":
        return None
    file = "val.prototxt"
    loud = Part("Softmax", "shown", ("score",), ("shown",))
    made = replace(drawing, nets={**drawing.nets, file: (*drawing.nets[file], loud)})
    return Faulty(made, "output", "shown is an output of the test")


def both_styles(chance: Random, drawing: Drawing) -> Faulty | None:
    if drawing.old or "net.prototxt" not in drawing.nets:
        return None
    old = 'layers { name: "quiet" type: SILENCE bottom: "data" }\n'
    return Faulty(
        replace(drawing, heads={"net.prototxt": drawing.heads.get("net.prototxt", "") + old}), "style", "mixed"
    )


# of detectors


def _more(text: str) -> str:
    return f"num_output: {int(text) + 1}"


def wrong_places(chance: Random, drawing: Drawing) -> Faulty | None:
    def fits(part: Part) -> bool:
        return part.type == "Convolution" and part.name.endswith("mbox_loc")

    return _one(chance, drawing, fits, _params(r"num_output: (\d+)", _more), "ssd")


def wrong_classes(chance: Random, drawing: Drawing) -> Faulty | None:
    def fits(part: Part) -> bool:
        return part.type == "Convolution" and part.name.endswith("mbox_conf")

    return _one(chance, drawing, fits, _params(r"num_output: (\d+)", _more), "ssd", lambda part: "mbox_conf")


def other_classes(chance: Random, drawing: Drawing) -> Faulty | None:
    change = _params(r"num_classes: \d+", f"num_classes: {drawing.classes + chance.choice([-1, 1, 60])}")
    return _one(chance, drawing, _is("MultiBoxLoss", "DetectionOutput", "DetectionEvaluate"), change, "ssd")


def _joined(part: Part) -> bool:
    return part.type == "Concat" and part.name in ("mbox_loc", "mbox_conf") and len(part.bottoms) > 1


def out_of_order(chance: Random, drawing: Drawing) -> Faulty | None:
    return _one(chance, drawing, _joined, lambda part: replace(part, bottoms=part.bottoms[::-1]), "ssd")


def map_left_out(chance: Random, drawing: Drawing) -> Faulty | None:
    return _one(chance, drawing, _joined, lambda part: replace(part, bottoms=part.bottoms[1:]), "ssd")


def channels_first(chance: Random, drawing: Drawing) -> Faulty | None:
    change = _params("order: 2 order: 3 order: 1", "order: 1 order: 2 order: 3")
    return _one(chance, drawing, _is("Permute"), change, "ssd", lambda part: part.name.removesuffix("_perm"))


def no_larger_size(chance: Random, drawing: Drawing) -> Faulty | None:
    return _one(chance, drawing, _is("PriorBox", having="max_size"), _params(r"max_size: \d+", "max_size: 1"), "ssd")


def wide_step(chance: Random, drawing: Drawing) -> Faulty | None:
    change = _params(r"step: (\d+)", lambda text: f"step: {int(text) * 4}")
    return _one(chance, drawing, _is("PriorBox", having=r"step: ([248]|16)\b"), change, "ssd")


def other_code(chance: Random, drawing: Drawing) -> Faulty | None:
    if not drawing.solver:
        return None
    change = _params("code_type: CENTER_SIZE", "code_type: CORNER")
    return _one(chance, drawing, _is("MultiBoxLoss", "DetectionOutput"), change, "ssd", lambda part: "code_type")


# of solvers

_SOLVERS: tuple[tuple[str, str, str, str, str], ...] = (  # a name; what is changed, into what; rule and word
    ("type in capitals", r'^type: "(\w+)"', r'type: "X\1"', "solver", "type is 'X"),
    ("enum of a type", r"solver_type: \w+", "solver_type: LBFGS", "solver", "LBFGS"),
    ("slip in the policy", r'lr_policy: "(\w+)"', r'lr_policy: "\1y"', "policy", "lr_policy"),
    ("no gamma", r"^gamma.*", "", "policy", "gamma"),
    ("no stepsize", r"^stepsize.*", "", "policy", "stepsize"),
    ("no stepvalue", r"(?s)^stepvalue.*", "", "policy", "stepvalue"),
    ("no power", r"^power.*", "", "policy", "power"),
    ("no policy", r"^lr_policy.*", "", "policy", "lr_policy is not given"),
    ("no rate", r"^base_lr.*", "", "number", "base_lr"),
    ("no end", r"^max_iter.*", "", "number", "max_iter is not given"),
    ("early end", r"^max_iter.*", "max_iter: 1", "snapshot|policy", "max_iter 1"),
    ("no interval", r"^test_interval.*", "", "test", "test_iter without test_interval"),
    ("a test more", r"^(test_iter: 7|test_iter: 11)$", r"\1 test_iter: 3", "test", "2 test_iter for 1 test nets"),
    ("no snapshot", r"^snapshot:.*", "", "snapshot", "no snapshot"),
    ("no net", r'^(net|train_net): ".*"', r'\1: "gone.prototxt"', "net", "gone.prototxt is not there"),
    ("two nets", r'^(train_net: ".*")', r'\1 net: "train.prototxt"', "net", "both name a net"),
    ("a state less", r'^test_state { stage: "val" }\n(test_state)', r"\1", "test", "1 test_state for 2 test_iter"),
    ("momentum", r"^rms_decay.*", "momentum: 0.9", "solver", "RMSProp with momentum"),
)


def of_solvers(drawing: Drawing) -> Iterator[tuple[str, Faulty]]:
    """Every fault that the drawing's solver can have."""
    steps = any(line.startswith("max_iter") for line in drawing.solver)
    for name, old, new, rule, word in _SOLVERS:
        if name == "no snapshot" and not steps:
            continue  # a Python program saves
        made = drawing.with_solver(old, new)
        if made.solver != drawing.solver:
            yield name, Faulty(made, rule, word)


def no_whole_number(chance: Random, drawing: Drawing) -> Faulty | None:
    change = _params(r"num_output: (\d+)", lambda found: f"num_output: {found}.0")
    return _one(chance, drawing, _is("Convolution", "InnerProduct", having=r"num_output: \d+"), change, "field",
                lambda part: "no whole number")  # fmt: skip


def two_bottoms(chance: Random, drawing: Drawing) -> Faulty | None:
    def change(part: Part) -> Part:
        return replace(part, bottoms=(*part.bottoms, part.bottoms[0]))

    return _one(chance, drawing, _is("InnerProduct", "ReLU", "Pooling", "LRN"), change, "shape")


FAULTS: tuple[Fault, ...] = (
    slip_in_bottom, made_twice, unknown_type, placeholder, large_kernel, one_name, in_place, global_stats, no_loss,
    no_test_data, tests_what_it_trains, far_top_k, loud_test, both_styles, wrong_places, wrong_classes, other_classes,
    out_of_order, map_left_out, channels_first, no_larger_size, wide_step, other_code,
    no_whole_number, two_bottoms,
)  # fmt: skip
