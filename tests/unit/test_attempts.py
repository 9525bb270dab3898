"""What a container and its guard are given: folders, weights, the role's policy, the snapshot put back in its place."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from infra.aws.s3 import S3
from infra.aws.session import Cloud
from infra.aws.tags import LAUNCH
from infra.aws.types import Instance
from infra.containers import ContainerSpec
from infra.errors import HostError, ProvisionError, RunError, UsageError
from infra.shell import Result
from localcloud import access
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import SnapshotRule, Weights
from provision.runs import inputs, policy, weights
from provision.runs.manifest import Attempt, Manifest, Source
from provision.runs.store import Run
from provision.training import attempt as attempts
from provision.training.attempt import Turn
from provision.training.stage import Stage
from tests.unit.test_fetch import Bucket

START = Weights(file="start.caffemodel", url="https://up/start", licence="BSD")
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
    bucket.cloud = Cloud("aws", "us-east-1")
    one = Run(cast(S3, bucket), "net-1")
    recipe = msgspec.structs.replace(load("digits"), snapshots=RULE, resume=(), weights=(START,))
    one.write_manifest(
        Manifest(
            "net-1", "2026-01-01", recipe, render(recipe), "caffe", "caffe:1", "sha256:1", Source(), Source(), 0,
            "box", "p3.8xlarge", "spot", "us-east-1",
        )
    )  # fmt: skip
    return one


def stage(run: Run, host: Host | None = None) -> Stage:
    shell: Any = host or Host()
    nothing: Any = None
    return Stage(nothing, run, nothing, shell, nothing, nothing, lambda text: None)


def may(run: Run, action: str, key: str, account: str = "111111111111", bucket: str = "") -> bool:
    """Whether the run's policy allows that with an object of a bucket, which belongs to that account."""
    statements: Any = policy.policy(run)["Statement"]
    resource = f"arn:aws:s3:::{bucket or run.store.bucket}/{key}"
    return access.allowed(statements, action, resource, {"aws:resourceaccount": [account]})


def test_the_role_writes_nothing_that_a_laptop_acts_upon(run: Run) -> None:
    for key in (
        "manifest.json",
        "attempts/002.json",
        "attempts/2",
        "other",
        "log",
        "state.json.part",
        "../net-2/log/1",
    ):
        assert not may(run, "s3:PutObject", f"runs/net-1/{key}"), key
    for key in ("log/001", "snapshots/000000039-001/complete.json", "outputs/a/b", "inputs/data.json", "state.json"):
        for action in ("s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload"):
            assert may(run, action, f"runs/net-1/{key}"), key
    for key in ("manifest.json", "attempts/001.json", "log/001"):
        assert may(run, "s3:GetObject", f"runs/net-1/{key}")
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert not may(run, action, "runs/net-12/log/001")
        assert not may(run, action, "runs/net-1/snapshots/000000039-001/x", account="999999999999")


def test_the_role_may_delete_its_own_snapshots_only_and_only_where_old_ones_go(run: Run) -> None:
    assert may(run, "s3:DeleteObject", "runs/net-1/snapshots/000000039/complete.json")
    for key in ("runs/net-1/manifest.json", "runs/net-1/log/001", "runs/net-12/snapshots/1/x", "runs/net-1/snapshots"):
        assert not may(run, "s3:DeleteObject", key)
    all_stay = msgspec.structs.replace(run.manifest.recipe, snapshots=msgspec.structs.replace(RULE, keep=0))
    run.write_manifest(dataclasses.replace(run.manifest, recipe=all_stay))
    again = Run(run.store, run.id)
    assert not may(again, "s3:DeleteObject", "runs/net-1/snapshots/000000039/complete.json")


@pytest.mark.parametrize("value", ["s3://*/", "s3://?/x/", "s3://lab/*", "s3://lab/a?c/", "s3://lab/${aws:userid}/"])
def test_a_data_prefix_that_stands_for_other_places_is_refused(run: Run, value: str) -> None:
    """From a manifest that somebody changed, and from a command line alike."""
    with pytest.raises(UsageError):
        policy.policy(run, Source("s3", value, "/data/sets/x"))
    with pytest.raises(UsageError):
        inputs.data_source("", value)


