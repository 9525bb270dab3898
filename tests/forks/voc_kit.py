"""Three photos of VOC2011 with their class pictures, out of the source package of labelme: the format of VOC for real.

The package (14 MB) is fetched by pip and kept in the cache; nothing of it is part of provision (the photos are under
Flickr's terms).
"""

from pathlib import Path

from PIL import Image

from tests.labelme import example


def photos() -> Path:
    """A folder with JPEGImages and SegmentationClass, three files each."""
    wanted = ("JPEGImages", "SegmentationClass")
    return example("semantic_segmentation/data_dataset_voc", lambda path: path.split("/")[0] in wanted)


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
