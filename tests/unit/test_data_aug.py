"""`data voc-aug`: SBD's labels in VOC's kit, the set trainaug, and crfrnn's databases of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from provision.cli import run
from provision.data import voc
from tests.unit.data_kit import cutting, label_picture, read, write

cv2 = pytest.importorskip("cv2")
io = pytest.importorskip("scipy.io")
CAT, DOG = voc.CLASSES.index("cat"), voc.CLASSES.index("dog")
OWN, SBD = {"2012_1": CAT, "2012_2": DOG}, {"2012_1": DOG, "2012_3": DOG, "2012_2": CAT, "2012_4": CAT}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """SBD with four labels; a kit whose train is image 1 and whose val is image 2, both with labels of VOC's own."""
    home, sbd = tmp_path / "VOCdevkit" / "VOC2012", tmp_path / "benchmark_RELEASE" / "dataset"
    (home / "JPEGImages").mkdir(parents=True)
    (sbd / "cls").mkdir(parents=True)
    for number, (name, value) in enumerate(SBD.items()):
        cv2.imwrite(str(home / "JPEGImages" / f"{name}.jpg"), cutting(number, 30, 40))
        label = {
            "Segmentation": np.full((30, 40), value, np.uint8),
            "Boundaries": np.zeros((2, 2)),
            "CategoriesPresent": [value],
        }
        io.savemat(sbd / "cls" / f"{name}.mat", {"GTcls": label})
    for name, value in OWN.items():
        label_picture(home / "SegmentationClass" / f"{name}.png", np.full((30, 40), value))
    for name, listed in (("train", "2012_1"), ("val", "2012_2")):
        write(home / "ImageSets" / "Segmentation" / f"{name}.txt", listed)
    write(home / "ImageSets" / "Main" / "dog_trainval.txt", "2012_1 -1", "2012_2 1", "2012_3 1", "2012_4 -1")
    write(sbd / "train.txt", "2012_1", "2012_3")
    write(sbd / "val.txt", "2012_2", "2012_4")
    return sbd.parent, home.parent


def test_all_of_sbd_but_what_scores_is_trained_and_vocs_own_labels_stay(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    sbd, kit = folders
    words = ["data", "voc-aug", str(sbd), str(kit)]
    assert run([*words, "--dry-run"]) == 0
    assert "3 labels" in capsys.readouterr().out and not (kit / "VOC2012" / "SegmentationClassAug").exists()
    assert run(words) == 0
    assert "made: 1 labels of VOC, 2 of SBD" in capsys.readouterr().out
    made = kit / "VOC2012" / "SegmentationClassAug"
    values = {path.stem: int(np.array(Image.open(path))[5, 5]) for path in made.iterdir()}
    assert values == {"2012_1": CAT, "2012_3": DOG, "2012_4": CAT}
    listed = kit / "VOC2012" / "ImageSets" / "Segmentation" / "trainaug.txt"
    assert listed.read_text().split() == ["2012_1", "2012_3", "2012_4"]
    assert run(words) == 0
    assert "is there already" in capsys.readouterr().out
    (made / "2012_3.png").unlink()
    assert run(words) == 2
    assert "lacks 2012_3.png" in capsys.readouterr().err


def test_the_lists_and_crfrnn_take_it(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sbd, kit = folders
    lists = ["data", "voc-lists", str(kit), str(tmp_path / "lists"), "--sets", "trainaug,val", "--segmentation"]
    assert run(lists) == 2
    assert "provision data voc-aug benchmark_RELEASE" in capsys.readouterr().err
    assert run(["data", "voc-aug", str(sbd), str(kit)]) == 0
    assert run(lists[:-1]) == 2
    assert run([*lists, "--years", "2012"]) == 0
    lines = (tmp_path / "lists" / "trainaug.txt").read_text().splitlines()
    assert sorted(lines)[1] == "VOC2012/JPEGImages/2012_3.jpg VOC2012/SegmentationClassAug/2012_3.png"
    crfrnn = ["data", "crfrnn", str(kit), str(tmp_path / "data"), "--size", "48"]
    assert run([*crfrnn, "--augmented"]) == 0
    assert json.loads((tmp_path / "data" / "data.json").read_text())["train"] == 3
    assert run(crfrnn) == 2  # another set than it was made of
    assert (
        run(["data", "crfrnn", str(kit), str(tmp_path / "dogs"), "--size", "48", "--augmented", "--classes", "dog"])
        == 0
    )
    ((key, _),) = read(tmp_path / "dogs" / "train" / "labels_lmdb")
    assert key.endswith("2012_3.jpg")


def test_other_folders_and_labels_are_told(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sbd, kit = folders
    assert run(["data", "voc-aug", str(kit), str(kit)]) == 2
    assert "is not SBD" in capsys.readouterr().err
    assert run(["data", "voc-aug", str(sbd), str(tmp_path)]) == 2
    assert "holds no VOC2012" in capsys.readouterr().err
    (kit / "VOC2012" / "JPEGImages" / "2012_4.jpg").unlink()
    (sbd / "dataset" / "cls" / "2012_3.mat").write_bytes(b"<html>")
    assert run(["data", "voc-aug", str(sbd), str(kit)]) == 2
    assert "2012_3.mat is no label of SBD" in capsys.readouterr().err
    assert not (kit / "VOC2012" / "SegmentationClassAug").exists()
    (sbd / "dataset" / "cls" / "2012_3.mat").unlink()
    assert run(["data", "voc-aug", str(sbd), str(kit), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["missing"]) == 2