def test_data_of_the_own_account_are_read_from_nobody_else(run: Run) -> None:
    mine = Source("s3", "s3://lab/voc/", "/data/sets/x", owner="111111111111")
    theirs = dataclasses.replace(mine, owner="")
    for source, others in ((mine, False), (theirs, True)):
        run.write_manifest(dataclasses.replace(run.manifest, data=source))
        assert may(run, "s3:GetObject", "voc/a.jpg", bucket="lab")
        assert may(run, "s3:GetObject", "voc/a.jpg", "999999999999", "lab") == others
        assert not may(run, "s3:PutObject", "voc/a.jpg", bucket="lab")
        assert not may(run, "s3:GetObject", "vocabulary", bucket="lab")


def test_the_policies_of_as_many_runs_as_stay_fit_into_a_role(run: Run) -> None:
    """AWS counts 10,240 characters, spaces left out, over all inline policies of a role."""
    data = Source("s3", "s3://a-bucket-of-some-length/and/a/prefix/of/some/length/", "/data/sets/x", "1" * 12)
    long = Run(run.store, "caffe-classify-20261121-181600-abcd")
    long.write_manifest(dataclasses.replace(run.manifest, data=data, id=long.id))
    assert len(json.dumps(policy.policy(long), separators=(",", ":"))) * (attempts._POLICIES + 0.5) <= 10_240


def test_the_guard_is_told_how_many_stay(run: Run) -> None:
    one = Attempt(1, "i-1", "box", "us-east-1a", "now")
    plan = attempts._guard_plan(
        dataclasses.replace(stage(run), instance=cast(Any, SimpleNamespace(id="i-1", name="box"))), one, "c"
    )
    assert json.loads(json.dumps(plan))["snapshots"] == {"pattern": RULE.pattern, "parts": ["pkl"], "keep": 2}
    assert (plan["instance"], plan["machine"], plan["owner"]) == ("i-1", "box", "111111111111")


def keep(run: Run, iteration: int, attempt: int, size: int = 1) -> str:
    """Put a complete snapshot of that attempt into the run's folder; its prefix. `size` is what its mark says."""
    path = DEEP.replace("39", str(iteration))
    place = run.key("snapshots", f"{iteration:09d}-{attempt:03d}" if attempt else f"{iteration:09d}") + "/"
    run.store.write(place + path.rsplit("/", 1)[-1], b"x")
    whole = {
        "iteration": iteration,
        "files": [{"path": path, "name": path.rsplit("/", 1)[-1], "size": size, "sha256": "x"}],
    }
    run.store.write_json(place + "complete.json", whole)
    return place


def test_a_snapshot_deep_in_folders_with_a_colon_comes_back_to_its_place(run: Run) -> None:
    host = Host()
    keep(run, 39, 1)
    [snapshot] = run.snapshots()
    assert (snapshot.stem, snapshot.attempt) == (DEEP.removesuffix(".pkl"), 1)
    assert attempts._prepare_folder(stage(run, host), [snapshot]) == snapshot
    [pull] = [words for words in host.said if "pull" in words]
    assert pull[pull.index("pull") + 1 :] == [
        run.store.bucket, "us-east-1", "", "111111111111", "runs/net-1/snapshots/000000039-001/",
        f"/var/lib/provision/runs/net-1/{Path(DEEP).parent}",
    ]  # fmt: skip
    assert run.manifest.rendered.resumed(snapshot.stem) == run.manifest.rendered.command


def test_a_mark_that_is_deleted_while_it_is_read_is_no_snapshot(run: Run) -> None:
    gone, stays = keep(run, 19, 1), keep(run, 39, 1)
    read = run.store.read_json
    run.store.read_json = lambda key: None if key == f"{gone}complete.json" else read(key)  # type: ignore[method-assign]
    assert [one.prefix for one in run.snapshots()] == [stays]


@pytest.mark.parametrize("damage", ["missing", "shorter", "no JSON values", "no list", "outside", "sum of another"])
def test_a_snapshot_of_which_not_all_is_there_is_none(run: Run, damage: str) -> None:
    whole, torn = keep(run, 19, 1), keep(run, 39, 1, size=2 if damage == "shorter" else 1)
    file = {"path": DEEP, "size": 1, "sha256": "x"}
    if damage == "missing":
        run.store.delete([torn + "model_iter39.pkl"])
    if damage == "no JSON values":
        run.store.write_json(torn + "complete.json", {"files": [{"path": 7}]})
    if damage == "no list":
        run.store.write_json(torn + "complete.json", ["files"])
    if damage == "sum of another":  # then the guard would look for none
        run.store.write_json(torn + "complete.json", {"files": [{**file, "name": "other.pkl"}]})
    if damage == "outside":  # the recipe's pattern takes it
        evil = {**file, "path": "train/../../../../etc/model_iter39.pkl"}
        run.store.write_json(torn + "complete.json", {"files": [evil]})
    assert [one.prefix for one in run.snapshots()] == [whole]


