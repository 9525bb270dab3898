"""The capsule holds all that a machine needs, from the same code as a container that a laptop starts."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.containers import cli_words
from infra.errors import UsageError
from localcloud import access
from provision.account import permissions
from provision.engines import capsule, container
from provision.recipes.spec import Weights
from provision.runs import weights
from provision.runs.manifest import Attempt, Source
from provision.runs.policy import policy
from provision.runs.store import Run
from tests.unit.fake_s3 import NAME, OURS, FakeS3
from tests.unit.kept_kit import DIGEST, RUN, TAG, made

START = Weights(file="start.caffemodel", url="https://up/start", licence="BSD")


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    return FakeS3()


def plain(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsule.compose(run, "lab").text)
    return found


def with_weights(run: Run, *files: Weights) -> Run:
    manifest = msgspec.structs.replace(run.manifest.rendered, weights=files)
    run.write_manifest(msgspec.convert({**vars(run.manifest), "rendered": manifest}, type(run.manifest)))
    return run


def test_a_machine_starts_the_container_that_a_laptop_would_start(aws: FakeS3) -> None:
    run = made(project=Source("folder", "/home/me/code", "/data/sets/code-1"))
    found = plain(run)["container"]
    words = run.manifest.rendered.command
    laptop = cli_words(
        container.spec(
            run.manifest, words, name=container.name(RUN, 2), user="1000:1000",
            labels={"provision.attempt": "2", "provision.gpus": ""}, environment={"LOG": container.log_of(2)},
        )
    )  # fmt: skip
    env = [word for name, value in found["environment"].items() for word in ("--env", f"{name}={value}")]
    machine = [
        "docker", "run", "--name", f"provision-{RUN}-002", "--user", "1000:1000", *found["flags"],
        "--label", "provision.attempt=2", "--label", "provision.gpus=", *env, "--env", "LOG=log/attempt-002.txt",
        TAG, "sh", "-c", 'exec "$@" >> "$LOG" 2>&1', "sh", *found["command"],
    ]  # fmt: skip
    assert sorted(laptop) == sorted(machine)
    assert f"type=bind,source=/data/code/{RUN},target=/project,readonly" in found["flags"]
    assert "127.0.0.1:8888:8888" in found["flags"]


def test_the_words_that_go_on_from_a_snapshot_have_its_place(aws: FakeS3) -> None:
    run = made()
    found = plain(run)
    stem = "snapshots/digits_iter_400"
    resumed = [word.replace("@SNAPSHOT@", stem) for word in found["container"]["resumed"]]
    assert tuple(resumed) == run.manifest.rendered.resumed(stem)
    rule = run.manifest.recipe.snapshots
    assert found["stem"] == {"pattern": rule.pattern, "parts": list(rule.parts)}


def test_its_sum_is_that_of_what_lies_in_s3(aws: FakeS3) -> None:
    run = made()
    one, other = capsule.compose(run, "lab"), capsule.compose(run, "lab")
    assert (one.text, one.digest) == (other.text, other.digest)
    assert capsule.compose(run, "lab", [(3, 100)]).digest != one.digest


def test_the_image_is_named_by_its_index_or_by_a_registrys_digest(aws: FakeS3) -> None:
    run = made()
    key = f"images/sha256/{DIGEST.removeprefix('sha256:')}.json"
    assert plain(run)["image"] == {"id": DIGEST, "tag": TAG, "index": key}
    name = f"registry.example/caffe@sha256:{'a' * 64}"
    run.use_image(name, DIGEST)
    assert plain(run)["image"] == {"id": "", "tag": name, "pull": name}
    assert not [one for one in rights(run) if "ecr:" in str(one["Action"])]


def rights(run: Run) -> Any:
    return policy(run, kept=True)["Statement"]


@pytest.mark.parametrize(
    ("region", "api"),
    [("eu-west-1", "https://api.ecr.eu-west-1.amazonaws.com"), ("cn-north-1", "https://api.ecr.cn-north-1.amazonaws.com.cn")],
)  # fmt: skip
def test_an_image_of_ecr_comes_with_where_its_token_is_had_and_the_right_to_pull_it_alone(
    aws: FakeS3, region: str, api: str
) -> None:
    run = made()
    host = f"123456789012.dkr.ecr.{region}.{api.partition('ecr.')[2].partition('.')[2]}"
    name = f"{host}/team/caffe@sha256:{'a' * 64}"
    run.use_image(name, f"sha256:{'a' * 64}")
    run.store.cloud = replace(run.store.cloud, endpoint=None)
    login = {"host": host, "region": region, "endpoint": api}
    assert plain(run)["image"] == {"id": "", "tag": name, "pull": name, "login": login}
    statements = rights(run)
    arn = f"arn:{'aws-cn' if region.startswith('cn') else 'aws'}:ecr:{region}:123456789012:repository/team/"

    def may(action: str, resource: str) -> bool:
        return access.allowed(statements, f"ecr:{action}", resource, {})

    assert may("GetAuthorizationToken", "*")
    for action in ("BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability"):
        assert may(action, f"{arn}caffe") and not may(action, f"{arn}other")
    assert not may("PutImage", f"{arn}caffe") and not may("BatchDeleteImage", f"{arn}caffe")
    bounds: Any = permissions.boundary_policy("cn-north-1" if region.startswith("cn") else "us-east-1")["Statement"]
    for one in statements:
        for action in access.many(one["Action"]):
            if action.startswith("ecr:"):
                assert access.allowed(bounds, action, one["Resource"], {}), action
    alone: Any = policy(run)["Statement"]
    assert not [one for one in alone if "ecr:" in str(one["Action"])]


def test_data_and_code_are_the_runs_own_copies(aws: FakeS3) -> None:
    run = made(
        data=Source("prepared", "digits", "/data/sets/digits"),
        project=Source("folder", "/home/me/code", "/data/sets/code-1"),
    )
    data, code = plain(run)["inputs"]
    assert data == {
        "kind": "data", "bucket": NAME, "owner": OURS, "prefix": f"runs/{RUN}/inputs/data/",
        "folder": "/data/sets/digits", "copy": "", "sum": "", "region": "", "endpoint": "",
    }  # fmt: skip
    assert (code["prefix"], code["copy"]) == (f"runs/{RUN}/inputs/project/", f"/data/code/{RUN}")


def test_the_copies_are_named_with_the_sums_of_their_indexes(aws: FakeS3) -> None:
    """A machine trains on these files, whatever else is written into the run's folder meanwhile."""
    mark = f"project-{'a' * 16}"
    run = made(
        data=Source("s3", "s3://lab/voc/", "/data/sets/voc"),
        project=Source("folder", "/home/me/code", "/data/sets/code-1", copy=mark),
    )
    aws.owners["lab"] = OURS
    index = b'[{"path": "a", "size": 1, "sha256": "6b"}]'
    aws.put(f"runs/{RUN}/inputs/{mark}.json", index)
    sums = capsule.sums_of(run)
    assert sums == {"project": hashlib.sha256(index).hexdigest()}
    data, code = json.loads(capsule.compose(run, "lab", sums=sums).text)["inputs"]
    assert (data["sum"], code["sum"]) == ("", sums["project"])
    assert code["prefix"] == f"runs/{RUN}/inputs/{mark}/"


