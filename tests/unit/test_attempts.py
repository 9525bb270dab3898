"""What a container and its guard are given: folders, weights, the role's policy, the snapshot put back in its place."""

import dataclasses
import fnmatch
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from infra.aws.s3 import S3
from infra.shell import Result
from provision import attempts, runs, weights
from provision.recipe import SnapshotRule, Weights, load, render
from provision.runs import Manifest, Run, Source
from tests.unit.test_fetch import Bucket

START = Weights(file="start.caffemodel", url="http://up/start", licence="BSD")
RULE = SnapshotRule(r"train/.+/model_iter(?P<iteration>\d+)\.(?P<part>pkl)", ("pkl",), keep=2)
DEEP = "train/coco_2014_train:coco_2014_val/generalized_rcnn/model_iter39.pkl"


class Host:
    """Notes every command; answers the download script's."""

    where = "host"

    def __init__(self) -> None:
        self.said: list[list[str]] = []

    def run(self, words: Sequence[str], **_: Any) -> Result:
        self.said.append(list(words))
        if list(words[:2]) != ["python3", "-"]:
            return Result(0, "", "")
        one = {"path": json.loads(words[2])[0]["path"], "size": 5, "sha256": "a" * 64, "fetched": True}
        return Result(0, json.dumps(one) + "\n", "")


@pytest.fixture
def run() -> Run:
    """A run of a recipe with deep snapshots, of which two stay, that starts from trained weights."""
    bucket = Bucket()
    bucket.bucket = "runs-of-1"  # type: ignore[attr-defined]
    bucket.cloud = SimpleNamespace(region="us-east-1", endpoint=None)  # type: ignore[attr-defined]
    one = Run(cast(S3, bucket), "net-1")
    recipe = msgspec.structs.replace(load("digits"), snapshots=RULE, resume=(), weights=(START,))
    one.write_manifest(
        Manifest(
            "net-1", "2026-01-01", recipe, render(recipe), "caffe", "caffe:1", "sha256:1", Source(), Source(), 0,
            "box", "p3.8xlarge", "spot", "us-east-1",
        )
    )  # fmt: skip
    return one


def stage(run: Run, host: Host | None = None) -> attempts.Stage:
    shell: Any = host or Host()
    nothing: Any = None
    return attempts.Stage(nothing, run, nothing, shell, nothing, nothing, lambda text: None)


def may(run: Run, action: str, key: str) -> bool:
    """Whether the run's policy allows that with an object of its bucket."""
    statements: Any = attempts.policy(run)["Statement"]
    return any(
        action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
        and fnmatch.fnmatchcase(f"arn:aws:s3:::runs-of-1/{key}", one["Resource"])
        for one in statements
    )


def test_the_role_may_delete_its_own_snapshots_only_and_only_where_old_ones_go(run: Run) -> None:
    assert may(run, "s3:PutObject", "runs/net-1/manifest.json")
    assert may(run, "s3:DeleteObject", "runs/net-1/snapshots/000000039/complete.json")
    for key in ("runs/net-1/manifest.json", "runs/net-1/log/001", "runs/net-12/snapshots/1/x", "runs/net-1/snapshots"):
        assert not may(run, "s3:DeleteObject", key)
    all_stay = msgspec.structs.replace(run.manifest.recipe, snapshots=msgspec.structs.replace(RULE, keep=0))
    run.write_manifest(dataclasses.replace(run.manifest, recipe=all_stay))
    again = Run(run.store, run.id)
    assert not may(again, "s3:DeleteObject", "runs/net-1/snapshots/000000039/complete.json")


def test_the_policies_of_as_many_runs_as_stay_fit_into_a_role(run: Run) -> None:
    """AWS counts 10,240 characters, spaces left out, over all inline policies of a role."""
    data = Source("s3", "s3://a-bucket-of-some-length/and/a/prefix/of/some/length/", "/data/sets/x")
    long = Run(run.store, "caffe-classify-20261121-181600-abcd")
    long.write_manifest(dataclasses.replace(run.manifest, data=data, id=long.id))
    assert len(json.dumps(attempts.policy(long), separators=(",", ":"))) * attempts._POLICIES <= 10_240


def test_the_guard_is_told_how_many_stay(run: Run) -> None:
    attempt = runs.Attempt(1, "i-1", "box", "us-east-1a", "now")
    plan = attempts._guard_plan(
        dataclasses.replace(stage(run), instance=cast(Any, SimpleNamespace(id="i-1"))), attempt, "c"
    )
    assert json.loads(json.dumps(plan))["snapshots"] == {"pattern": RULE.pattern, "parts": ["pkl"], "keep": 2}


def test_a_snapshot_deep_in_folders_with_a_colon_comes_back_to_its_place(run: Run) -> None:
    host = Host()
    whole = {"iteration": 39, "files": [{"path": DEEP, "name": "model_iter39.pkl", "size": 1, "sha256": "x"}]}
    run.store.write_json(run.key("snapshots", "000000039", "complete.json"), whole)
    [snapshot] = run.snapshots()
    assert snapshot.stem == DEEP.removesuffix(".pkl")
    attempts._prepare_folder(stage(run, host), snapshot)
    [pull] = [words for words in host.said if "pull" in words]
    assert pull[-2:] == ["runs/net-1/snapshots/000000039/", f"/var/lib/provision/runs/net-1/{Path(DEEP).parent}"]
    assert run.manifest.rendered.resumed(snapshot.stem) == run.manifest.rendered.command


def test_a_mark_that_is_deleted_while_it_is_read_is_no_snapshot(run: Run) -> None:
    whole = {"iteration": 39, "files": [{"path": DEEP, "name": "model_iter39.pkl", "size": 1, "sha256": "x"}]}
    for at in (19, 39):
        run.store.write_json(run.key("snapshots", f"{at:09d}", "complete.json"), whole)
    read = run.store.read_json
    gone = run.key("snapshots", "000000019", "complete.json")
    run.store.read_json = lambda key: None if key == gone else read(key)  # type: ignore[method-assign]
    assert [one.prefix for one in run.snapshots()] == ["runs/net-1/snapshots/000000039/"]


def test_weights_are_noted_in_the_manifest_and_bound_one_by_one(run: Run) -> None:
    attempts._fetch_weights(stage(run))
    noted = Run(run.store, run.id).manifest.weights
    assert noted == {START.url: {"file": "start.caffemodel", "sha256": "a" * 64, "size": 5}}
    [bind] = [one for one in attempts._binds(stage(run)) if one.target.startswith("/weights")]
    assert (bind.source, bind.target, bind.read_only) == (
        weights.path_on_host(START), "/weights/start.caffemodel", True,
    )  # fmt: skip


def test_a_manifest_from_before_weights_is_read(run: Run) -> None:
    raw = run.store.read_json(run.key("manifest.json"))
    del raw["weights"]
    run.store.write_json(run.key("manifest.json"), raw)
    assert Run(run.store, run.id).manifest.weights == {}
