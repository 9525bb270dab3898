"""The recipe `detectron` for real, on the CPU: it trains, saves when it is told to end, goes on, sees when it diverges,
learns three photos by heart, and finds what is in them.

The net is Detectron's R-50-FPN with an eighth of the width: its checkpoints are 50 MB and not 350.
"""

import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.shell import LocalShell, Result
from provision.logs.failures import explain
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import Rendered, complete_snapshots
from tests.detectron.coco_kit import photos, video
from tests.detectron.test_detectron import NAMES, image

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]
SHELL = LocalShell()
SMALL = (
    "RESNETS.WIDTH_PER_GROUP 8 FPN.DIM 32 FAST_RCNN.MLP_HEAD_DIM 64 MRCNN.DIM_REDUCED 16 TRAIN.BATCH_SIZE_PER_IM 32 "
    "DATA_LOADER.MINIBATCH_QUEUE_SIZE 4"
)
# where batch normalization was there is nothing in the baselines: from nothing they learn little. With groups they do
NORMAL = (
    f"{SMALL} GROUP_NORM.NUM_GROUPS 8 FAST_RCNN.CONV_HEAD_DIM 32 FAST_RCNN.NUM_STACKED_CONVS 1 SOLVER.BASE_LR 0.01 "
    "SOLVER.WARM_UP_ITERS 20"
)
# Detectron's own way to test on two GPUs, in processes of its own, with the CPU in their place
CPU = "import sys; sys.path.append('/opt/detectron/share'); import detectron_on_cpu; detectron_on_cpu.use_cpu()"
TWO = """
import json, sys
sys.path.insert(0, "kit")
import common, score
plan = dict(common.read_plan(), gpus=2)
common.begin(0)
score.configured(sys.argv[1], plan)
print("scored " + json.dumps(score.measure(sys.argv[1], plan)))
"""
OPTIONS: dict[str, Any] = {
    "config": "e2e_mask_rcnn_R-50-FPN_1x", "pretrained": "none", "scale": 96, "skip_test": True, "extra": SMALL,
    "train_json": "annotations.json", "train_images": ".", "val_json": "annotations.json", "val_images": ".",
}  # fmt: skip


@dataclass
class Place:
    """A run's folder and the data; whose programs run in the image, as a user that it does not know."""

    data: Path
    work: Path
    name: str = "detectron"

    def fill(self, made: Rendered) -> None:
        self.work.mkdir(exist_ok=True)
        for name, text in made.files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for path in (self.work, *self.work.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)

    def run(self, command: tuple[str, ...], *more: str, stop_at: str | None = None) -> Result:
        """Run the command to its end; SIGINT is sent when a line fits `stop_at`."""
        name, told = f"test-detectron-{uuid.uuid4().hex[:8]}", False

        def on_line(line: str) -> None:
            nonlocal told
            if stop_at and not told and re.search(stop_at, line):
                told = True
                SHELL.run(["docker", "kill", "-s", "INT", name])

        words = ["docker", "run", "--rm", "--name", name, "--network", "none", "--user", "4321:4321", "-w", "/work"]
        words += ["-v", f"{self.work}:/work", "-v", f"{self.data}:/data:ro", *more, image(self.name).tag]
        try:
            return SHELL.run([*words, *command], check=False, on_line=on_line)
        finally:
            SHELL.run(["docker", "rm", "-f", name], check=False)

    def snapshots(self) -> dict[int, str]:
        files = [str(path.relative_to(self.work)) for path in self.work.rglob("*")]
        return {one.iteration: one.stem for one in complete_snapshots(load("detectron"), files)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("data") / "photos")