def attempt(number: int, resumed_from: int = 0, chosen: bool = False) -> Attempt:
    return Attempt(number, f"i-{number}", "lab", "us-east-1a", "2026-11-29T10:00:00", resumed_from, (), chosen)


def test_of_two_attempts_that_saved_the_same_iteration_the_newer_ones_counts(run: Run) -> None:
    old, first, second = keep(run, 9, 0), keep(run, 19, 1), keep(run, 19, 2)
    assert [one.prefix for one in run.snapshots()] == [old, second]
    assert [one.prefix for one in run.all_snapshots()] == [old, first, second]


def test_what_an_attempt_went_back_behind_counts_no_more(run: Run) -> None:
    """attempt 2 went on from 19, as the user chose: attempt 1 had diverged at 39."""
    at = {(one, number): keep(run, one, number) for one, number in ((19, 1), (39, 1), (29, 2))}
    run.add_attempt(attempt(1))
    run.add_attempt(attempt(2, resumed_from=19))
    assert [one.iteration for one in run.snapshots()] == [19, 29, 39]
    run.add_attempt(attempt(3, resumed_from=19, chosen=True))
    assert [one.prefix for one in run.snapshots()] == [at[19, 1]]
    at[25, 3] = keep(run, 25, 3)
    assert [one.prefix for one in run.snapshots()] == [at[19, 1], at[25, 3]]


class Lossy(Host):
    """A host whose guard finds some snapshots damaged."""

    def __init__(self, *damaged: str, said: str = "guard: x is damaged (sha256)") -> None:
        super().__init__()
        self.damaged, self.why = damaged, said

    def run(self, words: Sequence[str], **more: Any) -> Result:
        if any(prefix in words for prefix in self.damaged):
            raise HostError(self.why)
        return super().run(words, **more)