@pytest.mark.parametrize(
    ("here", "there", "endpoint"),
    [("us-east-1", "eu-west-1", ""), ("cn-north-1", "cn-northwest-1", "https://s3.cn-northwest-1.amazonaws.com.cn")],
)
def test_data_of_another_region_is_fetched_there(
    aws: FakeS3, monkeypatch: pytest.MonkeyPatch, here: str, there: str, endpoint: str
) -> None:
    run = made(data=Source("s3", "s3://lab/voc/", "/data/sets/voc", owner=OURS))
    run.store.cloud = replace(run.store.cloud, region=here, endpoint=None)
    monkeypatch.setattr(capsule.S3, "region", lambda _: there)
    [data] = plain(run)["inputs"]
    assert (data["bucket"], data["region"], data["endpoint"]) == ("lab", there, endpoint)


def test_weights_of_no_known_sum_are_refused_with_the_way_to_pin_them(aws: FakeS3) -> None:
    run = with_weights(made(), START)
    with pytest.raises(UsageError, match=r"no sum is known yet of the trained weights start\.caffemodel") as refused:
        capsule.compose(run, "lab")
    assert "train once without --detach" in refused.value.mend
    weights.pin(START.url, "a" * 64, 5)
    [asked] = plain(run)["weights"]
    assert (asked["url"], asked["sha256"], asked["path"]) == (START.url, "a" * 64, weights.path_on_host(START))


def test_attempts_that_went_on_by_choice_are_told() -> None:
    first = Attempt(1, "i-1", "lab", "a", "now")
    third = Attempt(3, "i-3", "lab", "a", "now", resumed_from=200, chosen=True)
    assert capsule.chosen_of([first, third]) == [(3, 200)]


def test_the_role_of_a_kept_run_may_what_its_machine_has_to_and_nothing_that_a_keeper_acts_upon(aws: FakeS3) -> None:
    run = made()
    statements: Any = policy(run, kept=True)["Statement"]

    def may(action: str, key: str) -> bool:
        resource = f"arn:aws:s3:::{NAME}/{key}" if action.startswith("s3:") else key
        return access.allowed(statements, action, resource, {"aws:resourceaccount": [OURS]})

    assert may("s3:PutObject", f"runs/{RUN}/keys/i-1")
    for key in (f"images/sha256/{'5' * 64}.json", "images/blobs/a.gz", "host/a.tar.gz", f"runs/{RUN}/control/i-1"):
        assert may("s3:GetObject", key), key
        assert not may("s3:PutObject", key), key
    for name in (
        f"capsules/{'5' * 64}.json",
        "keeper.json",
        "attempts/002.json",
        "ends/001.json",
        "control/stop",
        "control/i-1",
    ):
        assert not may("s3:PutObject", f"runs/{RUN}/{name}"), name
    assert not may("s3:GetObject", "runs/digits-other/control/i-2")
    assert may("states:SendTaskSuccess", "*") and not may("states:StartExecution", "*")
    alone: Any = policy(run)["Statement"]
    assert not access.allowed(alone, "states:SendTaskSuccess", "*", {})
