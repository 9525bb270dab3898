"""The recipe `ssd-voc` and its data, as far as they go without Caffe. The scripts are those that run in the image."""

import importlib.util
import json
import re
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest

from infra.errors import UsageError
from provision.cli import run as provision
from provision.commands.data_boxes import boxes as boxes_command
from provision.data import annotated
from provision.data.annotated import Annotated, Box
from provision.data.voc_xml import Classes, boxes_of
from provision.logs.failures import explain
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import complete_snapshots
from tests.ssd_photos import photo

SMALL = {"body": "small", "start": "none", "size": 128, "batch": 8, "test_images": 20, "classes": "one,two,three"}
VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # Simonyan and Zisserman 2014, table 1, column D


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = Path(annotated.__file__).parent.parent / "recipes" / "builtin" / "ssd-voc"
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def layers(net: str) -> list[str]:
    """The text of each layer; our own templates close a layer in the first column or on its line."""
    return re.findall(r"^layer \{.*?(?:^\}|\}$)", net, re.MULTILINE | re.DOTALL)


# the recipe


def test_the_body_is_vgg16_as_the_weights_name_it() -> None:
    net = render(load("ssd-voc")).files["net.prototxt"]
    for block, (depth, channels) in enumerate(VGG16_BLOCKS, 1):
        for number in range(1, depth + 1):
            found = re.search(rf'name: "conv{block}_{number}" type: "Convolution".*?num_output: (\d+)', net, re.DOTALL)
            assert found is not None and int(found[1]) == channels
    assert 'name: "fc6"' in net and "pad: 6 stride: 1 dilation: 6" in net


