"""The recipes `detectron` and `detectron-vg`, as far as they can be tried without Detectron."""

import ast
import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import UsageError
from provision.cli import run
from provision.logs.failures import explain
from provision.recipes.loading import load
from provision.recipes.planners import detectron
from provision.recipes.planners.detectron import KIT, baseline, model_url, scaled, table
from provision.recipes.rendering import render
from provision.recipes.spec import Rendered, complete_snapshots

RECIPES = ("detectron", "detectron-vg")
MASK = "e2e_mask_rcnn_R-50-FPN_1x"


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """The container's programs as modules, found as there: beside each other."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(KIT))
    yield lambda name: __import__(name)
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(KIT) in str(sys.modules[name].__file__):
            del sys.modules[name]


def shown(gpus: int, **options: Any) -> dict[str, Any]:
    return render(load("detectron"), options, gpus).plan


def told(made: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.files["plan.json"])
    return found


def data(folder: Path, **changes: Any) -> dict[str, Any]:
    """Three images and four annotations in COCO's form, in the folder; `changes` go to the second annotation."""
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 60, "height": 40} for n in range(3)]
    boxes = [
        {
            "id": n, "image_id": n % 3, "category_id": 1 + n % 2, "bbox": [1, 2, 10, 20], "area": 200, "iscrowd": 0,
            "segmentation": [[1, 2, 11, 2, 11, 22, 1, 22]],
        }
        for n in range(4)
    ]  # fmt: skip
    boxes[1] |= changes
    found = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}
    (folder / "images").mkdir(exist_ok=True)
    for one in images:
        (folder / "images" / str(one["file_name"])).touch()
    (folder / "train.json").write_text(json.dumps(found))
    return found


# the schedule


@pytest.mark.parametrize(
    ("gpus", "images", "rate", "most", "steps", "first", "period"),
    [
        (1, 2, 0.0025, 720000, [0, 480000, 640000], 0.000833, 80000),
        (2, 4, 0.005, 360000, [0, 240000, 320000], 0.001667, 40000),
        (4, 8, 0.01, 180000, [0, 120000, 160000], 0.003333, 20000),
        (8, 16, 0.02, 90000, [0, 60000, 80000], 0.006667, 10000),
    ],
)
def test_mask_rcnn_is_scaled_as_getting_started_says(
    gpus: int, images: int, rate: float, most: int, steps: list[int], first: float, period: int
) -> None:
    found = shown(gpus, config=MASK)
    assert (found["images_per_step"], found["BASE_LR"], found["MAX_ITER"]) == (images, rate, most)
    assert (found["STEPS"], found["lr_at_iteration_0"]) == (steps, first)
    assert found["detectron_would_snapshot_every"] == period
    assert found["SNAPSHOT_ITERS"] == found["snapshot_every"] * gpus == 1000 * gpus


