"""A run that needs no laptop: the client is gone once it has said the run's id, AWS itself keeps the run."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cloud.kept_kit import Kept, killed_after_the_id, knows_the_images, row_of, wait_for
from tests.cloud.support import SHORT, Laptop, run_of

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]
MIDDLE = ("--set", "iterations=12000", "--set", "snapshot_every=500", "--set", "test_every=5000")
ENDLESS = ("--set", "iterations=5000000", "--set", "snapshot_every=500", "--set", "test_every=100000")
ON_P3 = ("--instance", "p3.2xlarge", "--detach")


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a laptop that knows all images that the tests here have brought."""
    return tmp_path_factory.mktemp("brought")


@pytest.fixture
def laptop(laptop: Laptop, brought: Path) -> Iterator[Laptop]:
    knows_the_images(brought, laptop.home)
    yield laptop
    knows_the_images(laptop.home, brought)


def test_a_run_ends_well_without_the_laptop_that_started_it(laptop: Laptop, another: Callable[[str], Laptop]) -> None:
    """Client killed with -9, an interruption; seen again from another laptop only when all is over."""
    run = killed_after_the_id(laptop, "train", "digits", *ON_P3, *MIDDLE).trains()
    run.notice(30)

    assert run.ended() == ("SUCCEEDED", "")
    wait_for(laptop.emulator.nothing_left, f"nothing left: {laptop.emulator.leftovers()}")
    assert run.words() == ["interrupted", "finished"]
    assert len([key for key in run.files() if key.startswith("keys/")]) == 2
    run.resumed_well(2)

    other = another("other")
    done = row_of(other, run.run)
    assert (done["state"], done["attempts"]) == ("finished", 2)
    log = other.ok("logs", run.run)
    assert f"_iter_{run.resumed_from(2)}" in log
    assert "Optimization Done." in log
    other.ok("fetch", run.run, str(other.folder / "results"))
    assert (other.folder / "results" / "snapshots" / "digits_iter_12000.caffemodel").stat().st_size > 100_000
    words = other.ok("events", run.run)
    assert re.search(r"(?s)asked.*got.*notice.*saved.*resumed.*ended", words), words


def test_stop_and_go_on_from_other_laptops(laptop: Laptop, another: Callable[[str], Laptop]) -> None:
    run = Kept(laptop.emulator, run_of(laptop.ok("train", "digits", *ON_P3, *ENDLESS))).trains()
    refused = another("third").run("resume", run.run, "--detach")
    assert refused.returncode == 21
    assert "goes on" in refused.stderr

    other = another("other")
    knows_the_images(laptop.home, other.home)
    assert "is stopped" in other.ok("stop", run.run)
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()
    saved = run.snapshots()[-1]

    other.ok("resume", run.run, "--detach")
    run.trains(2)
    assert run.resumed_from(2) == saved
    assert row_of(other, run.run)["attempts"] == 2
    assert "is stopped" in laptop.ok("stop", run.run)
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


def test_a_training_that_fails_by_itself_is_not_repeated(laptop: Laptop, tmp_path: Path) -> None:
    """Its data is no LMDB: that shows when Caffe opens it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("no images\n")
    run = killed_after_the_id(laptop, "train", "digits", *ON_P3, "--data", str(tmp_path / "data"), *SHORT)
    assert run.ended() == ("FAILED", "TrainingFailed")
    wait_for(laptop.emulator.nothing_left, f"nothing left: {laptop.emulator.leftovers()}")
    assert run.words() == ["failed"]
    assert row_of(laptop, run.run)["state"] == "failed"
    assert "mdb_status == 0" in laptop.ok("logs", run.run)
