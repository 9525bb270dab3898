"""The matrix: what an image can stand on. Flat rows in `matrix.yaml`, exact, each fact with its source.

An id can be typed and follows from the row (`cpu-debian11`, `cuda11.8-cudnn8.7-ubuntu20.04`). The file is canonical:
sorted by id and formatted as `dump` writes it, so that a change of one fact is a change of one line.

Five kinds of base. `official`: an image of NVIDIA's that is still listed; it brings CUDA, cuDNN and NCCL.
`nvidia-apt`: a plain distribution, onto which NVIDIA's apt repository brings the same; so live on the CUDAs whose
images NVIDIA deleted in 2023. `debian-cuda`: Debian's own CUDA, with cuDNN and NCCL from NVIDIA's wheels.
`torch-wheel`: plain too; a wheel of PyTorch brings all. `cpu`: no CUDA.

NVIDIA deletes its tags half a year after their end. A tag that has come to that date has a twin, of kind `nvidia-apt`
and with its id and `-apt` (`cuda12.4-cudnn9.1-ubuntu22.04-apt`), for when it is gone: the same versions on the plain
distribution. Twins are no rows of the file: they follow from `fallback` of the tag's row.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from images.versions import key
from infra import border
from infra.errors import UsageError

PATH = Path(__file__).parent / "matrix.yaml"

BaseKind = Literal["cpu", "official", "nvidia-apt", "debian-cuda", "torch-wheel"]
Status = Literal["listed", "overdue", "removed", "rebuilt-here"]

BRANDS = ("tesla", "rtx", "geforce")  # of GPUs: for data centres, for workstations, for games

LISTED_ON = "the summer of 2026"  # when the newest list of NVIDIA's tags was read: its newest CUDA is 13.3.1

_WHEELS = re.compile(r"torch|nvidia-(cudnn|nccl)-cu\d+")
_TO_BUILD = re.compile(r"-(dev|headers|minimal-build|nvml)\b")  # packages that programs need to be compiled, not to run
_TAG = re.compile(r"(?:nvidia/cuda:)?(\d+\.\d+(?:\.\d+)?)(?:-cudnn(\d*))?(?:-(?:base|devel|runtime))?-(ubuntu\d+\.\d+)")

_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"

_HEAD = """\
# What images can stand on, a row each, sorted by id. Versions are texts: quote them where YAML would see a number.
# Formatted by `python -m images.matrix`; a test holds the file to that.
"""


class Accepts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which drivers an image of NVIDIA's lets in, as its own NVIDIA_REQUIRE_CUDA says; container runtimes keep to it.

    From the branch `native` on it lets in every one: that branch knows the CUDA itself. Of the older branches it lets
    in those that are named for the brand of the GPU. `compat`: it ships cuda-compat, with which a data-centre GPU runs
    under a driver older than the CUDA's floor. `source` is a key of the file's table, as in the row's `sources`.
    """

    native: str
    tesla: tuple[str, ...] = ()
    rtx: tuple[str, ...] = ()
    geforce: tuple[str, ...] = ()
    compat: bool = False
    source: str