def made(**options: Any) -> Rendered:
    return render(load("detectron"), {**OPTIONS, **options}, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_saves_when_told_to_end_and_goes_on_where_it_was(name: str, data: Path, tmp_path: Path) -> None:
    place, run = Place(data, tmp_path / "work", name), made(iterations=4000)
    place.fill(run)
    first = place.run(run.command, stop_at=r'json_stats: .*"iter": 0,')
    assert first.code == 0, f"{first.out}\n{first.err}"
    assert load("detectron").stop.said in first.out[-4096:]
    [(at, stem)] = place.snapshots().items()
    folder = (place.work / stem).parent
    (folder / f"model_iter{at + 20}.pkl.tmp.8706").write_bytes(b"half")
    whole = (place.work / f"{stem}.pkl").read_bytes()
    (folder / f"model_iter{at + 10}.pkl").write_bytes(whole[: len(whole) // 2])
    second = place.run(run.resumed(stem), stop_at=r"Resuming from")
    assert f"model_iter{at}.pkl at start iter {at + 1}\n" in second.out
    assert f"deleted model_iter{at + 20}.pkl.tmp.8706" in second.out
    assert f"model_iter{at + 10}.pkl is cut short" in second.out
    assert {path.stat().st_uid for path in folder.iterdir() if path.name.endswith(".pbtxt")} == {4321}


def test_a_training_that_diverges_ends_and_nothing_of_it_is_kept(data: Path, tmp_path: Path) -> None:
    place = Place(data, tmp_path / "work")
    run = made(iterations=50, snapshot_every=1, extra=f"{SMALL} SOLVER.BASE_LR 100000.0 SOLVER.WARM_UP_ITERS 0")
    place.fill(run)
    done = place.run(run.command)
    assert done.code == 3
    assert "the training has diverged: the loss is" in done.out
    found = explain(load("detectron").failures, done.out.splitlines())
    assert found is not None and "learning rate" in found.mend
    at = int(re.findall(r"the loss is \S+ at iteration (\d+)", done.out)[0])
    assert max(place.snapshots(), default=-1) < at


def test_classes_that_are_not_the_jsons_are_refused(data: Path, tmp_path: Path) -> None:
    """Detectron itself ends in a broken broadcast for fewer, and trains on for more."""
    place, run = Place(data, tmp_path / "work"), made(num_classes=81)
    place.fill(run)
    done = place.run(run.command)
    assert done.code == 2
    assert "num_classes is 81, but the json has 21 categories: it must be 22" in done.out
    assert "Traceback" not in done.out + done.err


def test_it_learns_three_photos_by_heart_and_finds_what_is_in_them(data: Path, tmp_path: Path) -> None:
    place = Place(data, tmp_path / "work")
    run = made(
        config="04_2018_gn_baselines/scratch_e2e_mask_rcnn_R-50-FPN_3x_gn", iterations=160, snapshot_every=1000,
        scale=128, extra=NORMAL, skip_test=False, threshold=0.3,
    )  # fmt: skip
    place.fill(run)
    done = place.run(run.command)
    assert done.code == 0, f"{done.out[-3000:]}\n{done.err[-3000:]}"
    assert sorted(place.snapshots()) == [159]
    assert any(path.name == "model_final.pkl" for path in place.work.rglob("*"))
    scored = json.loads((place.work / "score.json").read_text())
    assert scored["metrics"]["box AP50"] > 30
    assert scored["metrics"]["per_class"]["person"] > 0

    stem = place.snapshots()[159]
    given, out = tmp_path / "in", tmp_path / "out"
    for folder in (given, out):
        folder.mkdir()
        folder.chmod(0o777)
    (given / "photo.jpg").write_bytes((data / "JPEGImages" / "2011_000003.jpg").read_bytes())
    video(data, given / "clip.mp4")
    words = tuple(word.replace("{snapshot}", stem) for word in run.tasks["infer"].command)
    told = place.run(words, "-v", f"{given}:/in:ro", "-v", f"{out}:/out")
    assert told.code == 0, f"{told.out[-3000:]}\n{told.err[-3000:]}"
    photo = json.loads((out / "photo.jpg.json").read_text())
    assert "person" in {one["class"] for one in photo["findings"]}
    assert overlap(photo["findings"], json.loads((data / "annotations.json").read_text())) > 0.4
    assert (out / "photo.jpg.png").read_bytes().startswith(b"\x89PNG")
    film = json.loads((out / "clip.mp4.json").read_text())
    assert film["every"] == 5
    assert {one["frame"] // 10 for one in film["best"]["person"]} <= {0, 1}, "there are no people in the third photo"
    assert all((out / "clip.mp4" / one["cut"]).is_file() for ours in film["best"].values() for one in ours)
    assert (out / "clip.mp4" / film["most_classes"][0]["picture"]).is_file()

    with (place.work / "kit" / "sitecustomize.py").open("a") as start:
        start.write(f"\n{CPU}\n")
    two = place.run(("python", "-c", TWO, f"{stem}.pkl"))
    assert two.out.count("range command") == 2, f"{two.out[-3000:]}\n{two.err[-3000:]}"
    again = json.loads(re.findall(r"^scored (.*)", two.out, re.M)[0])
    assert again["box AP50"] == pytest.approx(scored["metrics"]["box AP50"], abs=0.5)


def overlap(findings: list[dict[str, Any]], coco: dict[str, Any]) -> float:
    """Intersection over union of the best person with the nearest true one, in the first photo."""
    number = next(one["id"] for one in coco["images"] if one["file_name"].endswith("2011_000003.jpg"))
    kind = next(one["id"] for one in coco["categories"] if one["name"] == "person")
    true = [one["bbox"] for one in coco["annotations"] if one["image_id"] == number and one["category_id"] == kind]
    best = next(one["box"] for one in findings if one["class"] == "person")
    return max(_overlap(best, one) for one in true)


def _overlap(one: list[float], other: list[float]) -> float:
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(0.0, wide) * max(0.0, high)
    return both / (one[2] * one[3] + other[2] * other[3] - both)


def test_weights_of_a_net_with_other_classes_fit_but_for_its_heads(data: Path, tmp_path: Path) -> None:
    first = Place(data, tmp_path / "first")
    run = made(iterations=1)
    first.fill(run)
    assert first.run(run.command).ok
    found = json.loads((data / "annotations.json").read_text())
    kept = [one for one in found["categories"] if one["name"] in ("person", "sofa", "bus")]
    ids = {one["id"] for one in kept}
    boxes = [one for one in found["annotations"] if one["category_id"] in ids]
    second = Place(data, tmp_path / "second")
    for extra, says in (
        (SMALL, "new, as there are other classes: bbox_pred_b, "),
        (SMALL + " FPN.DIM 16", "another net"),
    ):
        run = made(iterations=1, train_json="/work/three.json", val_json="", weights="/work/start.pkl", extra=extra)
        second.fill(run)
        (second.work / "three.json").write_text(json.dumps({**found, "categories": kept, "annotations": boxes}))
        (second.work / "start.pkl").write_bytes(next(first.work.rglob("model_final.pkl")).read_bytes())
        done = second.run(run.command)
        assert says in done.out
        assert done.code == (0 if extra == SMALL else 2)
        for path in second.work.rglob("model_*.pkl"):
            path.unlink()


def test_processes_that_test_on_other_gpus_know_the_data(data: Path, tmp_path: Path) -> None:
    place = Place(data, tmp_path / "work")
    place.fill(made())
    ask = "from detectron.datasets import dataset_catalog as c; print(c.get_ann_fn('coco_own_val'))"
    assert place.run(("python", "-c", ask), "-e", "PYTHONPATH=/work/kit").out == "/data/annotations.json\n"


def test_python_2_takes_all_programs(data: Path, tmp_path: Path) -> None:
    place = Place(data, tmp_path / "work", "detectron-py2")
    place.fill(made())
    done = place.run(("python", "-m", "compileall", "-q", "kit"))
    assert done.code == 0, f"{done.out}\n{done.err}"
    assert len(list((place.work / "kit").glob("*.pyc"))) == len(list((place.work / "kit").glob("*.py")))
