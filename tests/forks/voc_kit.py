"""Three photos of VOC2011 with their class pictures, out of the source package of labelme: the format of VOC for real.

The package (14 MB) is fetched by pip and kept in the cache; nothing of it is part of provision (the photos are under
Flickr's terms).
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from PIL import Image

from provision.settings import cache_home

_PACKAGE = "labelme==6.3.1"
_FOLDER = "/examples/semantic_segmentation/data_dataset_voc/"


def photos() -> Path:
    """A folder with JPEGImages and SegmentationClass, three files each."""
    target = cache_home() / "tests" / _PACKAGE.replace("==", "-")
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", _PACKAGE]
            subprocess.run([*words, "-d", folder], check=True)
            (package,) = Path(folder).glob("labelme*.tar.gz")
            (Path(folder) / "voc").mkdir()
            _unpack(package, Path(folder) / "voc")
            (Path(folder) / "voc").rename(target)
    return target


def _unpack(package: Path, target: Path) -> None:
    with tarfile.open(package) as packed:
        for member in packed:
            _, found, name = member.name.partition(_FOLDER)
            if found and member.isfile() and name.split("/")[0] in ("JPEGImages", "SegmentationClass"):
                data = packed.extractfile(member)
                assert data is not None
                (target / name).parent.mkdir(exist_ok=True)
                (target / name).write_bytes(data.read())


def devkit(target: Path, side: int) -> Path:
    """VOC's development kit with these three for both `train` and `val`, made so small that none is higher or wider
    than `side` pixels. Three photos can only be learnt by heart."""
    root = target / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    names = sorted(path.stem for path in (photos() / "JPEGImages").iterdir())
    for name in names:
        with Image.open(photos() / "JPEGImages" / f"{name}.jpg") as photo:
            size = tuple(round(length * min(1, side / max(photo.size))) for length in photo.size)
            photo.resize(size, Image.Resampling.BOX).save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        with Image.open(photos() / "SegmentationClass" / f"{name}.png") as classes:
            assert classes.mode == "P"
            classes.resize(size, Image.Resampling.NEAREST).save(root / "SegmentationClass" / f"{name}.png")
    for phase in ("train", "val"):
        (root / "ImageSets" / "Segmentation" / f"{phase}.txt").write_text("\n".join(names) + "\n")
    return root.parent