@pytest.mark.parametrize(("gpus", "rate"), [(1, 0.0025), (2, 0.005), (4, 0.01), (8, 0.02)])
def test_the_command_shows_the_same_without_a_machine(
    gpus: int, rate: float, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "detectron", "--set", f"config={MASK}", "--gpus", str(gpus), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan == shown(gpus, config=MASK)
    assert plan["BASE_LR"] == rate


def test_retinanet_is_scaled_from_its_own_rate() -> None:
    """Half of the others' at the same images per step: no rate per image would be right for both."""
    found = [shown(gpus, config="retinanet_R-50-FPN_1x") for gpus in (1, 8)]
    assert [one["BASE_LR"] for one in found] == [0.00125, 0.01]
    assert [one["MAX_ITER"] for one in found] == [720000, 90000]


@pytest.mark.parametrize(
    ("gpus", "rate", "most", "steps"),
    [
        (1, 0.0025, 60000, [0, 30000, 40000]), (2, 0.005, 30000, [0, 15000, 20000]),
        (4, 0.01, 15000, [0, 7500, 10000]), (8, 0.02, 7500, [0, 3750, 5000]),
    ],
)  # fmt: skip
def test_detectrons_own_tutorial_follows_the_same_rule(gpus: int, rate: float, most: int, steps: list[int]) -> None:
    """getting_started/tutorial_Ngpu_…: scaled by hand by Detectron's authors, from any one of them to any other."""
    solver = {"BASE_LR": 0.0025, "MAX_ITER": 60000, "STEPS": [0, 30000, 40000], "LR_POLICY": "steps_with_decay"}
    keys = scaled({"NUM_GPUS": 1, "SOLVER": solver}, gpus)["keys"]
    assert (keys["SOLVER.BASE_LR"], keys["SOLVER.MAX_ITER"], keys["SOLVER.STEPS"]) == (rate, most, steps)


def test_all_baselines_are_there_and_stay_themselves_on_eight_gpus() -> None:
    found = table().baselines
    assert len(found) == 74
    for name, one in found.items():
        keys = scaled(detectron.as_config(one), 8)["keys"]
        assert (keys["SOLVER.BASE_LR"], keys["SOLVER.MAX_ITER"]) == (one.base_lr, one.max_iter), name
        assert keys["SOLVER.STEPS"] == list(one.steps), name
        assert one.body in table().bodies, name


@given(
    st.sampled_from(sorted(table().baselines)), st.integers(0, 16), st.integers(0, 4), st.sampled_from([0, 1, 7, 5000])
)
def test_every_schedule_is_one_that_detectron_takes(name: str, gpus: int, ims: int, iterations: int) -> None:
    one = baseline(name)
    made = scaled(detectron.as_config(one), gpus, ims, iterations)
    keys = made["keys"]
    steps, most = keys["SOLVER.STEPS"], keys["SOLVER.MAX_ITER"]
    assert all(isinstance(step, int) for step in [*steps, most])
    assert steps[0] == 0 and steps == sorted(set(steps)) and steps[-1] < most
    assert made["factor"] == Fraction(max(gpus, 1) * (ims or one.ims_per_batch), 8 * one.ims_per_batch)
    assert keys["SOLVER.BASE_LR"] == pytest.approx(one.base_lr * made["factor"], rel=1e-9)
    if not iterations:
        assert 0 <= most * made["factor"] - one.max_iter < made["factor"]
        assert all(
            0 <= step * made["factor"] - own < made["factor"] for step, own in zip(steps, one.steps, strict=True)
        )


def test_rates_that_are_listed_are_scaled_with_their_steps() -> None:
    solver = {"LR_POLICY": "steps_with_lrs", "STEPS": [0, 60, 80], "LRS": [0.02, 0.002, 0.0002], "MAX_ITER": 90}
    keys = scaled({"NUM_GPUS": 8, "SOLVER": solver}, 2)["keys"]
    assert keys["SOLVER.LRS"] == [0.005, 0.0005, 0.00005]
    assert keys["SOLVER.STEPS"] == [0, 240, 320]


def test_steps_without_a_beginning_are_refused() -> None:
    with pytest.raises(ValueError, match="begin with 0"):
        scaled({"SOLVER": {"STEPS": [10, 20], "MAX_ITER": 30}}, 1)


def test_fewer_images_on_a_gpu_stretch_the_schedule_again() -> None:
    found = shown(1, config=MASK, ims_per_batch=1)
    assert (found["factor"], found["BASE_LR"], found["MAX_ITER"]) == ("1/16", 0.00125, 1440000)


def test_hours_and_memory_are_the_model_zoos() -> None:
    found = shown(8, config=MASK)
    assert found["hours"] == 22.2
    assert "8.6 GB a GPU" in found["gpu_memory"]
    assert shown(8, config=MASK, seconds=2.0)["hours"] == 50.0
    big = shown(1, config="e2e_keypoint_rcnn_X-101-64x4d-FPN_1x")["too_small"]
    assert "K80 (12 GB)" in big and "V100" not in big
    assert "K80" not in shown(1, config="e2e_keypoint_rcnn_X-101-64x4d-FPN_1x", ims_per_batch=1)["too_small"]


# options


def test_a_mistyped_baseline_names_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        shown(1, config="e2e_mask_rcnn_R50-FPN_1x")
    assert MASK in error.value.mend


def test_a_net_that_needs_proposals_names_the_one_that_does_not() -> None:
    for name, better in (
        ("fast_rcnn_R-50-FPN_1x", "e2e_faster_rcnn_R-50-FPN_1x"),
        ("mask_rcnn_R-50-C4_1x", "e2e_mask"),
    ):
        with pytest.raises(UsageError) as error:
            shown(1, config=name)
        assert better in error.value.mend
    made = render(load("detectron"), {"config": "fast_rcnn_R-50-FPN_1x", "train_proposals": "p.pkl"}, 1)
    assert told(made)["proposals"] == ["/data/p.pkl"]


@pytest.mark.parametrize(
    ("extra", "says"),
    [("TEST.NMS", "1 words"), ("NUM_GPUS 3", "--gpus"), ("SOLVER.MAX_ITER 9", "iterations"), ("TEST.NMS '0.3", "quot")],
)
def test_extra_keys_are_pairs_that_have_no_option(extra: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        shown(1, extra=extra)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "options",
    [{"pretrained": "yes"}, {"ims_per_batch": -1}, {"snapshot_every": 0}, {"config": "my.yaml", "pretrained": "coco"}],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        shown(1, **options)
    assert error.value.mend


def test_an_own_configuration_is_scaled_in_the_container() -> None:
    for name, file in (
        ("my.yaml", "/project/my.yaml"),
        ("/data/x.yaml", "/data/x.yaml"),
        ("04_2018_gn_baselines/e2e_mask_rcnn_R-50-FPN_2x_gn", "04_2018_gn_baselines/e2e_mask_rcnn_R-50-FPN_2x_gn.yaml"),
    ):
        made = render(load("detectron"), {"config": name}, 4)
        assert told(made)["file"] == file
        assert told(made)["schedule"] is None and told(made)["weights"] is None
        assert "scaled in the container" in made.plan["schedule"]


def test_weights_come_from_detectrons_bucket() -> None:
    def of(**options: Any) -> list[tuple[str, str]]:
        return [(one.file, one.url) for one in render(load("detectron"), {"config": MASK, **options}, 1).weights]

    home = "https://dl.fbaipublicfiles.com/detectron/"
    assert of() == [("R-50.pkl", f"{home}ImageNetPretrained/MSRA/R-50.pkl")]
    [(file, url)] = of(pretrained="coco")
    assert file == f"{MASK}.pkl"
    assert re.fullmatch(home + r"35858933/12_2017_baselines/e2e_mask_rcnn_R-50-FPN_1x\.yaml\.\S+/model_final\.pkl", url)
    assert of(pretrained="none") == of(weights="mine.pkl") == of(config="my.yaml") == []
    assert [one.licence for one in render(load("detectron"), {}, 1).weights] == ["CC BY-SA 3.0"]
    assert "keypoints_coco_2014_train%3A" in model_url("rpn_person_only_R-50-FPN_1x")
    assert "/rpn/model_final.pkl" in model_url("rpn_R-50-C4_1x")


def test_the_container_is_told_where_the_weights_are() -> None:
    places = {"imagenet": "/weights/R-50.pkl", "coco": f"/weights/{MASK}.pkl", "none": ""}
    for kind, place in places.items():
        assert told(render(load("detectron"), {"config": MASK, "pretrained": kind}, 1))["weights"] == place
    assert told(render(load("detectron"), {"weights": "mine.pkl"}, 1))["weights"] == "/project/mine.pkl"


def test_classes_are_counted_before_a_machine_is_rented(tmp_path: Path) -> None:
    data(tmp_path)
    options = {"train_json": "train.json", "train_images": "images", "val_json": "", "pretrained": "none"}
    assert render(load("detectron"), options, 1, tmp_path).plan["num_classes"] == 3
    with pytest.raises(UsageError) as error:
        render(load("detectron"), {**options, "num_classes": 81}, 1, tmp_path)
    assert "2 categories" in error.value.what and "must be 3" in error.value.mend
    with pytest.raises(UsageError, match="has no annotations/instances_train2017"):
        render(load("detectron"), {}, 1, tmp_path)
    with pytest.raises(UsageError, match="--set val_json= for no validation set"):
        render(load("detectron"), {**options, "val_json": "val.json"}, 1, tmp_path)
    (tmp_path / "train.json").write_text("[1, 2]")
    with pytest.raises(UsageError, match="not in COCO's form"):
        render(load("detectron"), options, 1, tmp_path)


def test_clothing_has_boxes_only() -> None:
    made = render(load("detectron-vg"), {}, 4)
    assert told(made)["train"] == {"json": "/data/clothing.json", "images": "/data"}
    assert told(made)["skip_test"] is True
    with pytest.raises(UsageError, match="wants masks"):
        render(load("detectron-vg"), {"config": MASK}, 4)


# the recipes


@pytest.mark.parametrize("name", RECIPES)
def test_checkpoints_are_snapshots_and_half_written_ones_are_not(name: str) -> None:
    folder = "train/coco_own_train/generalized_rcnn/"
    paths = [
        folder + one for one in ("model_iter9.pkl", "model_iter19.pkl", "model_iter29.pkl.tmp.8f3b", "model_final.pkl")
    ]
    found = complete_snapshots(load(name), paths)
    assert [one.iteration for one in found] == [9, 19]
    words = render(load(name), {"pretrained": "none"}, 1).resumed(found[-1].stem)
    assert words == ("python", "kit/train.py", "--resume", folder + "model_iter19.pkl")


@pytest.mark.parametrize("name", RECIPES)
def test_the_word_for_an_early_end_is_the_programs(name: str) -> None:
    assert f'"{load(name).stop.said}"' in (KIT / "train.py").read_text()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("provision: the training has diverged: the loss is nan at iteration 10", "learning rate"),
        ("CRITICAL train.py:  98: Loss is NaN", "learning rate"),
        ("E0206 22:29:03 605 pybind_state.h:422] … AssertionError: Negative areas founds", "coco-check"),
        ("ValueError: could not broadcast input array from shape (4) into shape (0)", "num_classes"),
        ("INFO test_net.py: 109: Waiting for 'model_final.pkl' to exist...", "weights"),
        ("NotImplementedError: No evaluator for dataset: toy_train", "FORCE_JSON_DATASET_EVAL"),
        ("_pickle.UnpicklingError: pickle data was truncated", "resume"),
        ("[enforce fail at context_gpu.cu:343] error == cudaSuccess. 2 vs 0. Error: out of memory", "ims_per_batch=1"),
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "CUDA 11.3"),
        ("smooth_l1_loss_op.h:41] . Not Implemented.", "GPU"),
        ("provision: cannot go on: Caffe2 sees 0 GPUs, not 4: is the host's driver …", "driver"),
    ],
)
def test_failures_are_explained(line: str, says: str) -> None:
    found = explain(load("detectron").failures, [line])
    assert found is not None and says in found.mend


