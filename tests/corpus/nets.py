"""Nets and solvers made by chance, sound by how they are made: what `net lint` says of them is known beforehand.

A drawing is a folder of files: a solver with its nets, or a net alone. `KINDS` are the makers: plain nets in today's
and in 2014's style, residual ones, nets for pixels in the manner of FCN and of SegNet, detectors in the manner of SSD,
nets of stages as DIGITS writes them, nets for use.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

Random = random.Random


@dataclass(frozen=True)
class Part:
    """A layer: its type, name, blobs, the text of its parameters and of its rule."""

    type: str
    name: str
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    params: str = ""
    rule: str = ""

    def text(self) -> str:
        blobs = [f'bottom: "{name}"' for name in self.bottoms] + [f'top: "{name}"' for name in self.tops]
        rule = f"include {{ {self.rule} }}" if self.rule else ""
        return f'layer {{\n  name: "{self.name}" type: "{self.type}" {" ".join(blobs)}\n  {self.params} {rule}\n}}\n'

    def old_text(self) -> str:
        """As the files of 2014 have it."""
        word = _OLD.get(self.type) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.type).upper()
        return self.text().replace("layer {", "layers {").replace(f'type: "{self.type}"', f"type: {word}")


_OLD = {"ReLU": "RELU", "SoftmaxWithLoss": "SOFTMAX_LOSS", "LRN": "LRN"}
Parts = tuple[Part, ...]


@dataclass(frozen=True)
class Drawing:
    """A sound folder. `nets` by the names of their files, `solver` the fields of solver.prototxt (none: a net alone),
    `pictures` the shape of data, `classes` what is told apart."""

    kind: str
    nets: dict[str, Parts]
    solver: tuple[str, ...] = ()
    pictures: tuple[int, ...] = (4, 3, 64, 64)
    classes: int = 0
    old: bool = False
    heads: dict[str, str] = field(default_factory=dict)

    @property
    def main(self) -> str:
        return "solver.prototxt" if self.solver else next(iter(self.nets))

    def files(self) -> dict[str, str]:
        found = {}
        for name, parts in self.nets.items():
            layers = (part.old_text() if self.old else part.text() for part in parts)
            found[name] = self.heads.get(name, "") + "".join(layers)
        return {**found, "solver.prototxt": "\n".join(self.solver)} if self.solver else found

    def with_part(self, file: str, at: int, part: Part | None) -> "Drawing":
        """With one layer changed, or taken out."""
        parts = self.nets[file]
        new = (*parts[:at], *(() if part is None else (part,)), *parts[at + 1 :])
        return replace(self, nets={**self.nets, file: new})

    def with_solver(self, old: str, new: str) -> "Drawing":
        """With those of the solver's fields changed that the expression finds."""
        fields = [re.sub(old, new, line) for line in self.solver]
        return replace(self, solver=tuple(line for line in fields if line))


def solver(chance: Random, nets: Sequence[str], rounds: Sequence[int], states: Sequence[str] = ()) -> tuple[str, ...]:
    """A solver for these nets: any type, with what its policy needs, and what it takes."""
    last = chance.randrange(100, 100_000)
    policy, needs = chance.choice(
        [
            ("fixed", []), ("step", ["gamma: 0.1", f"stepsize: {last // 3 + 1}"]), ("exp", ["gamma: 0.99"]),
            ("inv", ["gamma: 0.0001", "power: 0.75"]), ("poly", ["power: 0.9"]),
            ("multistep", ["gamma: 0.1", f"stepvalue: {last // 3}\nstepvalue: {last // 2}"]),
            ("sigmoid", ["gamma: 0.01", f"stepsize: {last // 2}"]),
        ]
    )  # fmt: skip
    kind = chance.choice(["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", ""])
    more = [] if kind in ("AdaGrad", "RMSProp") else ["momentum: 0.9"]
    more += ["rms_decay: 0.98"] if kind == "RMSProp" else []
    if kind:
        more.append(f'type: "{kind}"' if chance.random() < 0.7 else f"solver_type: {kind.upper()}")
    tests = [f"test_iter: {count}" for count in rounds]
    tests += [f"test_interval: {chance.randrange(1, last)}"] if rounds else []
    fields = [
        *nets, *tests, *states, "base_lr: 0.01", f'lr_policy: "{policy}"', *needs, f"max_iter: {last}",
        f"snapshot: {chance.randrange(1, last)}", 'snapshot_prefix: "run"', f"display: {chance.choice([0, 20])}", *more,
    ]  # fmt: skip
    chance.shuffle(fields)
    return tuple(fields)


