"""Several runs on one machine, and what a run may and must not: its GPUs, its prefix, its one container."""

import json
from collections.abc import Iterator

import pytest

from tests.cloud.support import LONG, SHORT, Emulator, Laptop, bucket_keys, rented, run_of, runs_bucket, until

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]


@pytest.fixture(scope="module")
def host(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with rented(emulator, tmp_path_factory.mktemp("host"), "host") as one:
        yield one


def test_the_instances_role_reaches_its_runs_prefix_and_no_other(host: Laptop) -> None:
    run = run_of(host.ok("train", "digits", "--on", "host", *SHORT))
    s3 = host.emulator.client("s3")
    bucket = runs_bucket(host.emulator)
    s3.put_object(Bucket=bucket, Key="runs/other-run/manifest.json", Body=b"{}")
    facts = host.emulator.facts
    pull = f"sudo python3 /opt/provision/guard pull {bucket} {facts['region']} {facts['endpoint']} ''"
    mine = host.run("ssh", "host", "--", f"{pull} runs/{run}/ /tmp/mine")
    assert mine.returncode == 0, mine.stderr
    probe = pull.replace("python3", "timeout 8 python3")
    other = host.run("ssh", "host", "--", f"{probe} runs/other-run/ /tmp/other")
    assert other.returncode != 0
    assert host.ok("ssh", "host", "--", "ls /tmp/other 2>/dev/null | wc -l") == "0\n"
    s3.delete_object(Bucket=bucket, Key="runs/other-run/manifest.json")


def test_four_runs_share_the_gpus_and_a_fifth_is_refused(host: Laptop) -> None:
    started = [run_of(host.ok("train", "digits", "--on", "host", "--gpus", "1", "--detach", *LONG)) for _ in range(4)]
    held = host.ok("ssh", "host", "--", "docker ps --format '{{.Label \"provision.gpus\"}}' | sort").split()
    assert held == ["0", "1", "2", "3"]
    environ = "docker exec $c cat /proc/1/environ | tr '\\0' '\\n' | sed -n s/NVIDIA_VISIBLE_DEVICES=//p"
    seen = host.ok("ssh", "host", "--", f"for c in $(docker ps -q); do {environ}; done | sort")
    assert seen.split() == ["0", "1", "2", "3"]
    fifth = host.run("train", "digits", "--on", "host", "--gpus", "1", "--detach", *SHORT)
    assert fifth.returncode == 21
    assert "0 of host's 4 GPUs are free" in fifth.stderr
    assert "--wait" in fifth.stderr
    assert host.run("train", "digits", "--on", "host", "--gpus", "9", "--detach", *SHORT).returncode == 13
    for run in started:
        assert "is stopped" in host.ok("stop", run)
    assert host.ok("ssh", "host", "--", "docker ps -q") == ""
    for run in started:
        newest = max(key for key in bucket_keys(host.emulator, run) if key.endswith("complete.json"))
        assert int(newest.split("/")[1].split("-")[0]) > 0


def test_a_run_whose_client_was_killed_before_its_container_began_is_resumed(host: Laptop) -> None:
    """An attempt is written down before its container is started."""
    run = run_of(host.ok("train", "digits", "--on", "host", "--gpus", "1", "--detach", *LONG))
    assert "is stopped" in host.ok("stop", run)
    s3, bucket = host.emulator.client("s3"), runs_bucket(host.emulator)
    first = json.loads(s3.get_object(Bucket=bucket, Key=f"runs/{run}/attempts/001.json")["Body"].read())
    second = json.dumps({**first, "number": 2})
    s3.put_object(Bucket=bucket, Key=f"runs/{run}/attempts/002.json", Body=second.encode())
    assert f"{run} is starting; its newest snapshot" in host.ok("resume", run, "--on", "host", "--detach")
    again = host.run("resume", run, "--on", "host")
    assert again.returncode == 13
    assert "already" in again.stderr
    assert "is stopped" in host.ok("stop", run)


def test_a_training_waits_for_free_gpus(host: Laptop) -> None:
    first = run_of(host.ok("train", "digits", "--on", "host", "--gpus", "4", "--detach", *LONG))
    second = host.start("train", "digits", "--on", "host", "--gpus", "4", "--wait", *SHORT)
    assert f"the others train {first}" in until(second, "; waiting")
    assert "is stopped" in host.ok("stop", first)
    assert "finished: 400 iterations" in (second.stdout.read() if second.stdout else "")
    assert second.wait(60) == 0
