"""Three photos of VOC2011 with COCO annotations (12 objects), out of the source package of labelme; a film of them.

The package (14 MB) is fetched by pip and kept in the cache; nothing of it is part of provision (the photos are under
Flickr's terms).
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from provision.settings import cache_home

_PACKAGE = "labelme==6.3.1"
_FOLDER = "/examples/instance_segmentation/data_dataset_coco/"


def photos(target: Path) -> Path:
    """The folder `target` with annotations.json and JPEGImages, readable by all."""
    shutil.copytree(_kept(), target)
    for path in (target, *target.rglob("*"), *list(target.parents)[:2]):
        path.chmod(0o755)
    return target


def video(folder: Path, path: Path) -> None:
    """A film of the photos, a second each at ten frames."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (500, 338))  # type: ignore[attr-defined]
    for name in sorted((folder / "JPEGImages").iterdir()):
        for _ in range(10):
            writer.write(cv2.resize(cv2.imread(str(name)), (500, 338)))
    writer.release()


def _kept() -> Path:
    target = cache_home() / "tests" / (_PACKAGE.replace("==", "-") + "-coco")
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", _PACKAGE]
            subprocess.run([*words, "-d", folder], check=True)
            (package,) = Path(folder).glob("labelme*.tar.gz")
            _unpack(package, Path(folder) / "coco")
            (Path(folder) / "coco").rename(target)
    return target


def _unpack(package: Path, target: Path) -> None:
    with tarfile.open(package) as packed:
        for member in packed:
            _, found, name = member.name.partition(_FOLDER)
            if found and member.isfile() and (name == "annotations.json" or name.startswith("JPEGImages/")):
                data = packed.extractfile(member)
                assert data is not None
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes(data.read())
