"""What an output of a net is: a loss, a score, or another number.

Caffe prints `(* w = … loss)` behind each output that has a loss weight and behind no other (Solver::Step and
Solver::Test in solver.cpp): that decides, and names do not. `loss3/top-1` is a score. Only where a log tells no weight
at all (Caffe of 2014, Detectron, lines that some other program wrote) the last part of a name does.
"""

import re
from collections.abc import Iterable
from typing import Literal

Kind = Literal["loss", "score", "measure"]

_RIGHT = ("accuracy", "acc", "top1", "top-1", "top_1", "accuracy@1", "acc@1", "prec@1", "precision@1")
_RAISED = (
    "top", "map", "ap", "miou", "iou", "iu", "miu", "eval", "recall", "precision", "prec", "dice", "auc", "hit",
    "score",
)  # fmt: skip
_MEANS = ("map", "ap", "miou", "iou", "mean_iou", "mean_iu", "detection_eval")


def kind(name: str, weight: float | None, low: float, high: float, *, weights_told: bool) -> Kind:
    """What an output is, by its loss weight and its lowest and highest value: a score lies in [0, 1], any other number
    is a measure. `weights_told`: the log has loss weights, so that an output without one is no loss."""
    if weight is not None or (not weights_told and named_loss(name)):
        return "loss"
    return "score" if low >= 0 and high <= 1 else "measure"


def named_loss(name: str) -> bool:
    """Whether a name says loss: its last part does (`loss1/accuracy` is a layer's of the head `loss1`)."""
    return "loss" in name.rpartition("/")[2].lower()


def main_score(names: Iterable[str]) -> str:
    """The score that stands for the training, of some in their order: one that counts right answers (of a net with
    several heads the whole net's, else the last head's), else the last that has accuracy in its name, else the first
    mean over classes (mAP, IoU), else the first; "" of none."""
    all_names = list(names)
    exact = [name for name in all_names if name.rpartition("/")[2].lower() in _RIGHT]
    whole = [name for name in exact if "/" not in name]
    like = [name for name in all_names if "accuracy" in name.lower()]
    if last := whole or exact or like:
        return last[-1]
    means = [name for name in all_names if re.split("[/ ]", name)[-1].lower() in _MEANS]
    return (means or all_names or [""])[0]


def is_better_high(name: str) -> bool:
    """Whether a score is one that a net raises as it learns: accuracy, a mean over classes, recall and their like.
    Other numbers in [0, 1] may be an error's rate, or a count that is 0 where all is well."""
    words = re.split(r"[^a-z]+", name.lower())
    return is_accuracy(name) or (any(word in _RAISED for word in words) and not {"err", "error", "errors"} & {*words})


def is_accuracy(name: str) -> bool:
    """Whether a score may be called accuracy: the share of right answers."""
    return name.rpartition("/")[2].lower() in _RIGHT or "accuracy" in name.lower()