def database(name: str, rule: str, batch: int, tops: Sequence[str] = ("data", "label"), side: int = 0) -> Part:
    transform = f"transform_param {{ crop_size: {side} }}" if side else ""
    source = f'{transform} data_param {{ source: "/data/{name}_lmdb" batch_size: {batch} backend: LMDB }}'
    return Part("Data", tops[0], (), tuple(tops), source, rule)


def conv(name: str, bottom: str, outputs: int, kernel: int = 3, stride: int = 1, more: str = "") -> Part:
    sizes = f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {kernel // 2} {more}"
    return Part("Convolution", name, (bottom,), (name,), f"convolution_param {{ {sizes} }}")


def relu(blob: str) -> Part:
    return Part("ReLU", f"relu_{blob}", (blob,), (blob,))


def dense(name: str, bottom: str, outputs: int) -> Part:
    return Part("InnerProduct", name, (bottom,), (name,), f"inner_product_param {{ num_output: {outputs} }}")


def pool(name: str, bottom: str, how: str = "MAX") -> Part:
    return Part("Pooling", name, (bottom,), (name,), f"pooling_param {{ pool: {how} kernel_size: 2 stride: 2 }}")


def norm(blob: str) -> Parts:
    scale = "scale_param { bias_term: true }"
    return (Part("BatchNorm", f"bn_{blob}", (blob,), (blob,)), Part("Scale", f"scale_{blob}", (blob,), (blob,), scale))


def plain_body(chance: Random, bottom: str = "data") -> tuple[Parts, str]:
    """Convolutions with what often stands behind them; the result: the layers, and their last blob."""
    parts: list[Part] = []
    for number in range(1, chance.randrange(2, 6)):
        name = f"conv{number}"
        parts += [conv(name, bottom, chance.choice([8, 16, 24]), chance.choice([1, 3, 5])), relu(name)]
        bottom = name
        if chance.random() < 0.3:
            size = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
            parts.append(Part("LRN", f"norm{number}", (bottom,), (f"norm{number}",), size))
            bottom = f"norm{number}"
        if number <= 3 and chance.random() < 0.6:
            parts.append(pool(f"pool{number}", bottom))
            bottom = f"pool{number}"
    if chance.random() < 0.5:
        parts += [dense("fc", bottom, 32), relu("fc"), Part("Dropout", "drop", ("fc",), ("fc",))]
        bottom = "fc"
    return tuple(parts), bottom


def residual_body(chance: Random, bottom: str = "data") -> tuple[Parts, str]:
    parts: list[Part] = [conv("stem", bottom, 16, more="bias_term: false"), *norm("stem"), relu("stem")]
    bottom = "stem"
    for number in range(1, chance.randrange(2, 5)):
        first, second, side, out = (f"res{number}{end}" for end in ("a", "b", "c", ""))
        stride = chance.choice([1, 2])
        parts += [conv(first, bottom, 16, 3, stride, "bias_term: false"), *norm(first), relu(first)]
        parts += [conv(second, first, 16, 3, 1, "bias_term: false"), *norm(second)]
        if stride == 2:
            parts += [conv(side, bottom, 16, 1, 2, "bias_term: false"), *norm(side)]
        parts += [Part("Eltwise", out, (side if stride == 2 else bottom, second), (out,)), relu(out)]
        bottom = out
    mean = "pooling_param { pool: AVE global_pooling: true }"
    return (*parts, Part("Pooling", "mean", (bottom,), ("mean",), mean)), "mean"


def judged(chance: Random, score: str, classes: int, accuracy: str = "phase: TEST") -> Parts:
    """Accuracy in the test, or (by chance) in both phases; the loss."""
    top = f"accuracy_param {{ top_k: {chance.randrange(1, classes + 1)} }}" if chance.random() < 0.4 else ""
    rule = "" if chance.random() < 0.3 else accuracy
    return (
        Part("Accuracy", "accuracy", (score, "label"), ("accuracy",), top, rule),
        Part("SoftmaxWithLoss", "loss", (score, "label"), ("loss",)),
    )


def plain(chance: Random, body: Callable[..., tuple[Parts, str]] = plain_body, kind: str = "plain") -> Drawing:
    """One file for both phases; or one for each."""
    classes = chance.randrange(2, 12)
    layers, last = body(chance)
    both = (*layers, dense("score", last, classes), *judged(chance, "score", classes))
    batch = chance.choice([1, 4, 16])
    feeds = {phase: database(name, f"phase: {phase}", batch) for name, phase in (("train", "TRAIN"), ("val", "TEST"))}
    pictures, old = (batch, 3, 64, 64), kind == "plain" and chance.random() < 0.3
    if chance.random() < 0.6:
        nets: dict[str, Parts] = {"net.prototxt": (*feeds.values(), *both)}
        told, rounds = ['net: "net.prototxt"'], [chance.randrange(1, 50)]
    else:
        rules = chance.random() < 0.5  # in a file of its own a layer needs no rule
        nets = {
            "train.prototxt": (replace(feeds["TRAIN"], rule=feeds["TRAIN"].rule if rules else ""), *both),
            "test.prototxt": (replace(feeds["TEST"], rule=feeds["TEST"].rule if rules else ""), *both),
        }
        told, rounds = ['train_net: "train.prototxt"', 'test_net: "test.prototxt"'], [chance.randrange(1, 50)]
    return Drawing(kind, nets, solver(chance, told, rounds), pictures, classes, old)


def residual(chance: Random) -> Drawing:
    return plain(chance, residual_body, "residual")


def staged(chance: Random) -> Drawing:
    """Stages as DIGITS has them, in one file with its net for use; with a solver, or alone."""
    classes = chance.randrange(2, 12)
    layers, last = plain_body(chance)
    shape = "input_param { shape { dim: 1 dim: 3 dim: 64 dim: 64 } }"
    net = (
        database("train", 'stage: "train"', 4), database("val", 'stage: "val"', 4),
        Part("Input", "data", (), ("data",), shape, 'stage: "deploy"'), *layers, dense("score", last, classes),
        Part("Accuracy", "accuracy", ("score", "label"), ("accuracy",), "", 'stage: "val"'),
        Part("SoftmaxWithLoss", "loss", ("score", "label"), ("loss",), "", 'not_stage: "deploy"'),
        Part("Softmax", "prob", ("score",), ("prob",), "", 'stage: "deploy"'),
    )  # fmt: skip
    more = chance.random() < 0.4
    if more:
        net = (net[0], database("other", 'stage: "other"', 4), *net[1:])
        accuracy = next(at for at, part in enumerate(net) if part.type == "Accuracy")
        net = (
            *net[:accuracy],
            replace(net[accuracy], rule='stage: "val" } include { stage: "other"'),
            *net[accuracy + 1 :],
        )
    tests = ["val", "other"] if more else ["val"]
    states = [*(f'test_state {{ stage: "{name}" }}' for name in tests), 'train_state { stage: "train" }']
    told = solver(chance, ['net: "net.prototxt"', "\n".join(states)], [5] * len(tests))
    return Drawing("staged", {"net.prototxt": net}, told if chance.random() < 0.8 else (), classes=classes)


def deploy(chance: Random) -> Drawing:
    """For use: filled from outside, by a layer or by `input`; its last layers may be for TEST alone."""
    layers, last = (residual_body if chance.random() < 0.5 else plain_body)(chance)
    rule = chance.choice(["", "phase: TEST"])
    biased = tuple(replace(part, params=part.params.replace("bias_term: false", "")) for part in layers)
    net = (*biased, dense("score", last, 10), Part("Softmax", "prob", ("score",), ("prob",), "", rule))
    if chance.random() < 0.5:
        shape = "input_param { shape { dim: 1 dim: 3 dim: 64 dim: 64 } }"
        return Drawing("deploy", {"net.prototxt": (Part("Input", "data", (), ("data",), shape), *net)})
    dims = "".join(f"input_dim: {dim}\n" for dim in (1, 3, 64, 64))
    return Drawing("deploy", {"net.prototxt": net}, heads={"net.prototxt": f'input: "data"\n{dims}'})
