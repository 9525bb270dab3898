"""The recipe `crfrnn` as far as it goes without the fork: its data from real label pictures of VOC, its net without the
mean field in Caffe itself, and what Caffe itself says of the mean field."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from provision.data import backends, datum
from provision.data.crfrnn import prepare
from provision.logs.caffe import Metric
from provision.logs.failures import explain
from provision.recipes.loading import load
from provision.recipes.planners.crfrnn import DATABASES
from provision.recipes.rendering import render
from tests.engine import caffe_kit
from tests.forks import voc_kit
from tests.forks.crfrnn_kit import infer, score
from tests.forks.place import Place, open_to_all

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]
SIDE = 96


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return voc_kit.devkit(tmp_path_factory.mktemp("voc"), SIDE)


@pytest.fixture(scope="module")
def data(kit: Path) -> Path:
    return open_to_all(prepare(kit, kit.parent / "data", size=SIDE))


@pytest.fixture
def place(data: Path, tmp_path: Path) -> Place:
    (tmp_path / "work").mkdir()
    return Place(caffe_kit.image().tag, tmp_path / "work", {"/data": data})


def test_the_databases_hold_the_label_pictures_of_voc(kit: Path, data: Path) -> None:
    for name in DATABASES:
        reader = backends.reader(data / name)
        found = {key.decode().partition("_")[2]: datum.decode(value) for key, value in reader.items()}
        reader.close()
        assert len(found) == 3
        border = 0
        for path, one in found.items():
            pixels = np.frombuffer(one.data, np.uint8).reshape(one.channels, SIDE, SIDE)
            if "labels" in name:
                with Image.open(kit / "VOC2012" / "SegmentationClass" / f"{Path(path).stem}.png") as truth:
                    wanted = np.array(truth)
                assert {0} < set(wanted.ravel()) <= {*range(21), 255}
                border += int((wanted == 255).sum())
                assert np.array_equal(pixels[0, : wanted.shape[0], : wanted.shape[1]], wanted)
                assert (pixels[0] != 255).sum() == (wanted != 255).sum()
        assert border > 300 or "labels" not in name  # VOC's own void is there


def test_caffe_itself_trains_the_scores_and_uses_them(place: Place, data: Path, tmp_path: Path) -> None:
    """Images and labels from their databases, labels of 255 left out, one test of each image, in two lines."""
    options = {"body": "small", "start": "none", "crf": "false", "size": SIDE, "loss": "mean", "display": 1,
               "iterations": 150, "test_every": 150}  # fmt: skip
    made = render(load("crfrnn"), {key: str(value) for key, value in options.items()}, 0, data)
    place.fill(made)
    result, events = place.train(made.command)
    assert result.code == 0, result.err
    loss = [event.value for event in events if isinstance(event, Metric) and event.name == "loss"]
    assert np.mean(loss[-10:]) < 0.6 * loss[0] and loss[0] == pytest.approx(np.log(21), rel=0.05)
    said = [line for line in result.err.splitlines() if "Test net output" in line]
    assert len(said) == 2 and "accuracy = " in said[0] and "loss = " in said[1]
    use(place, tmp_path, place.snapshots(load("crfrnn"))[150])


def use(place: Place, folder: Path, stem: str) -> None:
    """The tasks need no library but Caffe's own and numpy; the score of the test phase is the task's."""
    scored = score(place, folder, stem)
    assert (scored["iteration"], scored["images"]) == (150, 3)
    assert scored["metrics"]["pixel_accuracy"] > 0.75 and "cat" not in scored["metrics"]["iou"]
    assert min(infer(place, folder, stem)) > 0.6


def test_caffe_without_the_mean_field_is_explained(place: Place, data: Path) -> None:
    recipe = load("crfrnn")
    made = render(recipe, {"body": "small", "start": "none", "size": str(SIDE)}, 0, data)
    place.fill(made)
    result = place.run(made.command)
    assert result.code != 0
    found = explain(recipe.failures, result.err.splitlines())
    assert found is not None and "dialect" in found.what and "caffe-crfrnn" in found.mend
