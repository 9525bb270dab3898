"""The machine's role in somebody else's hands: it writes whatever it may, and the laptop acts upon none of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloud.support import SHORT, Emulator, Laptop, as_the_instance, rented, run_of, runs_bucket, tag_of

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]


@pytest.fixture(scope="module")
def host(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with rented(emulator, tmp_path_factory.mktemp("taken"), "taken", "p2.xlarge") as one:
        yield one


@pytest.fixture(scope="module")
def run(host: Laptop) -> str:
    """A run of `taken`, which has ended and can be resumed no more than any other."""
    return run_of(host.ok("train", "digits", "--on", "taken", *SHORT))


@pytest.fixture(scope="module")
def role(host: Laptop, run: str) -> Any:
    return as_the_instance(host, "taken")


@pytest.mark.parametrize(
    "key",
    ["manifest.json", "attempts/001.json", "attempts/009.json", "anything", "state.json/x", "../other/state.json"],
)
def test_the_role_cannot_write_what_a_laptop_acts_upon(host: Laptop, run: str, role: Any, key: str) -> None:
    with pytest.raises(ClientError) as error:
        role.put_object(Bucket=runs_bucket(host.emulator), Key=f"runs/{run}/{key}", Body=b"{}")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_role_poses_as_its_own_machine_alone_and_not_to_who_knows_it(host: Laptop, role: Any) -> None:
    [instance] = host.emulator.instances("running")
    bucket, id_ = runs_bucket(host.emulator), instance["InstanceId"]
    own = f"machines/{tag_of(instance, 'resource')}/"
    for key in (f"machines/provision-other-01234567/keys/{id_}", f"{own}other", f"host/{'0' * 64}.tar.gz"):
        with pytest.raises(ClientError) as error:
            role.put_object(Bucket=bucket, Key=key, Body=b"ssh-ed25519 AAAA")
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, key
    role.put_object(Bucket=bucket, Key=f"{own}keys/{id_}", Body=b"ssh-ed25519 AAAA")
    assert host.ok("ssh", "taken", "--", "id -un") == "provision\n"  # by the key that was pinned


def test_the_role_deletes_nothing_and_sets_no_rule(host: Laptop, run: str, role: Any) -> None:
    bucket = runs_bucket(host.emulator)
    calls: list[tuple[Any, dict[str, Any]]] = [
        (role.delete_object, {"Key": f"runs/{run}/manifest.json"}),
        (role.delete_object, {"Key": f"runs/{run}/log/001-000000000000"}),
        (role.delete_bucket, {}),
        (role.put_bucket_lifecycle_configuration, {"LifecycleConfiguration": {"Rules": []}}),
    ]
    for call, words in calls:
        with pytest.raises(ClientError) as error:
            call(Bucket=bucket, **words)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_what_the_role_may_write_brings_nothing_out_of_its_folder(
    host: Laptop, run: str, role: Any, tmp_path: Path
) -> None:
    """`fetch` writes into the folder that was named, whatever the keys and the list of a snapshot say."""
    bucket, folder = runs_bucket(host.emulator), tmp_path / "results"
    files = [{"name": "x", "path": "../../escaped", "size": 2, "sha256": "0" * 64}]
    whole = {"iteration": 999, "attempt": 1, "files": files, "instance": "i-0", "time": "2026-11-29T00:00:00Z"}
    role.put_object(Bucket=bucket, Key=f"runs/{run}/snapshots/000000999-001/complete.json", Body=json.dumps(whole))
    role.put_object(Bucket=bucket, Key=f"runs/{run}/outputs/../../../escaped", Body=b"no")
    role.put_object(Bucket=bucket, Key=f"runs/{run}/log/001-999999999999", Body=b"\x1b]0;title\x07\x1b[2J done\n")
    host.run("fetch", run, str(folder))
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and folder not in path.parents]
    assert [path for path in outside if "escaped" in path.name] == []
    shown = host.run("logs", run).stdout
    assert "done" in shown and "\x1b" not in shown and "\x07" not in shown
