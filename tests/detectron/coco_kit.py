"""Three photos of VOC2011 with COCO annotations (12 objects), out of the source package of labelme; a film of them.

The package (14 MB) is fetched by pip and kept in the cache; nothing of it is part of provision (the photos are under
Flickr's terms).
"""

import shutil
from pathlib import Path

from tests.labelme import example

_FOLDER = "instance_segmentation/data_dataset_coco"


def photos(target: Path) -> Path:
    """The folder `target` with annotations.json and JPEGImages, readable by all."""
    shutil.copytree(example(_FOLDER, lambda path: path.startswith(("annotations.json", "JPEGImages/"))), target)
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