def test_priors_are_those_of_the_paper() -> None:
    """SSD300 has 8732 boxes: 38, 19, 10, 5, 3 and 1 squared places with 4, 6, 6, 6, 4 and 4 each."""
    net = render(load("ssd-voc")).files["net.prototxt"]
    sizes = [(float(low), float(high)) for low, high in re.findall(r"min_size: (\S+) max_size: (\S+?)\b(?!\.)", net)]
    assert [round(low) for low, _ in sizes] == [30, 60, 111, 162, 213, 264]
    assert [round(high) for _, high in sizes] == [60, 111, 162, 213, 264, 315]
    located = [int(one) // 4 for one in re.findall(r'name: "\w+_loc" type: "Conv.*?num_output: (\d+)', net, re.DOTALL)]
    assert located == [4, 6, 6, 6, 4, 4]
    assert sum(each * side**2 for each, side in zip(located, (38, 19, 10, 5, 3, 1), strict=True)) == 8732


@pytest.mark.parametrize("given", [{}, SMALL])
def test_what_predicts_fits_the_classes_and_every_label_is_named(given: dict[str, Any]) -> None:
    made = render(load("ssd-voc"), given)
    net, names = made.files["net.prototxt"], str(made.options["classes"]).split(",")
    located = re.findall(r'name: "\w+_loc" type: "Conv.*?num_output: (\d+)', net, re.DOTALL)
    sure = re.findall(r'name: "\w+_conf" type: "Conv.*?num_output: (\d+)', net, re.DOTALL)
    assert [int(one) // 4 * (len(names) + 1) for one in located] == [int(one) for one in sure]
    assert f"dim: -1 dim: {len(names) + 1}" in net
    assert re.findall(r'label: (\d+) display_name: "(\w+)"', made.files["labelmap.prototxt"])[1:] == [
        (str(label), name) for label, name in enumerate(names, 1)
    ]


def test_weights_are_for_a_start_from_them_and_a_resumed_training_has_its_own() -> None:
    recipe = load("ssd-voc")
    assert [one.file for one in render(recipe).weights] == ["VGG_ILSVRC_16_layers_fc_reduced.caffemodel"]
    begins = "exec caffe train -solver solver.prototxt -weights /weights/VGG_ILSVRC_16_layers_fc_reduced.caffemodel"
    assert begins in render(recipe).files["train.sh"]
    own = render(recipe, {"start": "/project/mine.caffemodel"})
    assert own.weights == () and "-weights /project/mine.caffemodel " in own.files["train.sh"]
    small = render(recipe, SMALL)
    assert small.weights == () and "-weights" not in small.files["train.sh"].split("\n", 1)[1]
    assert small.resumed("snapshots/ssd_iter_7") == ("sh", "train.sh", "-snapshot", "snapshots/ssd_iter_7.solverstate")


def test_a_batch_is_shared_by_the_gpus_and_the_test_sees_every_image_once() -> None:
    recipe = load("ssd-voc")
    made = render(recipe, {"accumulate": 2}, gpus=4)
    assert 'source: "/data/train_lmdb" batch_size: 4 ' in made.files["net.prototxt"]
    assert {"iter_size: 2", "solver_mode: GPU", "test_iter: 619"} <= set(made.files["solver.prototxt"].splitlines())
    odd = render(recipe, {"test_images": 21})
    assert "test_iter: 3" in odd.files["solver.prototxt"]
    assert 'source: "/data/test_lmdb" batch_size: 7 ' in odd.files["net.prototxt"]


@pytest.mark.parametrize(
    ("given", "gpus", "said"),
    [
        ({"batch": 32}, 3, "--set batch=33"),
        ({"size": 512}, 0, "--set size=300"),
        ({"body": "small"}, 0, "--set start=none"),
        ({**SMALL, "size": 100}, 0, "multiple of 32"),
        ({"body": "resnet"}, 0, "vgg or small"),
        ({"start": "/project/a b; rm"}, 0, "/project/FILE"),
        ({"classes": "cat,cat"}, 0, "cat is there twice"),
        ({"classes": "background,cat"}, 0, "label 0 by itself"),
    ],
)
def test_what_cannot_be_is_refused_before_it_costs(given: dict[str, Any], gpus: int, said: str) -> None:
    with pytest.raises(UsageError) as error:
        render(load("ssd-voc"), given, gpus)
    assert said in str(error.value)


def test_classes_other_than_the_datas_are_refused_and_its_images_counted(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps({"data": "boxes", "classes": ["one", "two", "three"], "test": 6}))
    made = render(load("ssd-voc"), SMALL, 0, tmp_path)
    assert "test_iter: 1" in made.files["solver.prototxt"]
    with pytest.raises(UsageError) as error:
        render(load("ssd-voc"), {**SMALL, "classes": "two,one,three"}, 0, tmp_path)
    assert "--set classes=one,two,three" in error.value.mend


def test_snapshots_and_failures_are_known() -> None:
    recipe = load("ssd-voc")
    paths = [f"snapshots/ssd_iter_{at}.{part}" for at in (20, 100) for part in ("caffemodel", "solverstate")]
    assert [one.iteration for one in complete_snapshots(recipe, paths)] == [20, 100]
    wrong = "F1 layer_factory.hpp:81] Check failed: Unknown layer type: AnnotatedData (known types: AbsVal"
    found = explain(recipe.failures, [wrong])
    assert found is not None and "--image caffe-ssd" in found.mend


# its data

XML = """<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"""
OBJECT = (
    "<object><name>{}</name>{}<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>{}</object>"
)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two photos with boxes, one that is cut off, and lists."""
    for at, name in enumerate(("china", "flower", "broken")):
        photo(name if at < 2 else "china").save(tmp_path / f"{name}.jpg", quality=90)
    whole = (tmp_path / "broken.jpg").read_bytes()
    (tmp_path / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    first = [
        OBJECT.format("cat", "", 10, 20, 110, 220, "<part><name>head</name></part>"),
        OBJECT.format("dog", "<difficult>1</difficult>", "45.70", 46.2, 900, 300, ""),
        OBJECT.format("cat", "", 5, 5, 5, 90, ""),
    ]
    second = [
        OBJECT.format("dog", "", 1, 1, 20, 20, "<difficult>1</difficult>"),
        OBJECT.format("cow", "", 1, 1, 9, 9, ""),
    ]
    for name, objects in (("china", first), ("flower", second), ("broken", first)):
        (tmp_path / f"{name}.xml").write_text(XML.format(width=640, height=427, objects="".join(objects)))
    (tmp_path / "train.txt").write_text("china.jpg china.xml\nbroken.jpg broken.xml\n")
    (tmp_path / "test.txt").write_text("flower.jpg flower.xml\n")
    return tmp_path


def fields(message: bytes) -> list[tuple[int, Any]]:
    """A protobuf message apart, by the wire format alone."""
    found, at = [], 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            found.append((tag >> 3, number()))
        elif tag & 7 == 5:
            found.append((tag >> 3, struct.unpack("<f", message[at : at + 4])[0]))
            at += 4
        else:
            size = number()
            found.append((tag >> 3, message[at : at + size]))
            at += size
    return found


def test_a_record_holds_the_file_and_its_boxes_by_class() -> None:
    boxes = (Box(2, (0, 0, 50, 100)), Box(1, (10, 20, 110, 60), True), Box(2, (25, 10, 100, 80)))
    record = fields(Annotated("x.jpg", b"JPEG", 200, 100, boxes).encode())
    assert [tag for tag, _ in record] == [1, 2, 3, 3]
    assert fields(record[0][1]) == [(1, 3), (2, 100), (3, 200), (4, b"JPEG"), (5, 2**64 - 1), (7, 1)]
    first, second = fields(record[2][1]), fields(record[3][1])
    assert (first[0], second[0]) == ((1, 2), (1, 1))
    assert [fields(part)[0] for _, part in first[1:]] == [(1, 0), (1, 1)]
    box = fields(fields(second[1][1])[1][1])
    assert box == [
        (1, numpy.float32(0.05)),
        (2, numpy.float32(0.2)),
        (3, numpy.float32(0.55)),
        (4, numpy.float32(0.6)),
        (6, 1),
    ]


def test_the_data_is_whole_and_says_what_was_left_out(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import lmdb

    words = [str(voc / "out"), "--train", str(voc / "train.txt"), "--test", str(voc / "test.txt"), "--root", str(voc)]
    boxes_command.main([*words, "--classes", "cat,dog", "--leave-out-others"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "1 objects without area are left out" in out and "1 objects of another class" in out
    assert "--set classes=cat,dog" in out
    assert (voc / "out" / "train_lmdb").stat().st_mode & 0o555 == 0o555  # any user may enter
    facts = json.loads((voc / "out" / "data.json").read_text())
    assert (facts["train"], facts["test"], facts["bad"]) == (1, 1, 1)
    assert facts["boxes"] == {"train": {"cat": 1, "dog": 1}, "test": {"cat": 0, "dog": 1}}
    assert "broken.jpg is no whole image" in (voc / "out" / "bad.txt").read_text()
    with lmdb.open(str(voc / "out" / "train_lmdb"), readonly=True, lock=False) as env, env.begin() as txn:
        ((key, value),) = list(txn.cursor())
    assert key == b"00000000_china.jpg"
    assert dict(fields(fields(value)[0][1]))[4] == (voc / "china.jpg").read_bytes()
    dog = fields(fields(fields(value)[3][1])[1][1])[1][1]
    assert [round(one * side) for (_, one), side in zip(fields(dog)[:4], (640, 427, 640, 427), strict=True)] == [
        46,
        46,
        640,
        300,
    ]
    assert fields(dog)[4] == (6, 1)


def test_a_difficult_after_its_box_counts(voc: Path) -> None:
    found = boxes_of((voc / "flower.xml").read_bytes(), Classes(["dog", "cow"]), (427, 640))
    assert [box.difficult for box in found.boxes] == [True, False]


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        ({"train.txt": "china.jpg\n"}, [], "none of the 1 pictures of"),
        ({"train.txt": "\n"}, [], "is empty"),
        ({"train.txt": "no.jpg china.xml\n"}, [], "no.jpg is not there"),
        ({"china.xml": "<annotation>"}, ["--strict"], "china.xml is no XML"),
        ({}, ["--strict"], "has an object 'cow'"),
        (
            {"china.xml": XML.format(width=1, height=1, objects="<object><name>cat</name></object>")},
            ["--strict"],
            "four corners",
        ),
    ],
)
def test_bad_data_is_named_and_nothing_half_made_stays(
    voc: Path, change: dict[str, str], more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in change.items():
        (voc / name).write_text(text)
    if not change:
        (voc / "train.txt").write_text("flower.jpg flower.xml\n")
    with pytest.raises(UsageError) as error:
        boxes_command.main(
            [str(voc / "out"), "--train", str(voc / "train.txt"), "--test", str(voc / "test.txt"), "--root", str(voc),
             "--classes", "cat,dog", *more],
            standalone_mode=False,
        )  # fmt: skip
    assert said in error.value.what
    assert not (voc / "out").exists() and not list(voc.glob(".out*"))


# its scripts


def test_average_precision_is_that_of_voc2007(monkeypatch: pytest.MonkeyPatch) -> None:
    score = script("score", monkeypatch)
    assert score.average_precision([(0.9, 1), (0.8, 1)], 2) == pytest.approx(1.0)
    # right, wrong, right of 4: precision 1 up to a recall of 0.25, 2/3 up to 0.5
    assert score.average_precision([(0.3, 1), (0.9, 1), (0.5, 0)], 4) == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)
    assert score.average_precision([], 3) == 0


def test_classes_without_objects_do_not_count_and_difficult_ones_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score = script("score", monkeypatch)
    first = [(-1, 1, 1, -1, -1), (-1, 2, 0, -1, -1), (0, 1, 0.9, 1, 0), (0, 2, 0.5, 0, 1)]
    second = [(-1, 1, 1, -1, -1), (-1, 2, 0, -1, -1), (0, 1, 0.8, 0, 0), (1, 1, 0.7, 1, 0)]
    metrics = score.scores(*score.gathered([first, second]), names={1: "cat", 2: "dog"})
    assert metrics == {"mAP": pytest.approx(1.0), "per_class": {"cat": pytest.approx(1.0), "dog": None}}


def test_detections_are_boxes_in_pixels_inside_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    infer = script("infer", monkeypatch)
    rows = numpy.array([[0, 1, 0.6, 0.1, 0.2, 0.5, 0.5], [0, 2, 0.9, -0.1, 0, 0.5, 1.2], [0, 1, 0.2, 0, 0, 1, 1]])
    found = infer.objects(rows, {1: "cat"}, 200, 100, 0.5)
    assert [(one["class"], one["box"]) for one in found] == [("2", [0, 0, 100, 100]), ("cat", [20, 20, 100, 50])]
    assert infer.objects(numpy.array([[0, -1, -1, -1, -1, -1, -1]]), {}, 9, 9, 0.5) == []


def test_pictures_have_boxes_in_the_classes_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    from provision.data import voc

    infer, picture = script("infer", monkeypatch), script("picture", monkeypatch)
    assert [tuple(picture.colour(label)) for label in range(21)] == [voc.colour(label) for label in range(21)]
    source = numpy.asarray(photo("china"))
    as_caffe = source[:, :, ::-1].transpose(2, 0, 1)[None].astype(numpy.float32)
    found = [{"class": "cat", "label": 8, "score": 0.75, "box": [100.2, 150, 300, 350]}]
    picture.save(infer.drawn(as_caffe, found), str(tmp_path / "x.png"))
    drawn = numpy.asarray(Image.open(tmp_path / "x.png"))
    assert drawn.shape == source.shape
    assert (drawn[250, 100] == voc.colour(8)).all() and (drawn[350, 200] == voc.colour(8)).all()
    assert (drawn[250, 200] == source[250, 200]).all()
    label = drawn[150 - 9 : 150, 100:148].reshape(-1, 3)
    assert {tuple(one) for one in label} == {voc.colour(8), (255, 255, 255)}


def test_words_at_the_border_stay_on_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = script("picture", monkeypatch)
    canvas = numpy.zeros((40, 60, 3), numpy.uint8)
    picture.draw(canvas, [50, -5, 90, 60], 1, "aeroplane 0.99")
    assert canvas.any() and canvas.shape == (40, 60, 3)


def test_what_is_no_image_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    infer = script("infer", monkeypatch)
    (tmp_path / "deep").mkdir()
    photo("china").save(tmp_path / "deep" / "a b.jpg")
    (tmp_path / "notes.txt").write_text("words")
    assert infer.images_below(str(tmp_path)) == ["deep/a b.jpg"]
    assert "left out: notes.txt is no image" in capsys.readouterr().out


def test_the_recipe_is_shown_by_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert provision(["time", "ssd-voc", "--set", "body=small", "--set", "start=none", "--dry-run"]) == 0
    assert "caffe time -model net.prototxt -stage time" in capsys.readouterr().out
