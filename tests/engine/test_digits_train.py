"""The recipe `digits` for real: Caffe trains in the image, is interrupted, resumes where it was, and learns."""

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from images.build import build
from images.choose import choose
from infra.shell import LocalShell, Result
from provision.data.digits import prepare
from provision.logs.caffe import Event, Metric, Parser, Resumed
from provision.logs.failures import explain
from provision.logs.progress import progress_of
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import Recipe, Rendered, complete_snapshots
from tests.engine import caffe_kit

pytestmark = pytest.mark.engine
SHELL = LocalShell()


@dataclass
class Place:
    """A run's folder and the data, with the image that trains there as the user who runs the tests."""

    image: str
    data: Path
    work: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def fill(self, made: Rendered) -> None:
        self.environment = made.environment
        for name, text in made.files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for path in (self.work, *self.work.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)

    def train(self, command: tuple[str, ...], stop_at: int | None = None) -> tuple[Result, list[Event]]:
        """Run the command to its end; SIGINT is sent once when the log shows iteration `stop_at`."""
        name, parser, events = f"test-digits-{uuid.uuid4().hex[:8]}", Parser(), []
        told = False

        def on_line(line: str) -> None:
            nonlocal told
            event = parser.feed(line)
            if event is not None:
                events.append(event)
            if stop_at is not None and not told and isinstance(event, Metric) and event.iteration >= stop_at:
                told = True
                SHELL.run(["docker", "kill", "-s", "INT", name])

        words = ["docker", "run", "--rm", "--init", "--name", name, "--network", "none", "--user", user()]
        words += ["-v", f"{self.work}:/work", "-v", f"{self.data}:/data:ro", "-w", "/work"]
        words += [word for name, value in self.environment.items() for word in ("--env", f"{name}={value}")]
        try:
            return SHELL.run([*words, self.image, *command], check=False, on_line=on_line), events
        finally:
            SHELL.run(["docker", "rm", "-f", name], check=False)

    def snapshots(self, recipe: Recipe) -> dict[int, str]:
        files = [str(path.relative_to(self.work)) for path in self.work.rglob("*")]
        return {one.iteration: one.stem for one in complete_snapshots(recipe, files)}


def user() -> str:
    """Never root in the container, even where the tests are run by root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else "12345:12345"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    for path in (folder, *list(folder.parents)[:2]):
        path.chmod(0o755)
    return prepare(folder / "digits")


@pytest.fixture(params=["caffe-debian", "caffe"])
def place(request: pytest.FixtureRequest, data: Path, tmp_path: Path) -> Place:
    """In Debian's Caffe, and in the one that is compiled and patched here."""
    for path in list(tmp_path.parents)[:2]:
        path.chmod(0o755)
    (tmp_path / "work").mkdir()
    image = caffe_kit.image() if request.param == "caffe" else build(choose("caffe-debian"), SHELL)
    return Place(image.tag, data, tmp_path / "work")


@pytest.mark.timeout(2400)
def test_interrupted_training_goes_on_where_it_was_and_learns(place: Place) -> None:
    recipe = load("digits")
    made = render(recipe, {"iterations": "3000", "display": "1"})
    place.fill(made)

    result, before = place.train(made.command, stop_at=100)
    assert result.code == 0, result.err
    assert recipe.stop.said in result.err
    (at,) = place.snapshots(recipe)
    assert 100 <= at < 3000

    result, after = place.train(made.resumed(place.snapshots(recipe)[at]))
    assert result.code == 0, result.err
    assert [event.iteration for event in after if isinstance(event, Resumed)] == [at]
    assert progress_of(after).first_after_resume == at > 0
    end = progress_of(after)
    assert end.iteration == end.max_iter == 3000
    assert end.accuracy is not None and end.accuracy >= recipe.goal["accuracy"]
    last = max(event.iteration for event in before if isinstance(event, Metric))
    assert last <= at <= last + 1  # no iteration that was trained before the signal is trained again
    assert 3000 in place.snapshots(recipe)


@pytest.mark.timeout(2400)
def test_gpu_solver_in_an_image_without_cuda_is_explained(place: Place) -> None:
    recipe = load("digits")
    made = render(recipe, gpus=1)
    place.fill(made)
    result, _ = place.train(made.command)
    assert result.code != 0
    found = explain(recipe.failures, result.err.splitlines())
    assert found is not None and "without CUDA" in found.what