@pytest.mark.parametrize(
    "line",
    [
        "[E init_intrinsics_check.cc:43] CPU feature avx is present on your machine, but the Caffe2 binary is not …",
        "WARNING:root:[====DEPRECATE WARNING====]: you are creating an object from CNNModelHelper class",
        "Operator with engine CUDNN is not available for operator Conv",
        'json_stats: {"iter": 40, "loss": "0.802664", "lr": "0.000019", "mb_qsize": 64, "mem": 0, "time": "1.060848"}',
    ],
)
def test_harmless_lines_are_not_blamed(line: str) -> None:
    assert all(explain(load(name).failures, [line]) is None for name in RECIPES)


# the container's programs


def test_the_programs_come_with_the_run_and_hold_no_words_that_python_2_lacks() -> None:
    files = render(load("detectron"), {}, 1).files
    names = {name for name in files if name.startswith("kit/")}
    assert names == {f"kit/{path.name}" for path in KIT.glob("*.py")}
    for name in names:
        tree = ast.parse(files[name])
        newer = (
            ast.JoinedStr,
            ast.NamedExpr,
            ast.AnnAssign,
            ast.Nonlocal,
            ast.AsyncFunctionDef,
            ast.YieldFrom,
            ast.Await,
        )
        assert not [node for node in ast.walk(tree) if isinstance(node, newer)], name
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        assert not [one.name for one in functions if one.args.kwonlyargs or one.returns], name


