"""Money that is not spent: a training that has diverged, and a budget over several machines."""

import json
import time

import pytest

from tests.cloud.support import LONG, Laptop, run_of, tag_of

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]


@pytest.mark.parametrize("more", [(), ("--no-keeper",)], ids=["kept by AWS", "by the laptop alone"])
def test_a_training_that_has_diverged_is_stopped_and_its_machine_ends(laptop: Laptop, more: tuple[str, ...]) -> None:
    """Caffe itself goes on with a loss that is no number, to the last iteration."""
    words = ("train", "digits", "--instance", "p2.xlarge", "--diagnose", "--set", "learning_rate=1000", *LONG)
    done = laptop.run(*words, *more)
    assert done.returncode == 13, done.stdout + done.stderr
    assert "stopping it" in done.stderr
    assert "the training has diverged" in done.stderr or "the loss" in done.stderr
    run = run_of(done.stdout)
    states = {row["run"]: row["state"] for row in json.loads(laptop.ok("runs", "--json"))}
    assert states[run] == "stopped"
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


def test_a_machine_that_takes_anothers_place_has_what_is_left_of_its_budget(laptop: Laptop) -> None:
    laptop.ok("up", "--instance", "p3.2xlarge", "--name", "frugal", "--budget", "50")
    run = run_of(laptop.ok("train", "digits", "--on", "frugal", "--detach", *LONG))
    laptop.ok("stop", run)
    laptop.ok("down", "frugal")
    (bill,) = json.loads(laptop.ok("cost", "frugal", "--json"))["machines"]
    laptop.ok("resume", run, "--detach")
    until = time.monotonic() + 120.0
    while not laptop.emulator.instances("running"):  # its keeper asks for it
        assert time.monotonic() < until
        time.sleep(0.5)
    (instance,) = laptop.emulator.instances("running")
    assert float(tag_of(instance, "budget")) == pytest.approx(bill["left"], abs=0.001)
    assert 0 < 50 - bill["left"] < 1
    laptop.ok("stop", run)
