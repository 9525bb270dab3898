"""A recipe of the user's own with trained weights, of whose snapshots the newest three stay: made by `recipe new`,
trained by a real Caffe, stopped and resumed."""

import functools
import hashlib
import http.server
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cloud.long.test_roles import refused
from tests.cloud.support import Emulator, Laptop, as_the_instance, bucket_keys, rented, runs_bucket

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]

# Caffe itself, after a look at the weights and a try to change them
COMMAND = """command:
  - sh
  - -c
  - sha256sum /weights/start.bin; touch /weights/start.bin || echo cannot be changed; exec caffe train "$@"
  - sh
  - -solver
  - solver.prototxt
weights:
  - {file: start.bin, url: "%s/start.bin", licence: for tests, non_commercial: true}
"""
SUM = hashlib.sha256(b"weights" * 100_000).hexdigest()
TERMS = ("--accept-licence", "start.bin")
QUICK = ("--set", "iterations=10000", "--set", "snapshot_every=1000")
ENDLESS = ("--set", "iterations=2000000", "--set", "snapshot_every=2000")


@pytest.fixture(scope="module")
def upstream(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder and its URL: a server that laptop and machines reach as they reach the cloud's endpoint."""
    folder = tmp_path_factory.mktemp("upstream")
    (folder / "start.bin").write_bytes(b"weights" * 100_000)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://{urlsplit(emulator.facts['endpoint']).hostname}:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def host(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory, upstream: tuple[Path, str]) -> Iterator[Laptop]:
    """A machine, and a project with the recipe `mine`."""
    home = tmp_path_factory.mktemp("rotation")
    with rented(emulator, home, "turning", "p2.xlarge") as one:
        one.ok("recipe", "new", "mine")
        pinned = {f"{upstream[1]}/start.bin": {"sha256": SUM, "size": 700_000, "date": "2026-11-01"}}
        settings = one.home / "config" / "provision"  # by http:// nothing is pinned when it first comes
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "weights.yaml").write_text(json.dumps({"pinned": pinned}))
        recipe = home / "recipes" / "mine" / "recipe.yaml"
        recipe.write_text(re.sub(r"(?m)^command:.*\n", lambda _: COMMAND % upstream[1], recipe.read_text(), count=1))
        assert one.ok("recipe", "check", "mine") == "mine: nothing is wrong\n"
        yield one


def run_of(out: str) -> str:
    found = re.search(r"mine-\d{8}-\d{6}-\w{4}", out)
    assert found, out
    return found[0]


def in_s3(host: Laptop, run: str) -> dict[int, set[str]]:
    """The files of each snapshot that S3 has."""
    found: dict[int, set[str]] = {}
    for key in bucket_keys(host.emulator, run):
        if key.startswith("snapshots/"):
            _, place, name = key.split("/")
            found.setdefault(int(place.partition("-")[0]), set()).add(name)
    return found


def on_host(host: Laptop, run: str) -> list[int]:
    names = host.ok("ssh", "turning", "--", f"ls /var/lib/provision/runs/{run}/snapshots").split()
    return sorted({int(found[1]) for name in names if (found := re.match(r"net_iter_(\d+)\.", name))})


@pytest.fixture(scope="module")
def trained(host: Laptop) -> tuple[str, dict[str, Any], str]:
    """A run that has finished: its id, its summary and what was said meanwhile."""
    done = host.run("train", "mine", "--on", "turning", "--json", *TERMS, *QUICK)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout[done.stdout.index("{") :])
    return run_of(done.stdout + done.stderr), summary, done.stderr


def test_what_recipe_new_made_learns(trained: tuple[str, dict[str, Any], str]) -> None:
    _, summary, _ = trained
    assert summary["state"] == "finished"
    assert summary["accuracy"] >= summary["goal"]["accuracy"]


