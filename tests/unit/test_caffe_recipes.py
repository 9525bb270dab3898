"""The recipes caffe-classify and caffe-detect, as far as they can be held against something without running Caffe."""

import math
import random
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy
import pytest

from provision.data.datum import Datum
from provision.data.lmdb_writer import write
from provision.lint.net import lint
from provision.logs.failures import explain
from provision.net import graph
from provision.net.shapes import infer
from provision.net.text import parse
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import complete_snapshots
from tests.unit.recipe_files import load_file

BOXES = load_file("caffe-detect/boxes.py")


@pytest.mark.parametrize("name", ["caffe-classify", "caffe-detect"])
def test_the_rendered_files_are_sound(name: str, tmp_path: Path) -> None:
    made = render(load(name))
    for file in ("net.prototxt", "solver.prototxt"):
        (tmp_path / file).write_text(made.files[file])
    (tmp_path / "snapshots").mkdir()
    assert [one for one in lint(tmp_path / "solver.prototxt").findings if one.level == "error"] == []


@pytest.mark.parametrize(("size", "channels", "flat"), [(8, 1, 64), (32, 3, 1024)])
def test_the_small_net_takes_digits_and_cifar(size: int, channels: int, flat: int) -> None:
    made = render(load("caffe-classify"), {"batch": 4, "classes": 7})
    found = infer(graph.layers(parse(made.files["net.prototxt"]), "TEST"), {"data": (4, channels, size, size)})
    assert found.whole and found.blobs["ip2"] == (4, 7)
    assert dict(found.outputs()) == {"accuracy": (), "loss": ()}
    assert next(row.params for row in found.rows if row.layer.name == "ip1") == ((64, flat), (64,))


def test_a_snapshot_takes_its_schedule_along_if_there_is_one() -> None:
    names = [f"snapshots/net_iter_{at}.{part}" for at in (5, 9) for part in ("caffemodel", "solverstate")]
    found = complete_snapshots(load("caffe-classify"), [*names, "snapshots/net_iter_9.schedule.json"])
    assert [len(one.paths) for one in found] == [2, 3]
    assert render(load("caffe-classify")).resumed(found[1].stem)[-2:] == (
        "--snapshot", "snapshots/net_iter_9.solverstate"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "line", "mend"),
    [
        ("caffe-classify", "launch: data/train_lmdb is not there (looked for /project/data)", "--project DIR"),
        (
            "caffe-classify",
            "F layer_factory.hpp:81] Check failed: Unknown layer type: PriorBox (known",
            "--image STACK",
        ),
        ("caffe-detect", "detect: no object of the classes cat in /data/train.txt", "classes=object"),
    ],
)
def test_failures_are_explained(recipe: str, line: str, mend: str) -> None:
    found = explain(load(recipe).failures, [line])
    assert found is not None and mend in found.mend


# caffe-classify's scripts


def places() -> Any:
    return load_file("caffe-classify/places.py")