# what a source of `pins` leaves open, in words for who builds on the row
_CAUTIONS = {
    "notree": "not verified: that NVIDIA's packages for this old release of Ubuntu can still be fetched",
    "rpms": "not verified: that NVIDIA's packages for Ubuntu have the very versions of those for Amazon Linux",
    "torchbuild": "not verified: that this wheel holds Caffe2, as its build script says; it was not opened here",
}


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row. None stands for "has none" (a cpu row has no CUDA and needs no driver).

    `base` is what building starts from, `base_runtime` what the image starts from. `cuda` is major.minor, `release`
    all of it. `gcc` is the newest major that the CUDA takes. `architectures` are those of the GPUs that both CUDA and
    cuDNN serve with real code (code for sm_80 serves sm_86 too). `driver_min` is the oldest driver that runs that
    code; `driver_last` is the last branch, where NVIDIA has ended drivers for all of its GPUs. `accepts` is what an
    official base lets in: less than that in some respects, more in others. `pins` are exact versions: of packages to
    install, on an official base of those that it brings; `runtime` names the pins that the image itself needs. `index`
    is where pip finds wheels that are not on the Python package index. `fallback` are the exact packages of NVIDIA's
    repository that bring what an official base does. `trees` names those of NVIDIA's repositories (`cuda`,
    `machine-learning`) that are another release's. `status`: an `overdue` base is listed, but NVIDIA's rules have it
    deleted from the month `deleted_from` on. `twin_of` is the id of the official row that a twin stands in for.
    `sources` says for each fact where it is from: a key of the file's table, or several.
    """

    id: str
    base: str
    base_runtime: str
    base_kind: BaseKind
    trees: dict[str, str] = {}
    distribution: str
    cuda: str | None
    release: str | None
    cudnn: str | None
    nccl: str | None
    gcc: str | None
    architectures: tuple[str, ...]
    driver_min: str | None
    driver_last: str | None
    accepts: Accepts | None = None
    pins: dict[str, str]
    runtime: tuple[str, ...]
    index: str | None = None
    fallback: dict[str, str] = {}
    status: Status
    deleted_from: str | None = None
    sources: dict[str, str]
    twin_of: str | None = None

    @property
    def expected_id(self) -> str:
        """The id that follows from the row."""
        if self.cuda is None:
            return f"cpu-{self.distribution}"
        cudnn = f"-cudnn{self.cudnn}" if self.cudnn else ""
        return f"cuda{self.cuda}{cudnn}-{self.distribution}{'-apt' if self.twin_of else ''}"

    @property
    def twin(self) -> "Variant | None":
        """The row with the same CUDA, cuDNN and NCCL from NVIDIA's packages; None where this row has no `fallback`."""
        if not self.fallback:
            return None
        plain = self.distribution.replace("ubuntu", "ubuntu:")
        kept = {fact: keys for fact, keys in self.sources.items() if fact not in ("fallback", "deleted_from")}
        twin = msgspec.structs.replace(
            self, base=plain, base_runtime=plain, base_kind="nvidia-apt", status="rebuilt-here", twin_of=self.id,
            pins=self.fallback, runtime=tuple(name for name in sorted(self.fallback) if not _TO_BUILD.search(name)),
            accepts=None, fallback={}, deleted_from=None,
            sources=kept | {"base": "ubuntu", "pins": self.sources["fallback"]},
        )  # fmt: skip
        return msgspec.structs.replace(twin, id=twin.expected_id)

    @property
    def flavour(self) -> Literal["cpu", "cuda"]:
        return "cpu" if self.cuda is None else "cuda"

    @property
    def cudnn_release(self) -> str | None:
        """All of the cuDNN's version, such as 8.7.0.84, where a pin tells it; else `cudnn`."""
        pins = [version for name, version in self.pins.items() if re.match(r"(lib|nvidia-)cudnn", name)]
        return pins[0].split("-")[0] if pins else self.cudnn

    @property
    def wheels(self) -> dict[str, str]:
        """The pins that are Python wheels."""
        return {name: version for name, version in self.pins.items() if _WHEELS.fullmatch(name)}

    @property
    def apt_build(self) -> dict[str, str]:
        """What apt installs to build on: all pins that are packages; none on an official base, which has them."""
        if self.base_kind == "official":
            return {}
        return {name: version for name, version in self.pins.items() if name not in self.wheels}

    @property
    def second_base(self) -> str | None:
        """The name of an official base at NVIDIA's own registry, which has the same tags; None: it is not NVIDIA's."""
        return f"nvcr.io/{self.base}" if self.base_kind == "official" else None

    @property
    def caution(self) -> str:
        """Why the base may be gone or unverified; empty where nothing is known against it."""
        if self.status == "overdue":
            return f"NVIDIA listed this base in {LISTED_ON}; by its rules it may be deleted from {self.deleted_from} on"
        doubts = self.sources.get("pins", "").split(" + ")
        return next((said for doubt, said in _CAUTIONS.items() if doubt in doubts), "")

    @property
    def removed_tag(self) -> str | None:
        """The image of NVIDIA's that this row stands in for, which NVIDIA deleted in 2023."""
        if self.base_kind != "nvidia-apt" or self.release is None or key(self.release) >= (11,):
            return None
        return official_tag(self.release, self.cudnn, "devel", self.distribution)


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A matrix file: what the keys of `sources` mean, and the rows."""

    sources: dict[str, str]
    rows: tuple[Variant, ...]


def read(path: Path = PATH) -> File:
    """The file. UsageError with the key path where it is wrong."""
    file = border.load_yaml(path, File)
    for number, row in enumerate(file.rows):
        if row.id != row.expected_id:
            raise UsageError(f"{path}: the id {row.id!r} does not fit its row (at rows[{number}].id)",
                             f"write {row.expected_id}")  # fmt: skip
        cited = {**row.sources, **({"accepts": row.accepts.source} if row.accepts else {})}
        for fact, source in ((fact, source) for fact, keys in cited.items() for source in keys.split(" + ")):
            if source not in file.sources:
                raise UsageError(f"{path}: there is no source {source!r} (at rows[{number}].sources.{fact})",
                                 border.did_you_mean(source, file.sources))  # fmt: skip
    names = [row.id for row in file.rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path}: {', '.join(twice)} is there twice", "keep one of the rows")
    return file


def load(path: Path = PATH) -> dict[str, Variant]:
    """Rows by id, and behind each the twin that it may have."""
    rows = (variant for row in read(path).rows for variant in (row, row.twin) if variant)
    return {row.id: row for row in rows}


@cache
def rows() -> dict[str, Variant]:
    """The rows of our own matrix, by id."""
    return load()


def official_tag(release: str, cudnn: str | None, flavour: str, distribution: str) -> str:
    """The name that NVIDIA gave the image: four grammars in turn, by CUDA.

    Up to 10.2 without a patch number; from 11.0.3 with it, and `cudnn8`; 12.3.2 `cudnn9`; from 12.4.1 just `cudnn`.
    """
    number = release if key(release) >= (11,) else ".".join(release.split(".")[:2])
    major = "" if cudnn is None or key(release) >= (12, 4, 1) else cudnn.split(".")[0]
    return f"nvidia/cuda:{number}{'' if cudnn is None else f'-cudnn{major}'}-{flavour}-{distribution}"


def like_tag(text: str) -> Variant | None:
    """The row for what a user typed as one of NVIDIA's tags (`9.0-cudnn7-devel-ubuntu16.04`): its newest cuDNN."""
    found = _TAG.fullmatch(text)
    if not found:
        return None
    cuda, cudnn, distribution = found.groups()
    near = [
        row
        for row in rows().values()
        if row.distribution == distribution and key(row.cuda or "")[:2] == key(cuda)[:2] and not row.twin_of
        and (not cudnn or (row.cudnn or "").split(".")[0] == cudnn)
    ]  # fmt: skip
    return max(near, key=lambda row: key(row.cudnn or ""), default=None)


