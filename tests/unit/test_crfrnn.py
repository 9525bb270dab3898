"""The recipe `crfrnn`, as far as it can be held against something without running Caffe."""

import ast
import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from infra.errors import UsageError
from provision.data import voc
from provision.data.datum import Datum
from provision.data.lmdb_writer import write
from provision.logs.failures import explain
from provision.net import shapes, text
from provision.net.graph import PHASES, Phase, layers
from provision.recipes.loading import load
from provision.recipes.planners import crfrnn_net
from provision.recipes.planners.crfrnn import DATABASES, RATES, default_rate
from provision.recipes.planners.crfrnn_net import Names
from provision.recipes.rendering import render
from provision.recipes.spec import Rendered, complete_snapshots

RECIPE = load("crfrnn")
FOLDER = Path(__file__).parents[2] / "provision" / "recipes" / "builtin" / "crfrnn"
PUBLISHED = {"score-fr", "score2", "score-pool4", "score4", "score-pool3", "inference1"}


def made(gpus: int = 0, data: Path | None = None, **options: object) -> Rendered:
    return render(RECIPE, {key: str(value) for key, value in options.items()}, gpus, data)


def inferred(rendered: Rendered, phase: Phase = "TRAIN", file: str = "net.prototxt") -> shapes.Inferred:
    """Shapes of the rendered net, by rules that are held against Caffe elsewhere."""
    size = int(rendered.options["size"])
    given = {"data": (1, 3, size, size), "label": (1, 1, size, size)}
    return shapes.infer(layers(text.parse(rendered.files[file]), phase), given)


def weighted(rendered: Rendered, file: str = "net.prototxt", phase: Phase = "TEST") -> dict[str, object]:
    return {row.layer.name: row.params for row in inferred(rendered, phase, file).rows if row.params}


# the four ways of the write-up's Makefile


@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize(
    ("start", "file"), [("fcn8s", "fcn-8s-pascal.caffemodel"), ("crfrnn", "TVG_CRFRNN_COCO_VOC.caffemodel")]
)
def test_each_of_the_four_ways_is_two_words(start: str, file: str, gpus: int) -> None:
    one = made(gpus, start=start)
    solver = one.files["solver.prototxt"].splitlines()
    assert {f'weights: "/weights/{file}"', "base_lr: 1e-13", "momentum: 0.99", "solver_mode: GPU"} <= set(solver)
    assert one.command[-2:] == ("-gpu", ",".join(str(at) for at in range(gpus)))
    assert [one.file for one in one.weights] == [file]
    assert one.weights[0].non_commercial == (start == "crfrnn") and one.weights[0].licence
    assert set(weighted(one)) >= PUBLISHED
    assert one.plan["images per step"] == gpus


def test_a_resumed_training_leaves_the_weights_to_caffe() -> None:
    """`caffe train` refuses weights beside a snapshot on its command line; those in the solver it leaves out."""
    words = made().resumed("snapshots/crfrnn_iter_40")
    assert words[-2:] == ("-snapshot", "snapshots/crfrnn_iter_40.solverstate")
    assert "-weights" not in words


def test_without_weights_nothing_is_fetched_or_named_like_what_was() -> None:
    one = made(start="none")
    assert one.weights == () and "weights:" not in one.files["solver.prototxt"]
    assert not set(weighted(one)) & PUBLISHED


def test_weights_of_the_users_own_stay_in_the_project() -> None:
    one = made(start="/project/fcn.caffemodel", classes="car,dog")
    assert 'weights: "/project/fcn.caffemodel"' in one.files["solver.prototxt"]
    assert one.weights == ()


# the net


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("crf", ["true", "false"])
@pytest.mark.parametrize("body", ["fcn8s", "small"])
def test_a_phase_ends_in_single_numbers(phase: Phase, crf: str, body: str) -> None:
    """The write-up's net ended its test in 5.5 million numbers, and Caffe printed each of them."""
    outputs = inferred(made(start="none", crf=crf, body=body), phase).outputs()
    names = ["loss"] if phase == "TRAIN" else ["accuracy", "loss"]
    assert sorted(name for name, _ in outputs) == names
    assert all(shape is not None and shapes.count(shape) == 1 for _, shape in outputs)