def test_files_are_found_in_the_project_then_in_the_data(tmp_path: Path) -> None:
    project, data = tmp_path / "project", tmp_path / "data"
    for path in (project / "nets" / "net.prototxt", project / "mean.npy", data / "train_lmdb" / "data.mdb"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    roots = (str(project), str(data))

    def find(name: str) -> str:
        return str(Path(places().find(name, str(project / "nets"), roots)).relative_to(tmp_path))

    assert find("net.prototxt") == "project/nets/net.prototxt"
    assert find("nets/net.prototxt") == "project/nets/net.prototxt"
    assert find("train_lmdb") == "data/train_lmdb"
    assert find("examples/mnist/train_lmdb/") == "data/train_lmdb"
    assert find("/home/somebody/caffe/train_lmdb") == "data/train_lmdb"
    assert find(str(project / "mean.npy")) == "project/mean.npy"
    with pytest.raises(Exception, match=r"other_lmdb is not there \(looked for .*/nets/other_lmdb"):
        find("other_lmdb")


class Net:
    """What a pycaffe net tells of its blobs; an old one has no `blob_loss_weights`."""

    def __init__(self, weights: bool) -> None:
        self.outputs = ["accuracy", "loss"]
        blob = SimpleNamespace(data=numpy.array(0.5))
        self.blobs = {"data": SimpleNamespace(data=numpy.zeros(8)), "accuracy": blob, "loss": blob}
        if weights:
            self.blob_loss_weights = {"data": 0.0, "accuracy": 0.0, "loss": 2.0}


@pytest.mark.parametrize(("weights", "found"), [(True, {"loss": 2.0}), (False, {"accuracy": 1.0, "loss": 1.0})])
def test_an_accuracy_in_the_training_is_no_loss(weights: bool, found: dict[str, float]) -> None:
    assert plateau().loss_weights(Net(weights)) == found


def plateau() -> Any:
    said = ModuleType("places")
    said.say = lambda text: None  # type: ignore[attr-defined]
    return load_file("caffe-classify/plateau.py", places=said)


def schedule(window: int = 10) -> Any:
    return plateau().Schedule(0.1, window, 0.5)


def test_the_rate_falls_where_the_loss_stands_still_and_begins_anew() -> None:
    course = schedule()
    rates = [rate for rate in (course.feed(1.0) for _ in range(200)) if rate is not None]
    assert rates[:4] == [0.05, 0.025, 0.0125, 0.1]  # below a tenth it is the first one again
    assert course.window in (10, 20, 40, 80)


def test_the_patience_doubles_with_each_step_down() -> None:
    course = schedule()
    at = [number for number in range(1, 71) if course.feed(1.0) is not None]
    assert at == [10, 30, 70]


def test_the_rate_stays_while_the_loss_falls() -> None:
    course = schedule()
    assert all(course.feed(math.exp(-number / 50)) is None for number in range(500))


def test_a_loss_that_is_no_number_changes_nothing() -> None:
    course = schedule()
    assert [course.feed(math.nan) for _ in range(50)] == [None] * 50 and course.rate == 0.1


def test_a_schedule_goes_on_where_it_was(tmp_path: Path) -> None:
    first, second = schedule(), schedule()
    for _ in range(25):
        first.feed(1.0)
    first.save(str(tmp_path / "schedule.json"))
    second.load(str(tmp_path / "schedule.json"))
    assert vars(first) == vars(second) and second.rate == 0.05


@pytest.mark.parametrize("count", [1, 7, 300])
def test_records_are_counted_without_lmdb(count: int, tmp_path: Path) -> None:
    write(tmp_path / "db", [Datum(1, 4, 4, bytes(16), at % 3) for at in range(count)])
    assert load_file("caffe-classify/trained.py").records(str(tmp_path / "db")) == count
    assert load_file("caffe-classify/trained.py").records(str(tmp_path)) is None


def test_accuracy_counts() -> None:
    trained = ModuleType("trained")
    for name in ("Trained", "data_layer", "records", "use_gpu"):
        setattr(trained, name, None)
    count = load_file("caffe-classify/score.py", trained=trained).Count(6)
    shares = numpy.array(
        [[0.5, 0.1, 0.1, 0.1, 0.1, 0.1], [0.3, 0.2, 0.2, 0.1, 0.1, 0.1], [0.2, 0.3, 0.2, 0.15, 0.1, 0.05]]
    )
    count.add(shares, numpy.array([0, 1, 5]))
    found = count.metrics(str)
    assert found["accuracy"] == pytest.approx(1 / 3) and found["accuracy_top5"] == pytest.approx(2 / 3)
    assert found["loss"] == pytest.approx(-(math.log(0.5) + math.log(0.2) + math.log(0.05)) / 3)
    assert found["per_class"] == {"0": 1.0, "1": 0.0, "2": None, "3": None, "4": None, "5": 0.0}


# caffe-detect's boxes


def test_the_overlap_of_boxes() -> None:
    boxes = numpy.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10]], float)
    assert BOXES.overlaps(boxes[0], boxes).tolist() == pytest.approx([1.0, 1 / 3, 0.0, 1.0])
    assert BOXES.suppress(boxes, numpy.array([0.8, 0.7, 0.6, 0.9])) == [3, 1, 2]


def test_targets_and_decoding_are_each_others_inverse() -> None:
    truth = numpy.array([[1, 10, 12, 50, 44], [2, 58, 58, 66, 66]], float)
    labels, sides = BOXES.targets(truth, 10, 10)
    assert (labels == 1).sum() > 1 and (labels == 2).sum() == 1  # the small one has one cell
    assert (labels == 255).sum() > 0 and labels[0, 0] == 0
    shares = numpy.zeros((3, 10, 10))
    for kind in (1, 2):
        shares[kind][labels == kind] = 0.9
    margins = numpy.log(numpy.maximum(sides, 1e-3) / BOXES.STRIDE)
    found = BOXES.detections(shares, margins, 0.5, 80)
    assert sorted(kind for kind, _, _ in found) == [1, 2]
    for kind, _, box in found:
        assert box.tolist() == pytest.approx(truth[kind - 1, 1:].tolist(), abs=1e-6)


