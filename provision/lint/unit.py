"""What `provision data check` looks at: a database or list with what a net's data layer says of it."""

from pathlib import Path

import msgspec

from provision.lint.scan import Scan


class DataLayer(msgspec.Struct, frozen=True):
    """What a data layer says. `backend` is that of its database (Caffe's default is LEVELDB); `mean_file` where it was
    found, `mean_named` as the net writes it. `labels` is the layer of the label pictures. `resized`: SSD's resize_param
    makes all pictures alike."""

    name: str
    backend: str
    force_color: bool = False
    force_gray: bool = False
    resized: bool = False
    mean_values: int = 0
    mean_file: Path | None = None
    mean_named: str = ""
    labels: "DataLayer | None" = None


class Unit(msgspec.Struct, frozen=True):
    """What one data layer reads, or a pair of them.

    `phase` is train, test or empty; `labels` are the label pictures, where they are apart. `classes` is what the net
    tells apart (0: not known), `batch` its batch (0: not known), `crop` the side that it cuts out, `layer` what else
    the net's layer says.
    """

    images: Scan
    labels: Scan | None = None
    phase: str = ""
    classes: int = 0
    ignore: frozenset[int] = frozenset({255})
    limit: int = 0
    batch: int = 0
    crop: int = 0
    layer: DataLayer | None = None