def test_the_test_waits_for_its_turn_and_labels_of_255_count_nowhere() -> None:
    one = made()
    assert "test_initialization: false" in one.files["solver.prototxt"]
    assert one.files["net.prototxt"].count("ignore_label: 255") == 2
    assert one.files["net.prototxt"].count("mean_value: 104.00698793") == 2


@pytest.mark.parametrize("start", ["fcn8s", "none"])
def test_fcn8s_has_the_weights_that_it_says(start: str) -> None:
    one = made(start=start)
    count = inferred(one).params
    assert one.plan["parameters"] == f"{count:,}"
    assert one.plan["snapshot"] == f"{8 * count / 1e6:,.0f} MB"
    assert 134.2e6 < count < 134.6e6  # upstream's: 134.5 million


@settings(max_examples=20, deadline=None)
@given(size=st.integers(16, 700), count=st.integers(1, 30), body=st.sampled_from(["fcn8s", "small"]))
def test_any_size_and_number_of_classes_fits(size: int, count: int, body: str) -> None:
    """Crops stay inside, scores come out at the image's size, and each output has its weights in the mean field."""
    names = [f"class{at}" for at in range(count)]
    one = made(size=size, classes=",".join(names), body=body, start="none")
    for phase in PHASES:
        found = inferred(one, phase)
        assert [row.odd for row in found.rows if row.odd] == []
        assert found.blobs["coarse"] == found.blobs["pred"] == (1, count + 1, size, size)
        fields = [row.layer.param("multi_stage_meanfield") for row in found.rows]
        strings = [field.text(f"{kind}_filter_weights_str") for kind in ("spatial", "bilateral") for field in fields]
        assert {len(said.split(" ")) for said in strings if said} == {count + 1}


def test_the_small_body_counts_its_weights_too() -> None:
    found = inferred(made(start="none", body="small"))
    listed = crfrnn_net.small(21, Names("-21"))
    assert found.params == crfrnn_net.weights(listed) + 3 * 21**2


def test_other_classes_get_score_layers_of_their_own() -> None:
    """Or Caffe would stop at a shape that differs; and where 21 fits by chance, begin with another class's scores."""
    voc_in_another_order = ",".join(reversed(voc.CLASSES[1:]))
    for classes in ("car,dog", voc_in_another_order):
        names = set(weighted(made(classes=classes)))
        assert not names & PUBLISHED
        assert {"conv1_1", "fc7"} <= names


@pytest.mark.parametrize("start", ["fcn8s", "none"])
def test_the_net_to_use_has_the_weights_of_the_net_that_trains(start: str) -> None:
    one = made(start=start)
    assert weighted(one) == weighted(one, "deploy.prototxt") == weighted(one, phase="TRAIN")
    assert inferred(one, "TEST", "deploy.prototxt").outputs() == [("pred", (1, 21, 500, 500))]


def test_channels_that_begin_anew_are_enlarged_apart() -> None:
    """Caffe's bilinear filler fills every pair of channels alike: a layer that mixes them would erase the classes."""
    for row in inferred(made(start="none")).rows:
        if row.layer.type == "Deconvolution":
            assert row.params is not None and row.params[0][1] == 1


def test_nothing_is_left_to_fill_in() -> None:
    for name, said in made(2).files.items():
        assert "${" not in said and "{{" not in said, name


# rates


@pytest.mark.parametrize("kind", RATES)
def test_a_mean_over_pixels_takes_the_step_of_the_sum(kind: str) -> None:
    for size in (100, 500):
        sums, means = (default_rate(RATES[kind], loss, size) for loss in ("sum", "mean"))
        assert means == pytest.approx(sums * size * size)
    assert default_rate(RATES[kind], "sum", 500) == pytest.approx(RATES[kind].sum)


