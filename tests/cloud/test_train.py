"""`train`, `resume`, `runs`, `logs`, `stop`, `fetch`: a real Caffe in a container on a real Docker engine."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.support import SHORT, Emulator, Laptop, bucket_keys, rented, run_of

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]


@pytest.fixture(scope="module")
def host(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with rented(emulator, tmp_path_factory.mktemp("host"), "host") as one:
        yield one


def test_train_logs_plot_fetch(host: Laptop, tmp_path: Path) -> None:
    out = host.ok("train", "digits", "--on", "host", *SHORT)
    run = run_of(out)
    assert re.search(r"finished: 400 iterations in 1 attempt\(s\), accuracy 0\.\d+", out)
    keys = bucket_keys(host.emulator, run)
    assert {"manifest.json", "state.json", "attempts/001.json", "snapshots/000000400-001/complete.json"} <= set(keys)
    assert {"inputs/data.json", "inputs/data/train_lmdb/data.mdb"} <= set(keys)

    log = host.ok("logs", run)
    assert "Optimization Done." in log
    numbers = json.loads(host.ok("logs", run, "--json"))
    assert [one["value"] for one in numbers if one["phase"] == "test" and one["name"] == "accuracy"][-1] > 0.8
    host.ok("logs", run, "--plot", str(tmp_path / "plot.png"))
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")

    host.ok("fetch", run, str(tmp_path / "home"))
    net = tmp_path / "home" / "snapshots" / "digits_iter_400.caffemodel"
    assert net.stat().st_size > 100_000
    assert {path.stat().st_uid for path in (tmp_path / "home").rglob("*")} == {os.getuid()}
    owners = host.ok("ssh", "host", "--", f"stat -c %U /var/lib/provision/runs/{run}/snapshots/* | sort -u")
    assert owners.split() == ["provision"]


def test_a_full_disk_on_fetch(host: Laptop, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("mounting a small disk needs root")
    run = run_of(host.ok("train", "digits", "--on", "host", *SHORT))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        done = host.run("fetch", run, str(small / "x"))
        assert done.returncode == 15, done.stderr
        assert "no room" in done.stderr
        assert "the run stays as it is" in done.stderr
        assert list(small.rglob("*")) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_training_that_fails_says_why(host: Laptop) -> None:
    done = host.run("train", "digits", "--on", "host", "--set", "learning_rate=1000", *SHORT)
    assert done.returncode == 13
    assert "the training has diverged" in done.stderr
    assert "--set learning_rate=" in done.stderr
    assert "Traceback" not in done.stderr
    empty = host.folder / "empty"
    empty.mkdir()
    failed = host.run("train", "digits", "--on", "host", "--data", str(empty), *SHORT)
    assert failed.returncode == 13
    assert "Caffe cannot open the data" in failed.stderr
    assert "host still runs and is billed" in failed.stderr


def test_code_and_an_s3_prefix_as_data(host: Laptop, tmp_path: Path) -> None:
    """The user's own recipe in a project folder, data from a bucket of the user's own."""
    s3 = host.emulator.client("s3")
    s3.create_bucket(Bucket="users-own")
    s3.put_object(Bucket="users-own", Key="set/words.txt", Body=b"from s3\n")
    project = tmp_path / "project"
    (project / "recipes" / "shout").mkdir(parents=True)
    (project / "shout.sh").write_text("cat /data/words.txt; touch result.txt; echo $DONE, $SAID\n")
    (project / "recipes" / "shout" / "recipe.yaml").write_text(
        "name: shout\nabout: a user's own\nstack: caffe-debian\n"
        "command: [sh, /project/shout.sh]\noutputs: [result.txt]\n"
        "environment: {DONE: done, SAID: nothing}\n"
    )
    words = ("--project", str(project), "--data", "s3://users-own/set", "--env", "SAID=a lot")
    out = host.ok("train", "shout", "--on", "host", *words)
    run = re.search(r"shout-\d{8}-\d{6}-\w{4}", out)
    assert run
    assert "finished" in out
    assert host.ok("logs", run[0]) == "from s3\ndone, a lot\n"
    assert "outputs/result.txt" in bucket_keys(host.emulator, run[0])
    s3.delete_object(Bucket="users-own", Key="set/words.txt")
    s3.delete_bucket(Bucket="users-own")
