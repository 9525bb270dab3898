"""The recipes caffe-classify and caffe-detect for real: Caffe trains in the image, is stopped, resumes, and is used."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy
import pytest
from sklearn.datasets import load_digits

from images.build import build
from images.choose import choose
from infra.shell import LocalShell, Result
from provision.data.digits import prepare
from provision.logs.caffe import Metric, Parser
from provision.logs.failures import explain
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import Recipe, Rendered, Task, complete_snapshots
from tests.engine import caffe_kit
from tests.recipes import detect_data
from tests.unit.recipe_files import load_file

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]
SHELL = LocalShell()


@dataclass
class Place:
    """A run's folder with the image that trains there, as a user who is never root."""

    image: str
    folder: Path
    binds: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in list(self.folder.parents)[:2]:
            path.chmod(0o755)
        for name in ("work", "out"):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(0o777)
        self.folder.chmod(0o755)
        self.binds = ["-v", f"{self.folder}/work:/work", "-v", f"{self.folder}/out:/out"]

    def give(self, source: Path, target: str) -> None:
        """Mount a folder read-only; whoever runs the container can read it."""
        for path in (source, *source.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.binds += ["-v", f"{source}:{target}:ro"]

    def fill(self, made: Rendered) -> None:
        for name, text in made.files.items():
            path = self.folder / "work" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for path in (self.folder / "work").rglob("*"):
            path.chmod(0o777 if path.is_dir() else 0o666)

    def run(self, command: tuple[str, ...], stop_at: int | None = None) -> Result:
        """Run the command to its end; SIGINT is sent once when the log shows iteration `stop_at`."""
        name, parser = f"test-recipes-{uuid.uuid4().hex[:8]}", Parser()
        told = False

        def on_line(line: str) -> None:
            nonlocal told
            event = parser.feed(line)
            if stop_at is not None and not told and isinstance(event, Metric) and event.iteration >= stop_at:
                told = True
                SHELL.run(["docker", "kill", "-s", "INT", name])

        user = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "12345:12345"
        words = ["docker", "run", "--rm", "--init", "--name", name, "--network", "none", "--user", user]
        words += ["-e", "HOME=/tmp", "-e", "OPENBLAS_NUM_THREADS=1", *self.binds, "-w", "/work", self.image]
        try:
            return SHELL.run([*words, *command], check=False, on_line=on_line)
        finally:
            SHELL.run(["docker", "rm", "-f", name], check=False)

    def train(self, command: tuple[str, ...], stop_at: int | None = None) -> Result:
        done = self.run(command, stop_at)
        assert done.code == 0, done.err[-3000:]
        return done

    def task(self, task: Task, stem: str) -> Result:
        return self.train(tuple(word.replace("{snapshot}", stem) for word in task.command))

    def out(self, name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.folder / "out" / name).read_text())
        return found

    def snapshots(self, recipe: Recipe) -> dict[int, str]:
        files = [str(path.relative_to(self.folder / "work")) for path in (self.folder / "work").rglob("*")]
        return {one.iteration: one.stem for one in complete_snapshots(recipe, files)}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[Place]:
    yield Place(build(choose("caffe-debian"), SHELL).tag, tmp_path)


def accuracy(place: Place) -> float:
    metrics = place.out("score.json")["metrics"]
    assert isinstance(metrics, dict)
    return float(metrics["accuracy"])