def test_rates_follow_what_is_learnt() -> None:
    rates = {
        name: next(line for line in made(**options).files["solver.prototxt"].splitlines() if "base_lr" in line)
        for name, options in {
            "fine": {"start": "crfrnn"}, "mean": {"loss": "mean"}, "scores": {"classes": "car"},
            "own": {"learning_rate": "3e-12"}, "whole": {"start": "/project/a", "classes": "car"},
        }.items()
    }  # fmt: skip
    assert rates == {
        "fine": "base_lr: 1e-13", "mean": "base_lr: 2.5e-08", "scores": "base_lr: 1e-10",
        "own": "base_lr: 3e-12", "whole": "base_lr: 1e-13",
    }  # fmt: skip


# options that cannot be


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "fcn8"}, "fcn8s"),
        ({"body": "small"}, "start=none"),
        ({"loss": "median"}, "mean"),
        ({"classes": "car,,dog"}, "aeroplane,car"),
        ({"classes": "car,car"}, "once"),
        ({"classes": "background,car"}, "without the background"),
        ({"classes": ",".join(f"c{at}" for at in range(255))}, "255"),
        ({"mean_bgr": "1,2"}, "three numbers"),
        ({"crf_iterations": 1}, "2 or more"),
        ({"size": 8}, "16 or more"),
    ],
)
def test_what_cannot_be_is_refused_with_a_mend(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(**options)
    assert said in str(caught.value)


# the data


def databases(folder: Path, size: int = 32, counts: tuple[int, int, int, int] = (3, 3, 2, 2)) -> Path:
    for name, count in zip(DATABASES, counts, strict=True):
        channels = 3 if "images" in name else 1
        write(folder / name, [Datum(channels, size, size, bytes(channels * size * size))] * count)
    return folder


def test_every_test_image_is_tested_once(tmp_path: Path) -> None:
    one = made(data=databases(tmp_path), size=32)
    assert "test_iter: 2\n" in one.files["solver.prototxt"]
    assert one.plan["test images"] == "2 of 2"
    assert "test_iter: 1\n" in made(data=tmp_path, size=32, test_images=1).files["solver.prototxt"]


def test_a_render_without_the_data_says_so() -> None:
    assert "not on this laptop" in made().plan["test images"]


@pytest.mark.parametrize(
    ("size", "counts", "said"),
    [
        (40, (3, 3, 2, 2), "3 x 40 x 40, and the net takes 3 x 32 x 32"),
        (32, (3, 2, 2, 2), "3 images and 2 labels to train with"),
        (32, (3, 3, 0, 0), "0 images"),
    ],
)
def test_data_that_the_net_cannot_take_is_refused(
    tmp_path: Path, size: int, counts: tuple[int, int, int, int], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        made(data=databases(tmp_path, size, counts), size=32)


def test_a_database_that_is_missing_is_named(tmp_path: Path) -> None:
    (databases(tmp_path) / "test" / "labels_lmdb" / "data.mdb").unlink()
    with pytest.raises(UsageError, match=r"has no test/labels_lmdb\n  .*provision data"):
        made(data=tmp_path, size=32)


@pytest.mark.parametrize(("prepared", "said"), [(["car"], "--set classes=car"), ([], "leave --set classes out")])
def test_data_of_other_classes_is_refused(tmp_path: Path, prepared: list[str], said: str) -> None:
    (databases(tmp_path) / "data.json").write_text(json.dumps({"classes": prepared}))
    with pytest.raises(UsageError) as caught:
        made(data=tmp_path, size=32, classes="dog,cat")
    assert said in caught.value.mend
    assert (
        made(data=tmp_path, size=32, classes=",".join(prepared)).plan["outputs"] == len(prepared or voc.CLASSES[1:]) + 1
    )


# colours and names


def test_voc_has_its_colours() -> None:
    """Some of the development kit's own: aeroplane, person, tvmonitor, and the border's."""
    assert len(voc.CLASSES) == 21 and len(voc.PALETTE) == 256
    wanted = {1: (128, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), voc.IGNORE: (224, 224, 192)}
    assert {index: voc.PALETTE[index] for index in wanted} == wanted


def test_a_subset_keeps_its_colours() -> None:
    facts = json.loads(made(classes="person,car").files["net.json"])
    assert [one["name"] for one in facts["classes"]] == ["background", "person", "car"]
    assert [one["colour"] for one in facts["classes"]] == [[0, 0, 0], [192, 128, 128], [128, 128, 128]]
    own = json.loads(made(classes="shirt,hat").files["net.json"])["classes"]
    assert [one["colour"] for one in own] == [list(colour) for colour in voc.PALETTE[:3]]


# snapshots and failures


def test_snapshots_are_seen_and_few_are_kept() -> None:
    paths = ["snapshots/crfrnn_iter_40.caffemodel", "snapshots/crfrnn_iter_40.solverstate"]
    assert [one.stem for one in complete_snapshots(RECIPE, paths)] == ["snapshots/crfrnn_iter_40"]
    assert complete_snapshots(RECIPE, paths[:1]) == []
    assert RECIPE.snapshots.keep == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "layer_factory.hpp:81] Unknown layer type: MultiStageMeanfield (known types: AbsVal, Accuracy)",
            "fork",
        ),
        (
            'Message type "caffe.MultiStageMeanfieldParameter" has no field named "spatial_filter_weights_str".',
            "dialect",
        ),
        ("  what():  A malformed string! >3 3 3<. Couldn't read 21 values.", "each output"),
        ("Check failed: error == cudaSuccess (2 vs. 0)  out of memory", "full"),
        ("Check failed: error == cudaSuccess (77 vs. 0)  an illegal memory access was encountered", "label"),
        ("Check failed: error == cudaSuccess (700 vs. 0)  an illegal memory access was encountered", "label"),
        ("db_lmdb.hpp:15] Check failed: mdb_status == 0 (2 vs. 0) No such file or directory", "LMDB"),
        ("softmax_loss_layer.cpp:47] Number of labels must match number of predictions; e.g., if softmax axis", "size"),
        ("net.cpp:759] Cannot copy param 0 weights from layer 'score-fr'; shape mismatch.  Source param", "weights"),
        ("I1121 solver.cpp:239] Iteration 40 (5 iter/s, 2s/10 iters), loss = nan", "diverged"),
        ("caffe.cpp:245] Multi-GPU execution not available - rebuild with USE_NCCL", "NCCL"),
    ],
)
def test_known_failures_are_explained(line: str, said: str) -> None:
    found = explain(RECIPE.failures, [line])
    assert found is not None and said in found.what and found.mend