def test_of_boxes_that_lie_over_each_other_the_nearer_middle_wins() -> None:
    truth = numpy.array([[1, 0, 0, 80, 80], [2, 0, 0, 40, 40]], float)
    labels, _ = BOXES.targets(truth, 10, 10)
    assert labels[2, 2] == 2 and labels[5, 5] == 1


def test_average_precision_as_voc_counts_it() -> None:
    whole = numpy.array([0, 0, 10, 10], float)
    away = numpy.array([50, 50, 60, 60], float)
    truths = {0: [(whole, False)], 1: [(whole, False), (away, True)]}
    assert BOXES.average_precision([(0, 0.9, whole), (1, 0.8, whole)], truths) == pytest.approx(1.0)
    assert BOXES.average_precision([(0, 0.9, away), (0, 0.8, whole)], truths) == pytest.approx(6 * 0.5 / 11)
    assert BOXES.average_precision([(0, 0.9, whole), (0, 0.8, whole)], truths) == pytest.approx(6 / 11)  # found once
    assert BOXES.average_precision([(1, 0.9, away)], truths) == 0.0  # a difficult one is neither right nor wrong
    assert BOXES.average_precision([], {0: [(whole, True)]}) is None


class Blob:
    def __init__(self, data: Any) -> None:
        self.data, self.diff = numpy.array(data, float), numpy.zeros_like(numpy.array(data, float))

    def reshape(self, *shape: int) -> None:
        self.data, self.diff = numpy.zeros(shape), numpy.zeros(shape)


def test_the_gradient_of_the_overlap_loss_is_the_slope_of_the_loss() -> None:
    """By differences, at a few places of a few cells."""
    layers = load_file("caffe-detect/layers.py", boxes=BOXES, pictures=ModuleType("pictures"))
    rows = numpy.random.RandomState(3)
    said, true = rows.normal(0.5, 0.5, (2, 4, 3, 3)), rows.uniform(4, 30, (2, 4, 3, 3))
    true[:, :, 0] = 0  # cells without a box
    layer, top = layers.OverlapLoss(), Blob([0.0])

    def loss(values: Any) -> float:
        layer.forward([Blob(values), Blob(true)], [top])
        return float(top.data[0])

    bottom = Blob(said)
    layer.forward([bottom, Blob(true)], [top])
    top.diff = numpy.array([2.0])
    layer.backward([top], [True, False], [bottom, Blob(true)])
    assert not bottom.diff[:, :, 0].any()
    for place in random.Random(1).sample(list(numpy.ndindex(2, 4, 3, 3)), 20):
        step = numpy.zeros_like(said)
        step[place] = 1e-5
        slope = (loss(said + step) - loss(said - step)) / 2e-5
        assert bottom.diff[place] == pytest.approx(2.0 * slope, abs=1e-5)


def test_annotations_are_shares_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "1.xml").write_text(
        "<annotation><size><width>100</width><height>50</height></size>"
        "<object><name>cat</name><difficult>1</difficult><bndbox><xmin>11</xmin><ymin>6</ymin><xmax>60</xmax><ymax>50</ymax>"
        "</bndbox></object><object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>100</xmax><ymax>50</ymax>"
        "</bndbox></object></annotation>"
    )
    pictures = load_file("caffe-detect/pictures.py")
    assert pictures.annotation(str(tmp_path / "1.xml"), ["dog", "cat"]).tolist() == [
        pytest.approx([2, 0.1, 0.1, 0.6, 1.0, 1]), pytest.approx([1, 0, 0, 1, 1, 0])
    ]  # fmt: skip
    assert pictures.annotation(str(tmp_path / "1.xml"), ["object"])[:, 0].tolist() == [1, 1]
    with pytest.raises(SystemExit, match=r"1 files are not there: .*2\.xml"):
        (tmp_path / "list.txt").write_text("1.xml 1.xml\n1.xml 2.xml\n")
        pictures.read_list(str(tmp_path / "list.txt"))


def test_a_drawn_box_is_a_png_with_a_frame(tmp_path: Path) -> None:
    import cv2

    pictures = load_file("caffe-detect/pictures.py")
    image = numpy.zeros((40, 60, 3), numpy.uint8)
    pictures.draw(image, (10, 5, 50, 35), 1)
    pictures.save(image, str(tmp_path / "box.png"))
    seen = cv2.imread(str(tmp_path / "box.png"))[:, :, ::-1]
    assert (seen == image).all()
    assert seen[5, 30].tolist() == seen[20, 10].tolist() == [128, 0, 0] and not seen[20, 30].any()
