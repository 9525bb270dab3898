"""Ctrl-C in a training that its laptop alone sees through."""

import os
import signal

import pytest

from tests.cloud.support import LONG, Laptop, bucket_keys, run_of, until

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_ctrl_c_in_train_saves_the_work_and_stops_paying(laptop: Laptop, number: signal.Signals, code: int) -> None:
    process = laptop.start("train", "digits", "--instance", "p3.2xlarge", "--no-keeper", *LONG)
    run = run_of(until(process, r"run digits-"))
    until(process, r"iteration \d+/2000000")
    os.kill(process.pid, number)  # as a cancelled job sends it: to `train` alone
    rest = process.stdout.read() if process.stdout else ""
    assert process.wait(60) == code
    assert f"provision resume {run}" in rest
    assert "Traceback" not in rest
    assert any(key.endswith("complete.json") for key in bucket_keys(laptop.emulator, run))
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()