# what runs in the container


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> object:
    """A script of the recipe as a module; none of them needs Caffe until it has a net."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load_it(name: str) -> ModuleType:
        for one in ("pictures", "infer", "score"):
            monkeypatch.delitem(sys.modules, one, raising=False)
        return importlib.import_module(name)

    yield load_it
    for one in ("pictures", "infer", "score"):
        sys.modules.pop(one, None)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_scripts_are_of_the_oldest_python_that_an_image_has(path: Path) -> None:
    """Ubuntu 16.04's is 3.5."""
    ast.parse(path.read_text(), feature_version=(3, 5))
    assert not re.search(r"""\bf["']""", path.read_text())


def test_pictures_are_written_as_they_are(script: object, tmp_path: Path) -> None:
    pictures = script("pictures")  # type: ignore[operator]
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    pictures.write_png(tmp_path / "index.png", labels, voc.PALETTE)
    with Image.open(tmp_path / "index.png") as index:
        assert index.mode == "P" and np.array_equal(np.array(index), labels)
        assert np.array(index.convert("RGB")).reshape(-1, 3).tolist() == [list(one) for one in voc.PALETTE[:6]]
    colours = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    pictures.write_png(tmp_path / "colours.png", colours)
    with Image.open(tmp_path / "colours.png") as image:
        assert np.array_equal(np.array(image), colours)


def test_large_pictures_are_made_smaller_and_labels_come_back(script: object) -> None:
    pictures = script("pictures")  # type: ignore[operator]
    picture = np.zeros((80, 120, 3), np.uint8)
    picture[:, 60:] = (10, 20, 200)
    small = pictures.fitted(picture, 60)
    assert small.shape == (40, 60, 3)
    assert np.allclose(small[:, :28], 0) and np.allclose(small[:, 32:], (10, 20, 200), atol=1e-3)
    labels = (small[:, :, 2] > 100).astype(np.uint8)
    assert np.array_equal(pictures.enlarged(labels, 80, 120), (picture[:, :, 2] > 100).astype(np.uint8))
    assert pictures.fitted(picture, 500).shape == picture.shape


