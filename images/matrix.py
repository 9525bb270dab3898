"""The matrix: what an image can stand on. Flat rows in `matrix.yaml`, exact, each with its source.

An id can be typed and follows from the row (`cpu-debian11`, `cuda11.8-cudnn8.7-ubuntu20.04`). The file is canonical:
sorted by id and formatted as `dump` writes it, so that a change of one fact is a change of one line.
"""

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from infra import border
from infra.errors import UsageError

PATH = Path(__file__).parent / "matrix.yaml"

BaseKind = Literal["cpu", "official", "nvidia-apt", "debian-cuda"]
Status = Literal["listed", "removed", "rebuilt-here"]

_HEAD = """\
# What images can stand on, a row each, sorted by id. Versions are texts: quote them where YAML would see a number.
# Formatted by `python -m images.matrix`; a test holds the file to that.
"""


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row. None stands for "has none" (a cpu row has no CUDA and needs no driver).

    `gcc` is the newest that the CUDA takes; `architectures` are GPU architectures such as sm_70; `driver_min` and
    `driver_last` are branches of NVIDIA's driver; `pins` are exact package versions;
    `source` says where the facts are from.
    """

    id: str
    base: str
    base_kind: BaseKind
    distribution: str
    cuda: str | None
    cudnn: str | None
    nccl: str | None
    gcc: str | None
    architectures: tuple[str, ...]
    driver_min: str | None
    driver_last: str | None
    pins: dict[str, str]
    status: Status
    source: str

    @property
    def expected_id(self) -> str:
        """The id that follows from the row."""
        if self.cuda is None:
            return f"cpu-{self.distribution}"
        cudnn = f"-cudnn{self.cudnn}" if self.cudnn else ""
        return f"cuda{self.cuda}{cudnn}-{self.distribution}"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rows: tuple[Variant, ...]


def load(path: Path = PATH) -> dict[str, Variant]:
    """Rows by id. UsageError with the key path where the file is wrong."""
    rows = border.load_yaml(path, _File).rows
    for number, row in enumerate(rows):
        if row.id != row.expected_id:
            raise UsageError(f"{path}: the id {row.id!r} does not fit its row (at rows[{number}].id)",
                             f"write {row.expected_id}")  # fmt: skip
    found = {row.id: row for row in rows}
    if len(found) != len(rows):
        twice = sorted({row.id for row in rows if [one.id for one in rows].count(row.id) > 1})
        raise UsageError(f"{path}: {', '.join(twice)} is there twice", "keep one of the rows")
    return found


@cache
def rows() -> dict[str, Variant]:
    """The rows of our own matrix, by id."""
    return load()


def dump(variants: dict[str, Variant]) -> str:
    """The canonical text of a matrix file."""
    import yaml

    raw = {"rows": [msgspec.to_builtins(variants[key]) for key in sorted(variants)]}
    return _HEAD + yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)


if __name__ == "__main__":
    PATH.write_text(dump(load()), encoding="utf-8")
