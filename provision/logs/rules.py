"""What one line of a log tells: the rules of causes/*.yaml, in the order in which they are asked.

A line belongs to the first rule that knows it, so what is special stands before what is general.
"""

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from infra.border import load_yaml

FOLDER = Path(__file__).with_name("causes")
# the files and what they are about, in the order in which their rules are asked
FILES = {
    "containers": "Containers",
    "gpu": "GPUs, CUDA, cuDNN, NCCL",
    "machine": "Memory, disks, handles, rights",
    "libraries": "Libraries and programs",
    "databases": "LMDB, LevelDB, HDF5",
    "frameworks": "PyTorch, TensorFlow, Keras, JAX",
    "detectron": "Caffe2 and Detectron",
    "nets": "Nets, solvers, weights",
    "data": "Data, labels, means",
    "shapes": "Shapes",
    "python": "Python",
    "ends": "Ends, seen from outside",
}
Kind = Literal["cause", "clue", "divergence", "crash", "killed", "abort"]


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A known failure: a line that has one of the texts `find` and matches `match` means `what`.

    `codes`: CUDA's numbers of the error, before 10.1 and since. `kind`: see `provision.logs.ranking`. `info`: the line
    may be one of glog's that only inform; no other rule looks at those. `after_end`: the line counts only behind the
    training's own word that it is done.
    """

    name: str
    find: tuple[str, ...]
    match: str = ""
    codes: tuple[int, ...] = ()
    kind: Kind = "cause"
    info: bool = False
    after_end: bool = False
    what: str
    why: str
    mends: tuple[str, ...]
    see: str = ""


class Benign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that looks bad and is not."""

    find: str
    what: str


class _Failures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    failures: tuple[Known, ...]


class _Benign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    benign: tuple[Benign, ...]


@cache
def of_file(name: str) -> tuple[Known, ...]:
    """The rules of one file of the folder."""
    return load_yaml(FOLDER / f"{name}.yaml", _Failures).failures


@cache
def rules() -> tuple[Known, ...]:
    """All rules, in the order in which they are asked."""
    return tuple(rule for name in FILES for rule in of_file(name))


@cache
def by_name() -> dict[str, Known]:
    return {rule.name: rule for rule in rules()}


@cache
def benign() -> tuple[Benign, ...]:
    """What looks bad and is not."""
    return load_yaml(FOLDER / "benign.yaml", _Benign).benign