def test_the_smoke_test_of_an_image_trains_and_is_used(debian: Place, digits: Path) -> None:
    recipe = load("caffe-classify")
    made = render(recipe, {"iterations": "300", "batch": "50", "display": "5"})
    debian.give(digits, "/data")
    debian.fill(made)
    done = debian.train(made.command, stop_at=100)
    assert recipe.stop.said in done.err
    (at,) = [one for one in debian.snapshots(recipe) if one % 60]
    done = debian.train(made.resumed(debian.snapshots(recipe)[at]))
    assert "Optimization Done." in done.err

    snapshot = debian.snapshots(recipe)[300]
    debian.task(made.tasks["score"], snapshot)
    assert debian.out("score.json")["iteration"] == 300
    assert accuracy(debian) >= recipe.goal["accuracy"]

    (debian.folder / "in").mkdir()
    source = load_digits()
    for number in range(20):
        image = numpy.rint(source.images[number] * (255 / 16)).astype(numpy.uint8)
        cv2.imwrite(str(debian.folder / "in" / f"{number:02d} a.png"), image)
    (debian.folder / "in" / "labels.txt").write_text("".join(f"digit {number}\n" for number in range(10)))
    debian.give(debian.folder / "in", "/in")
    debian.task(made.tasks["infer"], snapshot)
    found = debian.out("classes.json")
    assert [one["image"] for one in found] == [f"{number:02d} a.png" for number in range(20)]  # type: ignore[index]
    right = [one["classes"][0]["class"] == f"digit {source.target[at]}" for at, one in enumerate(found)]  # type: ignore[index]
    assert sum(right) >= 18 and len(found[0]["classes"]) == 5  # type: ignore[index]
    assert "conv1" in debian.train(made.tasks["time"].command).err


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The example, as a user has it in a folder of theirs: with paths of another machine."""
    folder = tmp_path / "project"
    example = load_file("caffe-classify/example/make_net.py")
    folder.mkdir()
    (folder / "net.prototxt").write_text(example.build().prototxt().replace("/data/", "examples/digits/"))
    (folder / "solver.prototxt").write_text(example.SOLVER)
    return folder


def test_a_project_of_the_users_own_trains(debian: Place, digits: Path, project: Path) -> None:
    """Nets built in Python: concatenated ReLU, residual blocks, batch norm."""
    recipe = load("caffe-classify")
    made = render(recipe, {"solver": "solver.prototxt"})
    debian.give(digits, "/data")
    debian.give(project, "/project")
    debian.fill(made)
    done = debian.train(made.command)
    assert "source examples/digits/train_lmdb is /data/train_lmdb" in done.err
    assert sorted(debian.snapshots(recipe)) == [100, 200, 300]
    debian.task(made.tasks["score"], debian.snapshots(recipe)[300])
    assert accuracy(debian) >= 0.95


def test_a_file_that_is_nowhere_is_explained(debian: Place, project: Path) -> None:
    recipe = load("caffe-classify")
    made = render(recipe, {"solver": "solver.prototxt"})
    debian.give(project, "/project")
    debian.fill(made)
    done = debian.run(made.command)
    assert done.code != 0 and "launch: examples/digits/train_lmdb is not there" in done.err
    failure = explain(recipe.failures, done.err.splitlines())
    assert failure is not None and "--data DIR" in failure.mend


LAYERS = """
name: "python data"
layer {{ name: "data" type: "Python" top: "data" top: "label" include {{ phase: TRAIN }}
  python_param {{ module: "slow" layer: "Slow" param_str: '{{"source": "/data/train.npz", "batch": 50}}' }} }}