def test_weights_are_pinned_shown_and_read_only(host: Laptop, trained: tuple[str, dict[str, Any], str]) -> None:
    run, _, said = trained
    assert "weights start.bin: for tests — not for commercial use" in said
    assert f"pinned on 2026-11-01: sha256 {SUM}" in said
    log = host.ok("logs", run)
    assert f"{SUM}  /weights/start.bin" in log
    assert "cannot be changed" in log
    s3, key = host.emulator.client("s3"), f"runs/{run}/manifest.json"
    manifest = json.loads(s3.get_object(Bucket=runs_bucket(host.emulator), Key=key)["Body"].read())
    assert [one["sha256"] for one in manifest["weights"].values()] == [SUM]


def test_the_newest_three_snapshots_stay_here_and_there(
    host: Laptop, trained: tuple[str, dict[str, Any], str], tmp_path: Path
) -> None:
    run, _, _ = trained
    kept = in_s3(host, run)
    assert sorted(kept) == [8000, 9000, 10000]
    assert all(len(files) == 3 and "complete.json" in files for files in kept.values())
    assert on_host(host, run) == [8000, 9000, 10000]
    host.ok("fetch", run, str(tmp_path / "home"), "--every-snapshot")
    assert len(list((tmp_path / "home").rglob("*.caffemodel"))) == 3


def test_the_role_may_delete_its_own_snapshots_and_nothing_else(
    host: Laptop, trained: tuple[str, dict[str, Any], str]
) -> None:
    run, _, _ = trained
    admin, mine, bucket = host.emulator.client("s3"), as_the_instance(host, "turning"), runs_bucket(host.emulator)
    for key in (f"runs/{run}/snapshots/000000001/probe", f"runs/{run}x/snapshots/000000001/probe"):
        admin.put_object(Bucket=bucket, Key=key, Body=b"x")
    mine.delete_object(Bucket=bucket, Key=f"runs/{run}/snapshots/000000001/probe")
    assert 1 not in in_s3(host, run)
    others = [f"runs/{run}/manifest.json", f"runs/{run}/log/001-000000000000", f"runs/{run}/state.json"]
    for key in (*others, f"runs/{run}x/snapshots/000000001/probe"):
        assert refused(mine.delete_object, Bucket=bucket, Key=key)
        assert admin.head_object(Bucket=bucket, Key=key)
    admin.delete_object(Bucket=bucket, Key=f"runs/{run}x/snapshots/000000001/probe")


def test_a_resumed_run_goes_on_from_the_newest_and_then_deletes_what_came_before(host: Laptop) -> None:
    run = run_of(host.ok("train", "mine", "--on", "turning", "--detach", *TERMS, *ENDLESS))
    _wait(host, run, 1)
    host.ok("stop", run)
    before = max(in_s3(host, run))
    host.ok("resume", run, "--on", "turning", "--detach")
    _wait(host, run, 4, beyond=before)
    host.ok("stop", run)
    after = sorted(in_s3(host, run))
    assert len(after) == 3
    assert min(after) > before
    assert on_host(host, run) == after
    log = host.ok("logs", run)
    assert [int(at) for at in re.findall(r"Resuming from \S+_iter_(\d+)", log)] == [before]


def _wait(host: Laptop, run: str, count: int, beyond: int = 0) -> None:
    """Until so many snapshots beyond that iteration have been in S3."""
    seen: set[int] = set()
    end = time.monotonic() + 120
    while len(seen) < count:
        assert time.monotonic() < end, seen
        seen |= {at for at, files in in_s3(host, run).items() if "complete.json" in files and at > beyond}
        time.sleep(0.3)


def test_weights_that_are_another_file_now_stop_the_next_training(
    host: Laptop, trained: tuple[str, dict[str, Any], str], upstream: tuple[Path, str]
) -> None:
    host.ok("ssh", "turning", "--", "rm -r /data/weights")
    (upstream[0] / "start.bin").write_bytes(b"another")
    done = host.run("train", "mine", "--on", "turning", *TERMS, *QUICK)
    assert done.returncode == 13, done.stderr
    assert "is not the file that it was" in done.stderr
    assert "weights.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert host.ok("ssh", "turning", "--", "docker ps -q") == ""