def test_good_data_is_trained_on(kit: Callable[[str], ModuleType], tmp_path: Path) -> None:
    found = kit("dataset")
    data(tmp_path)
    read = found.read(str(tmp_path / "train.json"))
    assert found.problems(read, str(tmp_path / "images"), masks=True, images_per_gpu=2) == ([], [])
    assert found.number_of_classes(read, 0) == found.number_of_classes(read, 3) == 3
    assert found.classes(read) == ["__background__", "cat", "dog"]


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({"image_id": 99}, {}, "1 of 4 annotations belong to no image (id 1)"),
        ({"category_id": 7}, {}, "unknown category_id"),
        ({"segmentation": []}, {"masks": True}, "no polygon"),
        ({"segmentation": [[1, 2, 3, 4]]}, {"masks": True}, "no polygon"),
        ({}, {"keypoints": True}, "no category has keypoints"),
        ({}, {"images_per_gpu": 7}, "ims_per_batch=1"),
    ],
)
def test_data_that_would_end_a_training_is_named(
    kit: Callable[[str], ModuleType], tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    stops, _ = kit("dataset").problems(data(tmp_path, **changes), str(tmp_path / "images"), **options)
    assert says in " ".join(stops)


def test_missing_files_and_keys_are_named(kit: Callable[[str], ModuleType], tmp_path: Path) -> None:
    found, check = data(tmp_path), kit("dataset")
    (tmp_path / "images" / "1.jpg").unlink()
    assert "1 of 3 images are not in" in check.problems(found, str(tmp_path / "images"))[0][0]
    del found["annotations"][0]["segmentation"], found["annotations"][0]["area"]
    assert "lack area, segmentation" in " ".join(check.problems(found, str(tmp_path / "images"))[0])
    for text, says in (("{", "cannot be read"), ("[]", "is a list"), ('{"images": []}', "has no images")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(check.WrongData, match=says):
            check.read(str(tmp_path / "bad.json"))


def test_what_detectron_drops_in_silence_is_said(kit: Callable[[str], ModuleType], tmp_path: Path) -> None:
    for changes in ({"area": 0}, {"bbox": [1, 1, 1, 30]}):
        assert kit("dataset").problems(data(tmp_path, **changes), str(tmp_path / "images")) == (
            [], ["1 of 4 annotations have no area and are left out (id 1)"],
        )  # fmt: skip


def test_classes_have_to_be_what_the_json_says(kit: Callable[[str], ModuleType], tmp_path: Path) -> None:
    check, found = kit("dataset"), data(tmp_path)
    for wrong in (2, 81):
        with pytest.raises(check.WrongData, match="2 categories: it must be 3"):
            check.number_of_classes(found, wrong)
    other = {**found, "categories": found["categories"][::-1]}
    with pytest.raises(check.WrongData, match="another order"):
        check.same_classes(found, other)


def test_half_written_checkpoints_never_count(kit: Callable[[str], ModuleType], tmp_path: Path) -> None:
    """Detectron's own search takes the newest name for the checkpoint, and fails on it at every restart."""
    whole, heard = pickle.dumps({"blobs": {"a": list(range(999))}}, 2), list[str]()
    looks_well = whole[:500] + b"."
    for name, content in (
        ("model_iter9.pkl", whole), ("model_iter10.pkl", whole), ("model_iter19.pkl.tmp.8706", whole[:50]),
        ("model_iter29.pkl", whole[:50]), ("model_iter39.pkl", b""), ("model_iter49.pkl", looks_well),
        ("model_final.pkl", whole[:99]), ("net.pbtxt", b"name"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
    checkpoints = kit("checkpoints")
    checkpoints.tidy(str(tmp_path), heard.append)
    assert checkpoints.newest(str(tmp_path), heard.append) == (str(tmp_path / "model_iter10.pkl"), 10)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        "model_iter9.pkl", "model_iter10.pkl", "net.pbtxt", "model_final.pkl.broken", "model_iter29.pkl.broken",
        "model_iter39.pkl.broken", "model_iter49.pkl.broken",
    }  # fmt: skip
    assert len(heard) == 5


def test_no_checkpoint_is_no_error(kit: Callable[[str], ModuleType], tmp_path: Path) -> None:
    assert kit("checkpoints").newest(str(tmp_path), print) == (None, -1)
    assert kit("checkpoints").iteration("a/model_iter12.pkl") == 12


def test_the_best_frames_of_a_video(kit: Callable[[str], ModuleType]) -> None:
    """Each class's best scores, from frames of their own; then the frames that are best for the most classes."""
    seen = [
        {"class": name, "score": score, "frame": frame, "seconds": frame / 10, "box": [0, 0, 2, 2]}
        for name, score, frame in [
            ("shirt", 0.9, 10), ("shirt", 0.8, 10), ("shirt", 0.95, 20), ("shirt", 0.7, 30), ("shoe", 0.6, 10),
            ("shoe", 0.5, 40),
        ]
    ]  # fmt: skip
    top = kit("frames").best_of(seen, 2)
    assert [(one["frame"], one["score"]) for one in top["shirt"]] == [(20, 0.95), (10, 0.9)]
    assert [one["frame"] for one in top["shoe"]] == [10, 40]
    assert kit("frames").most_classes(top, 2) == [
        {"frame": 10, "seconds": 1.0, "classes": ["shirt", "shoe"]},
        {"frame": 20, "seconds": 2.0, "classes": ["shirt"]},
    ]


def test_what_is_cut_out_of_a_frame_stays_inside(kit: Callable[[str], ModuleType]) -> None:
    picture = np.arange(20).reshape(4, 5)
    assert kit("frames").cut(picture, [1, 1, 2, 2]).tolist() == [[6, 7], [11, 12]]
    assert kit("frames").cut(picture, [-3, -3, 4, 4]).tolist() == [[0]]
    assert kit("frames").cut(picture, [4.6, 3.2, 0.1, 0.1]).shape == (1, 1)
