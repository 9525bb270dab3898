"""VOC's segmentations as the recipe crfrnn's databases, from a small kit: real photos, classes by construction."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_sample_images

from infra.errors import UsageError
from provision.commands.data_crfrnn import crfrnn
from provision.data import backends, datum, voc
from provision.data.crfrnn import MEAN, prepare
from provision.data.lists import load
from provision.recipes.planners.crfrnn import DATABASES, look

CAR, DOG = voc.CLASSES.index("car"), voc.CLASSES.index("dog")
NAMES = {"train": ["2012_000001", "2012_000002"], "val": ["2012_000003"]}


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """VOCdevkit with three photos of 40 x 30: a car on the left, a dog on the right, a border of void; the third photo
    shows a dog alone."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    photos = load_sample_images().images
    for at, name in enumerate([*NAMES["train"], *NAMES["val"]]):
        Image.fromarray(photos[at % 2][:30, at : at + 40]).save(root / "JPEGImages" / f"{name}.jpg")
        classes = np.zeros((30, 40), np.uint8)
        classes[5:25, 22:35] = DOG
        if at < 2:
            classes[5:25, 5:18] = CAR
        classes[4, 5:35] = voc.IGNORE
        label = Image.fromarray(classes, "P")
        label.putpalette([value for colour in voc.PALETTE for value in colour])
        label.save(root / "SegmentationClass" / f"{name}.png")
    for name, listed in NAMES.items():
        (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("\n".join(listed) + "\n")
    for name, shown in (("car", NAMES["train"]), ("dog", [*NAMES["train"], *NAMES["val"]])):
        lines = [f"{one} {1 if one in shown else -1}\n" for listed in NAMES.values() for one in listed]
        (root / "ImageSets" / "Main" / f"{name}_trainval.txt").write_text("".join(lines))
    return root.parent


def records(folder: Path) -> dict[bytes, np.ndarray]:
    reader = backends.reader(folder)
    try:
        found = {key: datum.decode(value) for key, value in reader.items()}
    finally:
        reader.close()
    return {
        key: np.frombuffer(one.data, np.uint8).reshape(one.channels, one.height, one.width)
        for key, one in found.items()
    }


def test_images_and_labels_come_in_the_same_order_and_nothing_void_is_trained(kit: Path, tmp_path: Path) -> None:
    made = prepare(kit, tmp_path / "data", size=48)
    images, labels = (records(made / "train" / name) for name in ("images_lmdb", "labels_lmdb"))
    assert list(images) == list(labels) and len(images) == 2
    for key, label in labels.items():
        photo = kit / key.decode().partition("_")[2]
        with Image.open(kit / "VOC2012" / "SegmentationClass" / f"{photo.stem}.png") as truth:
            assert np.array_equal(label[0, :30, :40], np.array(truth))
        assert set(label[0, 30:].ravel()) | set(label[0, :, 40:].ravel()) == {voc.IGNORE}
        assert label[0, 4, 10] == voc.IGNORE and label[0, 10, 10] == CAR
        assert images[key].shape == (3, 48, 48) and images[key][:, 40, 45].tolist() == list(MEAN)
        with Image.open(photo) as image:
            blue = np.array(image)[:, :, 2].astype(int)
        assert np.abs(images[key][0, :30, :40] - blue).max() <= 3  # two decoders of JPEG


def test_the_recipe_takes_it(kit: Path, tmp_path: Path) -> None:
    made = prepare(kit, tmp_path / "data", size=48)
    assert look(made, 48, voc.CLASSES[1:]) == 1
    assert all((made / name / "data.mdb").is_file() for name in DATABASES)
    assert json.loads((made / "data.json").read_text())["train"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["VOCdevkit", "data"]


def test_a_subset_is_numbered_anew(kit: Path, tmp_path: Path) -> None:
    """A car alone: dogs are background, photos without a car are left out; so the test set has none, which is said."""
    with pytest.raises(UsageError, match="no image is left for val"):
        prepare(kit, tmp_path / "cars", classes=("car",), size=48)
    made = prepare(kit, tmp_path / "data", classes=("dog", "car"), size=48)
    (label, *_) = records(made / "train" / "labels_lmdb").values()
    assert label[0, 10, 10] == 2 and label[0, 10, 25] == 1 and label[0, 4, 10] == voc.IGNORE
    with pytest.raises(UsageError, match="other classes"):
        look(made, 48, ("car", "dog"))


def test_a_second_time_it_is_found_and_other_options_are_refused(kit: Path, tmp_path: Path) -> None:
    made = prepare(kit, tmp_path / "data", size=48)
    before = (made / "data.json").stat().st_mtime_ns
    (kit / "VOC2012" / "ImageSets" / "Segmentation" / "train.txt").unlink()
    assert prepare(kit, made, size=48) == made
    assert (made / "data.json").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="size 48, not 64"):
        prepare(kit, made, size=64)


def test_what_was_begun_is_gone_on_with(kit: Path, tmp_path: Path) -> None:
    """Killed between the two phases: the first is not made again."""
    made = prepare(kit, tmp_path / "data", size=48)
    (made / "data.json").unlink()
    (made / "test").rename(tmp_path / "lost")
    before = (made / "train" / "images_lmdb" / "data.mdb").stat().st_mtime_ns
    prepare(kit, made, size=48)
    assert (made / "train" / "images_lmdb" / "data.mdb").stat().st_mtime_ns == before
    assert look(made, 48, voc.CLASSES[1:]) == 1


def test_another_kit_is_not_said_to_be_there_already(kit: Path, tmp_path: Path) -> None:
    made = prepare(kit, tmp_path / "data", size=48)
    other = tmp_path / "other"
    shutil.copytree(kit, other)
    with pytest.raises(UsageError, match="was prepared from another kit"):
        prepare(other, made, size=48)
    facts = json.loads((made / "data.json").read_text())
    del facts["kit"]  # as older ones are
    (made / "data.json").write_text(json.dumps(facts))
    assert prepare(other, made, size=48) == made


def test_a_database_that_is_gone_is_not_said_to_be_there(kit: Path, tmp_path: Path) -> None:
    made = prepare(kit, tmp_path / "data", size=48)
    (made / "test" / "labels_lmdb" / "data.mdb").write_bytes(b"")
    with pytest.raises(UsageError, match=r"labels_lmdb/data\.mdb is not there") as caught:
        prepare(kit, made, size=48)
    assert f"remove {made}" in caught.value.mend


def test_after_a_size_that_was_too_small_a_larger_one_does_it(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"2012_00000\d\.jpg") as caught:
        prepare(kit, tmp_path / "data", size=32)
    assert "a larger --size" in caught.value.mend
    assert "--resume" not in caught.value.mend and "--strict" not in caught.value.mend
    made = prepare(kit, tmp_path / "data", classes=("dog",), size=48)
    assert look(made, 48, ("dog",)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["VOCdevkit", "data"]


def test_a_photo_that_is_too_large_is_named(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"2012_00000\d\.jpg"):
        prepare(kit, tmp_path / "data", size=32)
    assert not (tmp_path / "data" / "data.json").exists()


def test_lists_are_read_as_pairs(kit: Path, tmp_path: Path) -> None:
    """The one by one of the docs comes to the same records."""
    from provision.data import convert, devkit
    from provision.data.pictures import Shape

    listed = devkit.read(devkit.Wanted(kit, ("train", "val"), ("2012",), segmentation=True))
    source = devkit.write(listed, kit, tmp_path / "lists")[0]
    assert load(source, root=kit).kind == "pairs"
    convert.convert(convert.Order(source, tmp_path / "train", root=kit, shape=Shape(pad=48, fill=MEAN)))
    made = prepare(kit, tmp_path / "data", size=48)
    for name in ("images_lmdb", "labels_lmdb"):
        one, other = records(tmp_path / "train" / name), records(made / "train" / name)
        assert list(one) == list(other) and all(np.array_equal(one[key], other[key]) for key in one)


def test_the_command_says_what_it_would_make_then_makes_it(kit: Path, tmp_path: Path) -> None:
    words = [str(kit), str(tmp_path / "data"), "--size", "48"]
    said = CliRunner().invoke(crfrnn, [*words, "--dry-run"]).output
    assert "2 images to train with, 1 to test with" in said and not (tmp_path / "data").exists()
    said = CliRunner().invoke(crfrnn, words).output
    assert f"next: provision train crfrnn --data {tmp_path / 'data'} --set size=48 --on NAME" in said
    facts = json.loads(CliRunner().invoke(crfrnn, [*words, "--json"]).stdout)
    assert (facts["train"], facts["test"], facts["size"]) == (2, 1, 48)
