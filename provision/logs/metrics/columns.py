"""Ultralytics' tables in a log (YOLOv5 to YOLO11): names in a line, and below it an epoch's numbers before a bar; then
the validation's names, and below those its numbers of all classes.

         Epoch    GPU_mem   box_loss   cls_loss  Instances       Size
           1/3      2.87G      1.175      1.312         15        640: 100%|██████████| 4/4 [00:01<00:00, 2.3it/s]
                     Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|██████████| 2/2 …
                       all        128        929       0.64      0.537      0.605      0.446

(ultralytics/engine/trainer.py: progress_string; models/yolo/detect/val.py: get_desc, print_results.)
"""

import re

from provision.logs.metrics.pairs import LOOKED_AT
from provision.logs.metrics.told import Told, of_pairs

_HEADER = re.compile(r"\s*Epoch\s+(?P<names>(?:gpu|GPU)_mem(?:\s+[A-Za-z]\w*){2,20})\s*")
_ROW = re.compile(
    r"\s*(?P<epoch>\d{1,9})/(?P<epochs>\d{1,9})\s+(?P<cells>[\d.]+[GMK]?B?(?:\s+[-+\w.]+){2,20}): {0,8}\d{1,3}%"
    r"[^\d]{1,300}(?P<step>\d{1,9})/(?P<steps>\d{1,9})"
)
_CLASSES = re.compile(r"\s*Class\s+Images\s+(?P<names>[A-Z]\w*(?:\s+[\w@.():-]+){2,12}?)\s*(?:: {0,8}\d{1,3}%.*)?")
_ALL = re.compile(r"\s*all\s+\d+\s+(?P<cells>\d+(?:\s+[-+\w.]+){2,12})\s*")


class Columns:
    """Reads such lines, in order."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._scores: list[str] = []

    def read(self, line: str) -> Told | None:
        """What a line tells; None where it is none of these, or a header."""
        line = line[:LOOKED_AT]
        if "_mem" in line and (header := _HEADER.fullmatch(line)):
            self._names = header["names"].split()
        elif " Class " in line and (header := _CLASSES.fullmatch(line)):
            self._scores = [re.sub(r"\W*\(|\)", " ", name).split()[-1] for name in header["names"].split()]
        elif self._names and (row := _ROW.match(line)):
            return Told(
                "columns", _values(self._names, row["cells"]), float(row["step"]), float(row["steps"]),
                float(row["epoch"]), float(row["epochs"]), within=True, base=1, redrawn=True,
            )  # fmt: skip
        elif self._scores and (row := _ALL.fullmatch(line)):
            return Told("columns", _values(self._scores, row["cells"]), whose="val")
        return None


def _values(names: list[str], row: str) -> dict[str, float]:
    """The metrics of a row; none where it has other columns than its header."""
    cells = row.split()
    if len(cells) != len(names):
        return {}
    pairs = []
    for name, cell in zip(names, cells, strict=True):
        try:
            pairs.append((name, float(cell)))
        except ValueError:
            continue
    return dict(of_pairs("columns", pairs, others=True).values)
