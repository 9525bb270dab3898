"""A training that attacks its host: links, pipes, odd names, huge trees, and files that the guard used to believe.

The training runs as any other does; an honest one runs beside it on the same machine. Nothing of root's may be read,
written or ended, and nothing may keep the honest one from being saved.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cloud.support import LONG, Emulator, Laptop, bucket_keys, inside, rented, run_of, runs_bucket

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]

SECRET = "nobody-else-may-read-this"
HELD = "/root/held"  # a file of root's
WATCHED = "/opt/provision /etc/passwd /etc/shadow /etc/sudoers.d /etc/systemd/system /root/held"
RECIPE = """\
name: mischief
about: a training that attacks its host
stack: caffe-debian
files: [tricks.sh]
folders: [snapshots, made]
command: [sh, tricks.sh]
stop: {signal: SIGTERM, timeout: 20}
snapshots:
  pattern: snapshots/mischief_(?P<iteration>\\d+)\\.(?P<part>model|state)
  parts: [model, state]
metrics: caffe
outputs: ["made/*"]
"""
# each line a trick; what fails in a container fails
TRICKS = f"""\
trap 'echo ending; exit 3' TERM
echo begun
set +e
# what the guard kept here once
for name in run.json .guard-001.json .guard-001.json.part .unfinished stop-requested; do
    rm -f $name; ln -s /opt/provision/idle.sh $name
done
rm -f run.json; echo '{{"id": "x", "bucket": "b", "prefix": "/", "container": "x; reboot"}}' > run.json
# a snapshot of links, of pipes, of a folder, with a name of two lines, and a whole one that is honest
for kind in model state; do
    ln -s {HELD} snapshots/mischief_1.$kind
    mkfifo snapshots/mischief_2.$kind
    mkdir snapshots/mischief_3.$kind
    ln -s /nowhere snapshots/mischief_4.$kind
    ln -s /proc/self/mem snapshots/mischief_5.$kind
    echo whole > snapshots/mischief_6.$kind
done
touch "snapshots/mischief_7.model
"
# outputs of the same kinds
ln -s {HELD} made/held; ln -s /etc made/etc; mkfifo made/pipe; ln -s /nowhere made/nowhere; echo fine > made/fine
# the log is another file now
exec > /dev/null 2>&1
mv log/attempt-001.txt log/was.txt; ln -s {HELD} log/attempt-001.txt
mkdir many; cd many; i=0; while [ $i -lt 20000 ]; do : > f$i; i=$((i+1)); done; cd ..
# folders that are links
mv made made-was; ln -s /root made
touch done
while :; do sleep 1; done
"""


@pytest.fixture(scope="module")
def host(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with rented(emulator, tmp_path_factory.mktemp("hostile"), "victim") as one:
        recipe = one.folder / "recipes" / "mischief"
        recipe.mkdir(parents=True)
        (recipe / "recipe.yaml").write_text(RECIPE)
        (recipe / "tricks.sh").write_text(TRICKS)
        yield one


def sums(container: str) -> str:
    """What root's files are: names, owners, rights and content."""
    return inside(container, f"find {WATCHED} -type f -printf '%p %U %m %T@ ' -exec sha256sum {{}} ';' | sort")


def everything(emulator: Emulator) -> bytes:
    """All bytes of all objects of the runs' bucket."""
    s3, bucket = emulator.client("s3"), runs_bucket(emulator)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [row["Key"] for page in pages for row in page.get("Contents", [])]
    return b"\n".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys)


def state(emulator: Emulator, run: str) -> dict[str, Any]:
    body = emulator.client("s3").get_object(Bucket=runs_bucket(emulator), Key=f"runs/{run}/state.json")["Body"]
    found: dict[str, Any] = json.loads(body.read())
    return found


def complete(emulator: Emulator, run: str) -> set[int]:
    """The iterations of which a whole snapshot is in S3."""
    keys = bucket_keys(emulator, run)
    return {int(re.split("[/-]", key)[1]) for key in keys if key.endswith("complete.json")}


def eventually(check: Callable[[], Any], seconds: float = 300.0) -> Any:
    """The first true answer; the test fails without one."""
    until = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.5)
    return answer


def test_a_training_reads_and_writes_nothing_of_roots_and_an_honest_one_is_saved(host: Laptop) -> None:
    emulator = host.emulator
    [container] = emulator.containers()
    inside(container, f"echo {SECRET} > {HELD}; chmod 600 {HELD}")
    good = run_of(host.ok("train", "digits", "--on", "victim", "--gpus", "1", "--detach", *LONG))
    before = sums(container)
    bad = re.search(
        r"mischief-\d{8}-\d{6}-\w{4}", host.ok("train", "mischief", "--on", "victim", "--gpus", "1", "--detach")
    )
    assert bad
    done = f"/var/lib/provision/runs/{bad[0]}/done"
    eventually(lambda: inside(container, f"ls {done}", check=False) == done)
    eventually(lambda: complete(emulator, bad[0]) == {6})
    eventually(lambda: len(complete(emulator, good)) > 1)
    emulator.page("interrupt", {"instance": emulator.instances()[0]["InstanceId"], "notice": 60})
    for run in (good, bad[0]):
        eventually(lambda run=run: state(emulator, run)["state"] == "interrupted")  # type: ignore[misc]
    assert sums(container) == before
    assert SECRET.encode() not in everything(emulator)
    assert complete(emulator, bad[0]) == {6}
    assert max(complete(emulator, good)) > 0