def test_where_the_newest_snapshot_is_damaged_the_one_before_is_taken(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(run, 19, 1)
    torn = keep(run, 39, 1)
    taken = attempts._prepare_folder(stage(run, Lossy(torn)), run.snapshots())
    assert taken is not None and taken.iteration == 19
    assert "the snapshot of iteration 39 is damaged" in capsys.readouterr().err


def test_where_all_snapshots_are_damaged_nothing_begins_anew_unasked(run: Run) -> None:
    with pytest.raises(RunError, match="no snapshot of net-1 is whole") as refused:
        attempts._prepare_folder(stage(run, Lossy(keep(run, 39, 1))), run.snapshots())
    assert refused.value.mend == "start it from nothing: provision resume net-1 --from 0"


def test_a_host_that_is_gone_is_no_damaged_snapshot(run: Run) -> None:
    keep(run, 19, 1)
    with pytest.raises(HostError, match="does not answer"):
        attempts._prepare_folder(stage(run, Lossy(keep(run, 39, 1), said="lab does not answer")), run.snapshots())


def test_an_attempt_says_from_what_it_goes_on_and_whether_that_was_chosen(run: Run) -> None:
    keep(run, 19, 1)
    keep(run, 39, 1)
    launched = datetime(2026, 11, 29, tzinfo=timezone.utc)
    where = Instance(
        "i-1", "box", "running", "p3.8xlarge", "us-east-1a", "spot", None, launched, {LAUNCH: "provision-box-01234567"}
    )
    on = dataclasses.replace(stage(run), instance=where, cloud=Cloud("aws", "us-east-1"))
    older, newest = run.snapshots()
    for next_one, went_on, iteration, chosen in (
        (Turn(2, [older, newest]), newest, 39, False),
        (Turn(2, [older, newest]), older, 19, True),  # the newest was damaged
        (Turn(2, [older], chosen=True), older, 19, True),
        (Turn(2), None, 0, False),
    ):
        made = attempts._attempt(on, next_one, went_on, (0,))
        assert (made.number, made.resumed_from, made.chosen, made.gpus) == (2, iteration, chosen, (0,))
        assert "@" in made.made_by
        assert made.launch == "provision-box-01234567"


def test_weights_are_noted_in_the_manifest_and_bound_one_by_one(run: Run) -> None:
    attempts._fetch_weights(stage(run))
    noted = Run(run.store, run.id).manifest.weights
    assert noted == {START.url: {"file": "start.caffemodel", "sha256": "a" * 64, "size": 5}}
    [bind] = [
        one
        for one in attempts.container.binds(run.manifest, attempts.container.folders_on_host(run.manifest))
        if one.target.startswith("/weights")
    ]
    assert (bind.source, bind.target, bind.read_only) == (
        weights.path_on_host(START), "/weights/start.caffemodel", True,
    )  # fmt: skip


def test_a_manifest_from_before_weights_is_read(run: Run) -> None:
    raw = run.store.read_json(run.key("manifest.json"))
    del raw["weights"]
    run.store.write_json(run.key("manifest.json"), raw)
    assert Run(run.store, run.id).manifest.weights == {}


class Starting:
    """An attempt's start with nothing but its last steps: what is written down, and what containers there are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
        self.run, self.said, self.containers = run, [], []  # type: Run, list[str], list[str]
        self.way: ProvisionError | None = None
        self.keeping: ProvisionError | None = None
        self.planned: Callable[[], object] = lambda: None
        here: Any = SimpleNamespace(uid=1000, gid=1000, gpus=())
        engine = SimpleNamespace(run=self._contain)
        for place, name, answer in (
            (attempts.login, "shell", lambda *_: nullcontext(Host())),
            (attempts, "open_remote", lambda _: nullcontext(engine)),
            (attempts, "turn", lambda _: nullcontext()),
            (attempts.facts, "look", lambda _: here),
            (attempts.guard, "plan", lambda *_: self.planned()),
            (attempts, "_guard_plan", lambda *_: {}),
            (attempts, "_free_gpus", lambda _: ()),
            (attempts, "_attempt", lambda *_: attempt(2)),
            (attempts.inputs, "keep", lambda *_: self._raise(self.keeping)),
            *((attempts, name, lambda *_: None) for name in ("_allow", "_fetch_weights", "_send_image")),
            (attempts, "_prepare_folder", lambda *_: None),
            (attempts.gpu_check, "prove", lambda *_: None),
            (attempts.guard, "install", lambda _: None),
            (attempts.inputs, "place", lambda *_: None),
            (attempts.container, "binds", lambda *_: ()),
        ):
            monkeypatch.setattr(place, name, answer)
        run.add_attempt(attempt(1))

    def _contain(self, spec: ContainerSpec, before_start: Callable[[], None]) -> None:
        before_start()
        self.containers.append(spec.name)

    def _raise(self, error: ProvisionError | None) -> None:
        if error:
            raise error

    def start(self) -> Attempt:
        at: Any = SimpleNamespace(name="box")
        nothing: Any = None
        return attempts.start(nothing, self.run, at, Turn(2), self.said.append, lambda: self._raise(self.way))

    @property
    def numbers(self) -> list[int]:
        return [one.number for one in self.run.attempts()]


def test_an_attempt_whose_number_is_no_longer_the_newest_gets_no_container(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody found it without a container, and began the next one meanwhile."""
    starting = Starting(monkeypatch, run)
    starting.planned = lambda: run.add_attempt(attempt(3))
    with pytest.raises(RunError, match="attempt 3 began"):
        starting.start()
    assert starting.containers == []


def test_an_attempt_gives_way_to_the_one_before_that_got_its_container(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting = Starting(monkeypatch, run)
    starting.way = RunError("attempt 1 goes on")
    with pytest.raises(RunError, match="attempt 1 goes on"):
        starting.start()
    assert (starting.containers, starting.numbers) == ([], [1])
    starting.way = None
    assert starting.start().number == 2
    assert (starting.containers, starting.numbers) == (["provision-net-1-002"], [1, 2])


def test_a_training_that_has_begun_is_not_ended_for_the_copy_of_its_data(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting = Starting(monkeypatch, run)
    starting.keeping = HostError("the connection broke")
    assert starting.start().number == 2
    assert starting.said[-1] == (
        "the connection broke; another laptop that resumes net-1 has to give its data and code"
    )


def test_code_that_is_given_is_the_runs_only_once_its_attempt_is_the_newest(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of two who resume at once the slower one changes neither the manifest nor the code in the container's reach."""
    host = Host()
    starting = Starting(monkeypatch, run)
    monkeypatch.setattr(attempts.login, "shell", lambda *_: nullcontext(host))
    before = run.store.read(run.key("manifest.json"))
    inputs.give(run, None, str(tmp_path))
    starting.way = RunError("attempt 1 goes on")
    with pytest.raises(RunError):
        starting.start()
    assert run.store.read(run.key("manifest.json")) == before
    assert not [words for words in host.said if "cp" in words]
    starting.way = None
    starting.start()
    assert Run(run.store, run.id).manifest.project.value == str(tmp_path)
    assert [words[-1] for words in host.said if "cp" in words] == [inputs.code_folder(run.id)]