def _natural(name: str) -> list[tuple[int, str]]:
    """cuda9.0 before cuda10.0."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


class _Line(dict[str, Any]):
    """A mapping on one line."""


class _Words(list[str]):
    """A list on one line."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Line, lambda dumper, value: dumper.represent_mapping(_MAP, value, flow_style=True))
_Dumper.add_representer(_Words, lambda dumper, value: dumper.represent_sequence(_SEQ, value, flow_style=True))


def dump(file: File) -> str:
    """The canonical text of a matrix file."""
    rows = [_raw(row) for row in sorted(file.rows, key=lambda row: _natural(row.id))]
    raw = {"sources": dict(sorted(file.sources.items())), "rows": rows}
    return _HEAD + yaml.dump(raw, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


_OPTIONAL = {"accepts", "trees", "index", "fallback", "deleted_from", "twin_of"}  # left out where a row has none


def _raw(row: Variant) -> dict[str, Any]:
    raw: dict[str, Any] = msgspec.to_builtins(row)
    raw["architectures"], raw["runtime"] = _Words(row.architectures), _Words(sorted(row.runtime))
    raw["trees"], raw["sources"] = _Line(sorted(row.trees.items())), _Line(sorted(row.sources.items()))
    raw["pins"], raw["fallback"] = dict(sorted(row.pins.items())), dict(sorted(row.fallback.items()))
    raw["accepts"] = row.accepts and _accepts(row.accepts)
    return {name: value for name, value in raw.items() if value or name not in _OPTIONAL}


def _accepts(found: Accepts) -> dict[str, Any]:
    """On one line, without what is empty."""
    brands = {brand: _Words(branches) for brand in BRANDS if (branches := getattr(found, brand))}
    compat = {"compat": True} if found.compat else {}
    return _Line({"native": found.native, **brands, **compat, "source": found.source})


if __name__ == "__main__":
    PATH.write_text(dump(read()), encoding="utf-8")
