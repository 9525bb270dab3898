"""Trainings that fail for real, in Debian's Caffe on the CPU, are named by their cause."""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from images.build import build
from images.choose import choose
from infra.shell import LocalShell
from provision.cli import run
from provision.data.digits import prepare
from provision.logs.cause import Cause, Facts
from provision.logs.diagnose import diagnose
from provision.logs.read import Log
from provision.recipes.loading import load
from provision.recipes.rendering import render
from tests.engine.test_digits_train import user

pytestmark = pytest.mark.engine
SHELL = LocalShell()
NAN = {"learning_rate": "1e10", "display": "1", "test_every": "1000", "iterations": "5"}


@dataclass
class Place:
    """A folder with the digits' solver and net, which a test spoils; what a container says of it."""

    image: str
    data: Path
    work: Path

    def fill(self, options: dict[str, str] | None = None) -> None:
        for name, text in render(
            load("digits"), {"iterations": "20", "snapshot_every": "10"} | (options or {})
        ).files.items():
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            (self.work / name).write_text(text)
        for path in (self.work, *self.work.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)

    def change(self, file: str, old: str, new: str) -> None:
        path = self.work / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def train(self, *words: str, docker: tuple[str, ...] = (), data: Path | None = None) -> list[Cause]:
        """Run it to its end, and diagnose its log with what the engine knows of the container."""
        name = f"test-diagnose-{uuid.uuid4().hex[:8]}"
        start = ["docker", "run", "--name", name, "--init", "--network", "none", "--user", user(), *docker]
        start += ["-v", f"{self.work}:/work", "-v", f"{data or self.data}:/data:ro", "-w", "/work", self.image]
        try:
            result = SHELL.run([*start, "caffe", "train", "-solver", "solver.prototxt", *words], check=False)
            state = json.loads(SHELL.run(["docker", "inspect", "-f", "{{json .State}}", name]).out)
        finally:
            SHELL.run(["docker", "rm", "-f", name], check=False)
        log = self.work / "log.txt"
        log.write_text(result.out + result.err)
        ended = "finished" if result.code == 0 else "failed"
        return diagnose(Log("log", log), Facts(ended, state["ExitCode"], state["OOMKilled"])).causes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    for path in (folder, *list(folder.parents)[:2]):
        path.chmod(0o755)
    return prepare(folder / "digits")


@pytest.fixture
def place(data: Path, tmp_path: Path) -> Place:
    for path in list(tmp_path.parents)[:2]:
        path.chmod(0o755)
    (tmp_path / "work").mkdir()
    made = Place(build(choose("caffe-debian"), SHELL).tag, data, tmp_path / "work")
    made.fill()
    return made


def test_net_of_another_fork(place: Place) -> None:
    crf = 'layer { name: "crf" type: "MultiStageMeanfield" bottom: "ip2" bottom: "ip2" bottom: "data" top: "crf" }\n'
    place.change("net.prototxt", 'layer {\n  name: "accuracy"', crf + 'layer {\n  name: "accuracy"')
    found = place.train()
    assert found[0].name == "wrong-fork-layer" and "MultiStageMeanfield" in found[0].text


def test_field_of_another_fork(place: Place) -> None:
    place.change(
        "net.prototxt", 'type: "ReLU" bottom: "conv1"', 'type: "ReLU" spatial_filter_weights_str: "3" bottom: "conv1"'
    )
    found = place.train()
    assert found[0].name == "wrong-fork-field" and "spatial_filter_weights_str" in found[0].text


def test_missing_lmdb(place: Place, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert place.train(data=tmp_path / "empty")[0].name == "lmdb-missing"


def test_missing_file(place: Place) -> None:
    place.change("solver.prototxt", '"net.prototxt"', '"nets/net.prototxt"')
    found = place.train()
    assert found[0].name == "file-not-found" and "nets/net.prototxt" in found[0].text


def test_weights_of_another_shape(place: Place) -> None:
    assert place.train() == []
    place.change("net.prototxt", "num_output: 10", "num_output: 20")
    found = place.train("-weights", "snapshots/digits_iter_20.caffemodel")
    assert found[0].name == "shape-mismatch" and "'ip2'" in found[0].text


def test_labels_that_are_not_predictions(place: Place) -> None:
    place.change("net.prototxt", 'name: "loss" type: "SoftmaxWithLoss" bottom: "ip2"',
                 'name: "loss" type: "SoftmaxWithLoss" bottom: "conv2"')  # fmt: skip
    assert place.train()[0].name == "labels-not-predictions"


def test_divergence_is_traced_to_its_layer(place: Place) -> None:
    place.fill(NAN)
    (place.work / "solver.prototxt").write_text((place.work / "solver.prototxt").read_text() + "debug_info: true\n")
    found = place.train()
    assert found[0].name == "diverged"
    layer = re.search(r"it began in layer (\w+) \(forward\)", found[0].what)
    assert layer and layer[1] in ("conv1", "conv2", "ip1", "ip2")
    assert f"[Forward] Layer {layer[1]}" in found[0].text
    assert "the learning rate is too high" in found[0].why


def test_full_disk(place: Place) -> None:
    found = place.train(docker=("--tmpfs", "/work/snapshots:size=64k,mode=777"))
    assert found[0].name == "snapshot-stream" and "SerializeToOstream" in found[0].text


def test_folder_of_snapshots_that_is_not_there(place: Place) -> None:
    place.change("solver.prototxt", '"snapshots/digits"', '"elsewhere/digits"')
    assert place.train()[0].name == "snapshot-prefix"


def test_memory_of_the_container(place: Place) -> None:
    place.fill({"batch": "200000"})
    found = place.train(docker=("-m", "200m", "--memory-swap", "200m"))
    assert found[0].name == "host-out-of-memory"
    assert "the container was killed for this reason" in found[0].what


def test_label_that_is_no_class(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Caffe on the CPU does not check: it reads and writes outside its memory, and goes on. glibc finds out."""
    place.change("net.prototxt", "num_output: 10", "num_output: 1")
    found = place.train(docker=("-e", "MALLOC_CHECK_=3"))
    assert found[0].name in ("memory-corrupted", "segmentation-fault", "crash-at-exit")
    assert "a label" in found[0].why
    assert run(["data", "check", str(place.work / "net.prototxt"), "--data", str(place.data)]) == 2
    assert "labels 1, 2, 3, 4, 5, 6, 7, 8 … are no class of 1" in capsys.readouterr().out


def test_sound_training_is_sound(place: Place) -> None:
    assert place.train() == []
