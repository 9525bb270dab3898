"""A sweep on this laptop for real: four trainings of Caffe, two at once, one of them interrupted, its worker killed."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.build import build
from images.choose import choose
from tests.engine.here_kit import SHELL, Laptop, kill, laptop, wait

pytestmark = [pytest.mark.engine, pytest.mark.long]
LONG = ("--set", "iterations=600", "--set", "snapshot_every=100", "--set", "test_every=600")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Laptop]:
    build(choose("caffe-debian"), SHELL)
    with laptop(tmp_path) as one:
        yield one


def net(here: Laptop, run: str) -> str:
    """The sum of the trained net."""
    [path] = here.folder(run).glob("snapshots/000000600-*/digits_iter_600.caffemodel")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def attempts(here: Laptop, run: str) -> list[int]:
    """From where each attempt of the run went on."""
    files = sorted(here.folder(run).glob("attempts/*.json"))
    return [json.loads(path.read_text())["resumed_from"] for path in files]


def has_saved(here: Laptop, run: str) -> bool:
    return bool(list(here.folder(run).glob("snapshots/*/complete.json")))


def counts(here: Laptop, sweep: str) -> dict[str, int]:
    told: dict[str, int] = json.loads(here.run("sweep", "status", sweep, "--json"))
    return told


def test_all_trainings_of_a_sweep_end_whoever_is_killed(here: Laptop) -> None:
    words = ("digits", "--on", "here", "--set", "learning_rate=0.01,0.02", "--repeat", "2", "--at-once", "2", *LONG)
    made = json.loads(here.run("sweep", *words, "--json"))
    sweep, runs = made["sweep"], made["runs"]
    assert len(runs) == 4
    wait(lambda: has_saved(here, runs[0]))
    os.kill(here.runner(runs[0]), signal.SIGTERM)  # as at the end of a machine
    wait(lambda: attempts(here, runs[0])[1:])
    kill(here.runner(sweep))
    assert "goes on with" in here.run("sweep", "resume", sweep)
    most = 0
    until = time.monotonic() + 300
    while (now := counts(here, sweep)).get("finished") != 4:
        most = max(most, len(here.containers()))
        assert now["works"] and time.monotonic() < until
    assert most <= 2
    here.run("sweep", "status", sweep, "--wait")
    wait(here.nothing_left)
    first, *others = (attempts(here, run) for run in runs)
    assert first[0] == 0 and first[1] > 0
    assert others == [[0], [0], [0]]
    table = json.loads(here.run("sweep", "table", sweep, "--json"))
    assert [row["value"] for row in table] == sorted((row["value"] for row in table), reverse=True)
    assert {(row["learning_rate"], row["random_seed"]) for row in table} == {
        (0.01, 1), (0.01, 2), (0.02, 1), (0.02, 2),
    }  # fmt: skip
    alone = json.loads(
        here.run("train", "digits", "--on", "here", *LONG, "--set", "learning_rate=0.02", "--detach", "--json")
    )["run"]
    here.run("logs", alone, "-f")
    wait(lambda: list(here.folder(alone).glob("snapshots/000000600-*/complete.json")))
    assert net(here, alone) == net(here, runs[2])  # the same numbers for the same seed, bit for bit
    assert len({net(here, run) for run in runs}) == 4


def test_a_sweep_that_was_stopped_goes_on_with_what_is_left(here: Laptop) -> None:
    endless = ("--set", "iterations=1000000", "--set", "snapshot_every=50", "--set", "test_every=1000000")
    words = ("digits", "--on", "here", "--set", "learning_rate=0.01,0.02,0.04", "--at-once", "2", *endless)
    made = json.loads(here.run("sweep", *words, "--json"))
    sweep, runs = made["sweep"], made["runs"]
    wait(lambda: has_saved(here, runs[0]) and has_saved(here, runs[1]))
    assert "goes on already" in here.run("sweep", "resume", sweep, code=13)
    assert "is stopped" in here.run("sweep", "stop", sweep)
    assert here.nothing_left()
    assert counts(here, sweep) == {"sweep": sweep, "works": False, "runs": 3, "stopped": 2, "waiting": 1}
    assert "would go on with 3" in here.run("sweep", "resume", sweep, "--dry-run")
    here.run("sweep", "resume", sweep)
    wait(lambda: attempts(here, runs[0])[1:] and attempts(here, runs[1])[1:])
    assert attempts(here, runs[0])[1] > 0
    here.run("sweep", "stop", sweep)
    here.run("sweep", "stop", sweep)  # it can be said again
    assert here.nothing_left()
    assert not here.folder(runs[2]).exists()