layer {{ name: "data" type: "Python" top: "data" top: "label" include {{ phase: TEST }}
  python_param {{ module: "layers" layer: "Arrays" param_str: '{{"source": "/data/test.npz", "batch": 59}}' }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param {{ num_output: 10 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include {{ phase: TEST }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""
# so that a stop comes in time
SLOW = """
import time
import layers
class Slow(layers.Arrays):
    def forward(self, bottom, top):
        time.sleep(0.01)
        super().forward(bottom, top)
"""
PLATEAU = """
net: "net.prototxt" base_lr: 0.5 lr_policy: "fixed" momentum: 0.9 display: 10 max_iter: 600 snapshot: 200
test_iter: 10 test_interval: 120 snapshot_prefix: "anything"
"""


@pytest.fixture(params=["caffe-debian", "caffe"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Debian's Caffe, which cannot set the rate of a living solver, and the patched one, which can."""
    tag = caffe_kit.image().tag if request.param == "caffe" else build(choose("caffe-debian"), SHELL).tag
    return Place(tag, tmp_path)


def test_python_lowers_the_rate_where_the_loss_stands_still(either: Place) -> None:
    """With a data layer in Python, stopped and gone on with."""
    recipe, source = load("caffe-classify"), load_digits()
    project, data = either.folder / "project", either.folder / "data"
    project.mkdir()
    data.mkdir()
    shutil.copy(Path(load_file("caffe-classify/example/layers.py").__file__), project)
    (project / "slow.py").write_text(SLOW)
    (project / "net.prototxt").write_text(LAYERS.format())
    (project / "solver.prototxt").write_text(PLATEAU)
    for name, part in (("train", slice(0, 1200)), ("test", slice(1200, None))):
        images = (source.images[part, None] / 16).astype(numpy.float32)
        numpy.savez(data / f"{name}.npz", images=images, labels=source.target[part])
    made = render(recipe, {"solver": "solver.prototxt", "trainer": "python", "plateau_window": "30"})
    either.give(project, "/project")
    either.give(data, "/data")
    either.fill(made)

    first = either.train(made.command, stop_at=100)
    assert recipe.stop.said in first.err
    at = max(either.snapshots(recipe))
    assert 100 <= at < 600
    then = either.train(made.resumed(either.snapshots(recipe)[at]))
    assert "Optimization Done." in then.err and 600 in either.snapshots(recipe)

    kept, final = (_schedule(either, iteration)["rate"] for iteration in (at, 600))
    rates = _rates(first.err, 0.5)
    assert rates[-1] == kept
    rates += _rates(then.err, kept)
    assert rates[-1] == final and min(rates) <= 0.25


def _schedule(place: Place, iteration: int) -> dict[str, float]:
    found: dict[str, float] = json.loads(
        (place.folder / f"work/snapshots/net_iter_{iteration}.schedule.json").read_text()
    )
    return found


def _rates(log: str, rate: float) -> list[float]:
    """The rates that were set, after `rate`; those that Caffe shows in between are the same."""
    found = [rate]
    for line in log.splitlines():
        if "base learning rate is" in line:
            found.append(float(line.split()[-1]))
        elif ", lr = " in line:
            assert float(line.split()[-1]) == pytest.approx(found[-1]), line
    return found


AP = 0.6


def test_the_detector_learns_resumes_and_draws(debian: Place) -> None:
    recipe = load("caffe-detect")
    options = {"size": "96", "width": "8", "batch": "8", "iterations": "300", "test_every": "150", "test_iter": "2"}
    made = render(recipe, {**options, "display": "10", "snapshot_every": "300", "mirror": "false"})
    debian.give(detect_data.make(debian.folder / "voc"), "/data")
    debian.fill(made)
    done = debian.train(made.command, stop_at=80)
    assert recipe.stop.said in done.err
    (at,) = debian.snapshots(recipe)
    done = debian.train(made.resumed(debian.snapshots(recipe)[at]))
    assert "Optimization Done." in done.err

    debian.task(made.tasks["score"], debian.snapshots(recipe)[300])
    metrics = debian.out("score.json")["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["AP50"] >= AP, metrics

    shutil.copytree(debian.folder / "voc" / "JPEGImages", debian.folder / "in", ignore=lambda _, names: [
        name for name in names if not name.startswith("test000")])  # fmt: skip
    debian.give(debian.folder / "in", "/in")
    debian.task(made.tasks["infer"], debian.snapshots(recipe)[300])
    found = debian.out("detections.json")
    assert len(found) == 10 and all(one["width"] == 128 for one in found)  # type: ignore[index]
    assert sum(len(one["objects"]) for one in found) >= 10  # type: ignore[index]
    drawn = cv2.imread(str(debian.folder / "out" / "test0000.jpg.png"))
    plain = cv2.imread(str(debian.folder / "in" / "test0000.jpg"))
    assert drawn.shape == plain.shape and (drawn != plain).any()


def test_annotations_that_are_missing_are_explained(debian: Place) -> None:
    recipe = load("caffe-detect")
    made = render(recipe, {"size": "128", "width": "8", "batch": "8", "iterations": "10"})
    data = detect_data.make(debian.folder / "voc", 4, 4)
    (data / "Annotations" / "trainval0002.xml").unlink()
    debian.give(data, "/data")
    debian.fill(made)
    done = debian.run(made.command)
    assert done.code != 0
    failure = explain(recipe.failures, done.err.splitlines())
    assert failure is not None and "missing" in failure.what