def test_an_overlay_leaves_the_background_alone(script: object) -> None:
    pictures = script("pictures")  # type: ignore[operator]
    picture = np.full((1, 2, 3), (10, 20, 30), np.uint8)  # blue, green, red
    shown = pictures.overlay(picture, np.array([[0, 1]]), voc.PALETTE)
    assert shown.tolist() == [[[30, 20, 10], [79, 10, 5]]]


def test_a_page_shows_what_was_found(script: object, tmp_path: Path) -> None:
    infer = script("infer")  # type: ignore[operator]
    classes = json.loads(made(classes="car,dog").files["net.json"])["classes"]
    labels = np.array([[0, 0, 2, 2], [0, 0, 0, 2]], np.uint8)
    one = infer.keep(tmp_path, "a/<b>.jpg", np.zeros((2, 4, 3), np.uint8), labels, classes)
    assert one["classes"] == {"background": 0.625, "dog": 0.375}
    infer.tell(tmp_path, classes, [one], 1)
    assert json.loads((tmp_path / "infer.json").read_text()) == {"images": [one], "skipped": 1}
    page = (tmp_path / "index.html").read_text()
    assert (
        "a/&lt;b&gt;.jpg" in page
        and 'src="a/%3Cb%3E.jpg-overlay.png"' in page
        and "dog 37.5 %" in page
        and "#400080" in page
    )
    assert (tmp_path / "a" / "<b>.jpg-overlay.png").is_file()
    assert (tmp_path / "legend.svg").read_text().count("<rect") == 3


def test_scores_are_those_of_voc(script: object) -> None:
    """Against a count by hand: pixels labelled 255 are nobody's, and a class that is nowhere has no IoU."""
    score = script("score")  # type: ignore[operator]
    truth = np.array([[0, 0, 1, 255], [1, 1, 0, 255]], np.float32)
    said = np.array([[0, 1, 1, 3], [1, 0, 0, 2]])
    got = score.metrics(score.confusion(truth, said, 4), ["background", "a", "b", "c"])
    assert got == {"mean_iou": 0.5, "pixel_accuracy": 0.66667, "iou": {"background": 0.5, "a": 0.5}}


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_counts_of_pairs_are_those_of_a_loop(seed: int) -> None:
    sys.path.insert(0, str(FOLDER))
    try:
        score = importlib.import_module("score")
    finally:
        sys.path.remove(str(FOLDER))
        for one in ("pictures", "infer", "score"):
            sys.modules.pop(one, None)
    random = np.random.default_rng(seed)
    truth = random.choice([0, 1, 2, 255], (5, 6)).astype(np.float32)
    said = random.integers(0, 3, (5, 6))
    wanted = [
        [int(((truth == one) & (said == other)).sum()) for other in range(3)] for one in range(3)
    ]  # rows are labels
    assert score.confusion(truth, said, 3).tolist() == wanted


def test_a_label_without_an_output_is_refused(script: object) -> None:
    score = script("score")  # type: ignore[operator]
    with pytest.raises(SystemExit, match="a label is 7, and the net has 3 outputs"):
        score.confusion(np.array([[7.0]]), np.array([[0]]), 3)


def test_records_are_counted_without_a_library(script: object, tmp_path: Path) -> None:
    """The image has none for LMDB; a page of the file says how many there are."""
    score = script("score")  # type: ignore[operator]
    for commits in range(1, 4):
        with lmdb.open(str(tmp_path), map_size=1 << 22) as env:
            with env.begin(write=True) as txn:
                for at in range(50):
                    txn.put(b"%d-%d" % (commits, at), bytes(900))
            assert score.records(tmp_path) == env.stat()["entries"] == 50 * commits
    (tmp_path / "data.mdb").write_bytes(bytes(9000))
    with pytest.raises(SystemExit, match="no LMDB database"):
        score.records(tmp_path)
