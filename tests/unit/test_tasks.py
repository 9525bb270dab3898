"""`infer`, `score`, `time`: what would be run, on what, and what becomes of the results. Docker is a function here."""

import csv
import errno
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs

from infra.aws.s3 import S3
from infra.containers import Bind, ContainerSpec, GpuRequest, Rights
from infra.errors import DiskError, NotFoundError, ProvisionError, RunError, UsageError
from infra.shell import LocalShell, Result, Words
from provision.cli import run as provision
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import Container, Recipe
from provision.runs import policy
from provision.runs.manifest import Manifest, Source, plain
from provision.runs.store import Run
from provision.tasks import container, local, remote, score, score_plot, workspace
from provision.tasks import job as tasks
from provision.tasks import timing as task_time
from provision.tasks.local import Given
from provision.tasks.score import Score
from tests.unit.test_fetch import Bucket

RECIPE = """
name: tiny
about: nothing to learn
stack: caffe-debian
command: [caffe, train]
options: {size: 4}
files: [net.prototxt.j2]
snapshots:
  pattern: snapshots/tiny_iter_(?P<iteration>\\d+)\\.(?P<part>caffemodel|solverstate)
  parts: [caffemodel, solverstate]
failures:
  - {match: "mdb_status", what: the data is gone, mend: give it with --data}
tasks:
  infer: {command: [look, "{snapshot}.caffemodel", "{{ size }}"], gpu: [--gpu, "{{ gpu_list }}"]}
  score: {command: [judge, "{snapshot}.caffemodel"], every_snapshot: true}
  time: {command: [caffe, time, -model, net.prototxt]}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    folder = tmp_path / "recipes" / "tiny"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "net.prototxt.j2").write_text("size: {{ size }}\n")
    return load(str(folder))


def manifest(recipe: Recipe, gpus: int = 0, data: Source | None = None) -> Manifest:
    return Manifest(
        "tiny-1", "2026-01-01", recipe, render(recipe, gpus=gpus), "caffe-debian", "provision/x:y", "sha256:1",
        data or Source(), Source(), gpus, "box", "p3.8xlarge", "spot", "us-east-1",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, recipe: Recipe) -> Path:
    """What `provision fetch --every-snapshot` leaves; the newest snapshot has but one of its parts."""
    return fetched(tmp_path / "tiny-1", manifest(recipe))


def fetched(target: Path, made: Manifest) -> Path:
    (target / "snapshots").mkdir(parents=True)
    (target / "manifest.json").write_text(json.dumps(plain(made)))
    for name in ("20.caffemodel", "20.solverstate", "100.caffemodel", "100.solverstate", "120.caffemodel"):
        (target / "snapshots" / f"tiny_iter_{name}").write_text(name)
    return target


def no_cloud() -> Any:
    raise AssertionError("AWS was asked")


class Docker(LocalShell):
    """An engine that has every image. `act` is the container: its words and its folders by their place inside."""

    def __init__(self, act: Callable[[list[str], dict[str, Path]], Result | None]) -> None:
        self.act = act
        self.ran: list[list[str]] = []
        self.removed: list[str] = []

    def run(self, words: Words, **more: Any) -> Result:
        said = list(words)
        if said[:2] == ["docker", "rm"]:
            self.removed.append(said[-1])
            return Result(0)
        if said[:2] != ["docker", "run"]:
            return Result(0, json.dumps([{"Id": "sha256:1", "Size": 5}]))
        self.ran.append(said)
        mounts = [dict(field.partition("=")[::2] for field in next(csv.reader([said[at + 1]])))
                  for at, word in enumerate(said) if word == "--mount"]  # fmt: skip
        command = said[said.index("sha256:1") + 1 :]
        result = self.act(command, {one["target"]: Path(one["source"]) for one in mounts})
        if on_line := more.get("on_line"):
            for line in (result or Result(0)).out.splitlines():
                on_line(line)
        return result or Result(0)


# which run, which snapshots


def test_a_fetched_folder_is_a_run_without_aws(folder: Path) -> None:
    subject = tasks.find(str(folder), no_cloud)
    assert subject.name == "tiny-1"
    assert [one.iteration for one in tasks.snapshots(subject)] == [20, 100]
    newest = tasks.plan(subject, "infer", Path("out"))
    assert [step.command for step in newest.steps] == [("look", "snapshots/tiny_iter_100.caffemodel", "4")]


def test_a_score_is_of_every_snapshot_oldest_first_each_in_its_folder(folder: Path) -> None:
    subject = tasks.find(str(folder), no_cloud)
    steps = tasks.plan(subject, "score", Path("out")).steps
    assert [step.command[1] for step in steps] == [f"snapshots/tiny_iter_{at}.caffemodel" for at in (20, 100)]
    assert [str(step.out) for step in steps] == ["out/000000020", "out/000000100"]
    (one,) = tasks.plan(subject, "score", Path("out"), snapshot=20).steps
    assert one.snapshot is not None and (one.snapshot.iteration, one.out) == (20, Path("out"))
    assert len(tasks.plan(subject, "score", Path("out"), every=False).steps) == 1


def test_a_run_of_gpus_is_rendered_again_for_the_cpu(tmp_path: Path, recipe: Recipe) -> None:
    subject = tasks.find(str(fetched(tmp_path / "x", manifest(recipe, gpus=2))), no_cloud)
    assert tasks.plan(subject, "infer", Path("o"), gpus=2).steps[0].command[-2:] == ("--gpu", "0,1")
    assert tasks.plan(subject, "infer", Path("o")).steps[0].command[-1] == "4"
    changed = tasks.plan(subject, "infer", Path("o"), sets={"size": "9"})
    assert changed.steps[0].command[-1] == "9"
    assert changed.rendered.files["net.prototxt"] == "size: 9\n"


def test_variables_of_train_env_stay_where_a_task_is_rendered_again(tmp_path: Path, recipe: Recipe) -> None:
    own = structs.replace(recipe, environment={"SIDE": "{{ size }}", "THREADS": "1", "MODE": "a"})
    made = manifest(own)
    asked = {**made.rendered.environment, "THREADS": "4", "NOTE": "mine"}
    run = replace(made, rendered=structs.replace(made.rendered, environment=asked))
    subject = tasks.find(str(fetched(tmp_path / "x", run)), no_cloud)
    job = tasks.plan(subject, "infer", Path("o"), sets={"size": "8"})
    assert job.rendered.environment == {"SIDE": "8", "THREADS": "4", "MODE": "a", "NOTE": "mine"}


@pytest.mark.parametrize(
    ("what", "name", "snapshot", "said", "mend"),
    [
        ("tiny", "paint", None, "has no task 'paint'", "infer, score, time"),
        ("tiny", "score", 30, "no snapshot of iteration 30", "20, 100"),
        ("empty", "score", None, "no complete snapshot yet", "provision fetch tiny-1"),
    ],
)
def test_what_cannot_be_says_what_there_is(
    folder: Path, what: str, name: str, snapshot: int | None, said: str, mend: str
) -> None:
    if what == "empty":
        for path in (folder / "snapshots").iterdir():
            path.unlink()
    with pytest.raises(ProvisionError) as error:
        tasks.plan(tasks.find(str(folder), no_cloud), name, Path("out"), snapshot=snapshot)
    assert said in error.value.what and mend in error.value.mend


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        tasks.find(str(tmp_path / "nothing"), no_cloud)
    with pytest.raises(UsageError, match="holds no run"):
        tasks.find(str(tmp_path), no_cloud)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match=r"manifest\.json: .*missing required field"):
        tasks.find(str(tmp_path), no_cloud)


def test_a_recipe_without_tasks_says_where_they_are_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        tasks.task_of(tasks.untrained(load("digits"), {}, 0, None), "infer")
    assert "tasks.infer" in error.value.mend


# in the container


def test_a_task_sees_its_files_and_its_results_appear_when_it_is_done(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = tmp_path / "a, photo.jpg", tmp_path / "results"
    image.write_bytes(b"JPEG")
    (tmp_path / "data").mkdir()

    def act(command: list[str], at: dict[str, Path]) -> Result:
        assert command == ["look", "snapshots/tiny_iter_100.caffemodel", "4"]
        assert (at["/work"] / "net.prototxt").read_text() == "size: 4\n"
        assert at["/work/snapshots/tiny_iter_100.caffemodel"].read_text() == "100.caffemodel"
        assert (at["/in"] / "a, photo.jpg").read_bytes() == b"JPEG"
        assert (at["/data"], at["/project"]) == (tmp_path / "data", tmp_path / "code")
        assert not out.exists()
        (at["/out"] / "found.json").write_text("[]")
        made = 'I1121 18:00:00.1 net.cpp:58] Initializing net from parameters: \nname: "x"\nlayer {\n}\n'
        return Result(0, f"{made}I1121 18:00:00.1 net.cpp:1] much\na cat\n")

    docker = Docker(act)
    job = tasks.plan(tasks.find(str(folder), no_cloud), "infer", out)
    local.perform(job, "sha256:1", Given((image,), tmp_path / "data", tmp_path / "code"), docker)
    assert (out / "found.json").read_text() == "[]"
    assert json.loads((out / "task.json").read_text())["iteration"] == 100
    (words,) = docker.ran
    assert words[words.index("--network") + 1] == "none"
    assert words[words.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
    assert sum(",readonly" in word for word in words) == 5  # two parts of the snapshot, /in, /data, /project
    assert docker.removed == [words[words.index("--name") + 1]]
    err = capsys.readouterr().err
    assert "a cat" in err and "net.cpp" not in err and "layer {" not in err


def test_the_same_again_is_not_done_again_and_other_results_are_not_lost(folder: Path, tmp_path: Path) -> None:
    image, out = tmp_path / "x.jpg", tmp_path / "results"
    image.write_bytes(b"1")

    def act(_: list[str], at: dict[str, Path]) -> None:
        (at["/out"] / "n").write_text(str(len(docker.ran)))

    docker = Docker(act)
    job = tasks.plan(tasks.find(str(folder), no_cloud), "infer", out)
    for _ in range(2):
        local.perform(job, "sha256:1", Given((image,)), docker)
    assert len(docker.ran) == 1
    image.write_bytes(b"another")
    with pytest.raises(UsageError, match="holds something else"):
        local.perform(job, "sha256:1", Given((image,)), docker)
    local.perform(job, "sha256:1", Given((image,), replace=True), docker)
    assert (out / "n").read_text() == "2"
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_results_that_are_there_are_told_for_a_machine_too_and_it_is_left_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, nothing = tmp_path / "results", cast(Any, None)
    job = tasks.plan(tasks.find(str(folder), no_cloud), "infer", out)
    local.perform(job, "sha256:1", Given(), Docker(lambda *_: None))
    capsys.readouterr()
    assert remote.perform(nothing, nothing, job, None, Given(), None) == [(job.steps[0], None)]
    assert capsys.readouterr().err == f"  {out} is done already\n"


def test_data_named_in_place_of_the_runs_own_leave_the_run_as_it_is(stored: tuple[Bucket, Run]) -> None:
    _, run = stored
    other = json.dumps(policy.policy(run, Source("s3", "s3://other/set/", "/data/sets/x")))
    assert "arn:aws:s3:::other/set/*" in other
    assert "other" not in json.dumps(policy.policy(run)) and run.manifest.data.kind != "s3"


def test_of_a_task_that_fails_nothing_stays_and_the_recipe_explains(folder: Path, tmp_path: Path) -> None:
    def act(_: list[str], at: dict[str, Path]) -> Result:
        (at["/out"] / "half").write_text("x")
        return Result(1, "", "F1121 db_lmdb.hpp:15] Check failed: mdb_status == 0 (2 vs. 0) No such file")

    job = tasks.plan(tasks.find(str(folder), no_cloud), "score", tmp_path / "out")
    with pytest.raises(RunError) as error:
        local.perform(job, "sha256:1", Given(), Docker(act))
    assert "score of tiny-1, iteration 20" in error.value.what and "the data is gone" in error.value.what
    assert error.value.mend == "give it with --data"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (Result(137), "memory"),
        (Result(1, "", "Traceback\nImportError: no module named cat"), "ImportError: no module named cat"),
        (
            Result(134, "", "F1 x.cpp:1] Check failed: a\n*** Check failure stack trace: ***\n    @ 0x7f"),
            "Check failed: a",
        ),
        (Result(125, "", "docker: Error response from daemon: no such image"), "no such image"),
    ],
)
def test_a_failure_nobody_knows_shows_the_end_of_what_was_said(result: Result, said: str) -> None:
    error = container.failure(result, None, "score of x failed")
    assert error.what.startswith("score of x failed") and said in error.what
    assert "@ 0x7f" not in error.what


def test_a_container_is_asked_for_gpus_in_the_hosts_way() -> None:
    spec = ContainerSpec("n", "i", ("x",), "1:1", (Bind('/a,"b', "/in", True),), gpus=GpuRequest((0, 2)))
    words = container.words(spec)
    assert words[words.index("--gpus") + 1] == '"device=0,2"'
    (fields,) = csv.reader([words[words.index("--mount") + 1]])
    assert fields == ["type=bind", 'source=/a,"b', "target=/in", "readonly"]
    old = container.words(ContainerSpec("n", "i", ("x",), "1:1", gpus=GpuRequest((1,), runtime=True)))
    assert "--gpus" not in old and "NVIDIA_VISIBLE_DEVICES=1" in old


def test_more_gpus_than_there_are_are_refused() -> None:
    class Host(LocalShell):
        def run(self, words: Words, **_: Any) -> Result:
            return Result(0, "uid 1 1\ndocker 24.0\nhook x\ngpu 0, Tesla V100, 16000, 535.1\n")

    assert local.request(Host(), 1).indices == (0,)
    with pytest.raises(ProvisionError, match="has 1 GPUs, not 2"):
        local.request(Host(), 2)


def test_two_files_of_one_name_or_none_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jpg").write_text(name)
    assert workspace.inputs(tmp_path / "in", [tmp_path / "a"]) == tmp_path / "a"
    with pytest.raises(UsageError, match=r"two files have the name x\.jpg"):
        workspace.inputs(tmp_path / "in", [tmp_path / "a" / "x.jpg", tmp_path / "b" / "x.jpg"])
    with pytest.raises(UsageError, match="is not there"):
        workspace.inputs(tmp_path / "in2", [tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="is empty"):
        workspace.inputs(tmp_path / "in3", [tmp_path / "empty"])


# from S3


@pytest.fixture
def stored(recipe: Recipe) -> tuple[Bucket, Run]:
    bucket = Bucket()
    run = Run(cast(S3, bucket), "tiny-1")
    run.write_manifest(manifest(recipe, data=Source("folder", "/gone", "/data/sets/x")))
    for at in (20, 100):
        files = {f"snapshots/tiny_iter_{at}.{part}": f"{at}{part}".encode() for part in ("caffemodel", "solverstate")}
        put(bucket, run, at, files)
    return bucket, run


def put(bucket: Bucket, run: Run, at: int, files: dict[str, bytes]) -> None:
    prefix = run.key("snapshots", f"{at:09d}") + "/"
    rows = [
        {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for path, data in files.items()
    ]
    bucket.held |= {prefix + path.rsplit("/", 1)[-1]: data for path, data in files.items()}
    bucket.held[prefix + "complete.json"] = json.dumps({"files": rows}).encode()


def subject_of(run: Run) -> tasks.Subject:
    return tasks.Subject(
        run.id, run.manifest.recipe, run.manifest.rendered, "caffe-debian", data=run.manifest.data, run=run
    )


def test_only_the_chosen_snapshots_are_brought_and_only_once(stored: tuple[Bucket, Run]) -> None:
    bucket, run = stored
    subject = subject_of(run)
    assert [one.iteration for one in tasks.snapshots(subject)] == [20, 100]
    (newest,) = tasks.plan(subject, "infer", Path("o")).steps
    home = workspace.snapshot_home(subject, [newest.snapshot])
    assert home is not None and (home / "snapshots/tiny_iter_100.caffemodel").read_bytes() == b"100caffemodel"
    assert not (home / "snapshots/tiny_iter_20.caffemodel").exists()
    bucket.reads.clear()
    (home / "snapshots/tiny_iter_100.solverstate").write_bytes(b"100solverstatf")
    workspace.snapshot_home(subject, [newest.snapshot])
    assert [key.rsplit(".")[-1] for key in bucket.reads] == ["solverstate"]


def test_a_run_without_a_snapshot_is_followed_in_its_own_cloud(stored: tuple[Bucket, Run]) -> None:
    bucket, run = stored
    for key in [key for key in bucket.held if "/snapshots/" in key]:
        del bucket.held[key]
    with pytest.raises(RunError, match="no complete snapshot yet") as caught:
        tasks.plan(subject_of(run), "infer", Path("o"))
    assert caught.value.mend == "wait for one: provision logs tiny-1 -f --cloud fake"


def test_a_snapshot_that_is_taken_away_meanwhile_is_told(stored: tuple[Bucket, Run]) -> None:
    _, run = stored
    assert remote.prefix_of(run, 20) == "runs/tiny-1/snapshots/000000020/"
    with pytest.raises(RunError, match="iteration 30 of tiny-1 is gone"):
        remote.prefix_of(run, 30)


def test_a_damaged_snapshot_is_not_taken(stored: tuple[Bucket, Run]) -> None:
    bucket, run = stored
    bucket.held[run.key("snapshots", "000000100", "tiny_iter_100.caffemodel")] = b"100caffemodeX"
    subject = subject_of(run)
    with pytest.raises(RunError, match="came damaged"):
        workspace.snapshot_home(subject, [tasks.plan(subject, "infer", Path("o")).steps[0].snapshot])


def test_data_that_is_gone_here_comes_from_the_runs_copy(stored: tuple[Bucket, Run]) -> None:
    bucket, run = stored
    subject = subject_of(run)
    assert workspace.local_data(subject, None, needed=False) is None
    with pytest.raises(RunError) as error:
        workspace.local_data(subject, None, needed=True)
    assert "is gone: /gone" in error.value.what and "--data DIR" in error.value.mend
    row = {"path": "test_lmdb/data.mdb", "size": 7, "sha256": hashlib.sha256(b"records").hexdigest()}
    bucket.write_json(run.key("inputs", "data.json"), [row])
    with pytest.raises(RunError):  # the list is there, and the file has expired
        workspace.local_data(subject, None, needed=True)
    bucket.held[run.key("inputs", "data", "test_lmdb/data.mdb")] = b"records"
    found = workspace.local_data(subject, None, needed=True)
    assert found is not None and (found / "test_lmdb/data.mdb").read_bytes() == b"records"
    with pytest.raises(UsageError, match="is not a folder"):
        workspace.local_data(subject, "/nowhere", needed=True)


def test_the_runs_copy_of_its_data_is_held_against_its_sums(stored: tuple[Bucket, Run]) -> None:
    bucket, run = stored
    row = {"path": "data.mdb", "size": 7, "sha256": hashlib.sha256(b"records").hexdigest()}
    bucket.write_json(run.key("inputs", "data.json"), [row])
    bucket.held[run.key("inputs", "data", "data.mdb")] = b"recordX"
    with pytest.raises(RunError, match="came damaged"):
        workspace.local_data(subject_of(run), None, needed=True)
    bucket.write_json(run.key("inputs", "data.json"), [{**row, "path": "../../data.mdb"}])
    bucket.held[run.key("inputs", "data", "../../data.mdb")] = b"records"
    with pytest.raises(RunError, match="outside of itself"):
        workspace.local_data(subject_of(run), None, needed=True)


@pytest.mark.parametrize("kind", ["folder", "prepared"])
def test_no_folder_of_this_laptop_is_taken_from_a_manifest(
    stored: tuple[Bucket, Run], tmp_path: Path, kind: str
) -> None:
    """It would be mounted into a container with the manifest's own command. What the user gave here is taken."""
    _, run = stored
    secret = tmp_path / "keys"
    secret.mkdir()
    value = str(secret) if kind == "folder" else f"../../../..{secret}"
    evil = replace(subject_of(run), data=Source(kind, value, "/data/sets/x"), project=Source(kind, value))
    assert workspace.local_data(evil, None, needed=False) is None
    assert workspace.local_project(evil, None) is None
    assert workspace.local_project(evil, str(secret)) == secret
    given = replace(evil, given=(str(secret),))
    assert workspace.local_data(given, None, needed=False) == (secret if kind == "folder" else None)
    assert workspace.local_project(given, None) == (secret if kind == "folder" else None)


def test_a_fetched_folder_gives_its_data_only_on_the_laptop_that_named_them(
    recipe: Recipe, tmp_path: Path, stored: tuple[Bucket, Run]
) -> None:
    _, run = stored
    run.write_manifest(manifest(recipe, data=Source("folder", str(tmp_path), "/data/sets/x")), (str(tmp_path),))
    home = tmp_path / "home"
    home.mkdir()
    (home / "manifest.json").write_bytes(run.store.read(run.key("manifest.json")) or b"")
    assert tasks.find(str(home), no_cloud).given == (str(tmp_path),)
    changed = (home / "manifest.json").read_text().replace(str(tmp_path), "/etc")
    (home / "manifest.json").write_text(changed)
    assert tasks.find(str(home), no_cloud).given == ()


def test_a_fetched_manifest_that_leads_out_of_its_folder_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    odd = replace(manifest(recipe), data=Source("folder", "/x", "/etc"))
    (tmp_path / "manifest.json").write_text(json.dumps(plain(odd)))
    with pytest.raises(RunError, match="outside of /data/sets"):
        tasks.find(str(tmp_path), no_cloud)


def test_a_tar_from_a_host_writes_nowhere_else(tmp_path: Path) -> None:
    def packed(name: str) -> Path:
        path = tmp_path / "out.tar"
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"ok"))
        return path

    remote.unpack(packed("./a/b.png"), tmp_path / "home")
    assert (tmp_path / "home/a/b.png").read_bytes() == b"ok"
    with pytest.raises(RunError):
        remote.unpack(packed("./../../evil"), tmp_path / "home")
    assert not (tmp_path.parent / "evil").exists()


# scores


def test_scores_are_a_table_with_groups_and_the_best() -> None:
    scores = [
        Score(20, {"mAP": 0.25, "per_class": {"cat": 0.5, "dog": None}}),
        Score(100, {"mAP": 0.75, "loss": 2.0, "per_class": {"cat": 0.8, "dog": 0.7}}),
    ]
    assert score.table(scores) == (
        ["iteration", "mAP", "loss"], [[20, "0.2500", "-"], [100, "0.7500", "2.0000"]],
    )  # fmt: skip
    columns, rows = score.group_tables(scores)["per_class"]
    assert (columns, rows[1]) == (["per_class", "20", "100"], ["dog", "-", "0.7000"])
    assert score.best(scores) == ("mAP", scores[1])
    losses = [Score(1, {"loss": 3.0}), Score(2, {"loss": 1.0}), Score(3, {"loss": 2.0})]
    assert score.best(losses) == ("loss", losses[1])
    assert score.best([Score(1, {"mAP": None})]) is None


@pytest.mark.parametrize(
    ("text", "kind"), [("", RunError), ("[]", UsageError), ('{"iteration": 1, "metrics": {"a": "b"}}', UsageError)]
)
def test_a_score_that_is_none_is_refused(tmp_path: Path, text: str, kind: type[ProvisionError]) -> None:
    (tmp_path / "score.json").write_text(text)
    with pytest.raises(kind, match=r"score\.json"):
        score.read(tmp_path, 1)
    with pytest.raises(RunError, match="left no"):
        score.read(tmp_path / "nothing", 1)


def test_scores_are_drawn(tmp_path: Path) -> None:
    scores = [Score(at, {"mAP": at / 200, "per_class": {"cat": 0.5, "dog": None}}) for at in (20, 60, 100)]
    assert score_plot.lines(scores) == (
        {"mAP": [(20, 0.1), (60, 0.3), (100, 0.5)]},
        {"cat": [(20, 0.5), (60, 0.5), (100, 0.5)]},
    )
    score_plot.draw(scores, tmp_path / "score.png")
    assert (tmp_path / "score.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="cannot be drawn"):
        score_plot.draw(scores, tmp_path / "score.nothing")
    with pytest.raises(RunError, match="nothing was measured"):
        score_plot.draw([Score(1, {"mAP": None})], tmp_path / "x.png")


def test_a_drawing_that_cannot_be_finished_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    def full(self: Figure, place: Path, **more: object) -> None:
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    monkeypatch.setattr(Figure, "savefig", full)
    (tmp_path / "score.png").write_text("before")
    with pytest.raises(DiskError, match=r"score\.png cannot be written"):
        score_plot.draw([Score(20, {"mAP": 0.5})], tmp_path / "score.png")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("score.png", "before")]


# times


SAID = """\
I20261121 18:00:00.000001     7 caffe.cpp:340] *** Benchmark begins ***
I1121 18:00:00.000001     7 caffe.cpp:341] Testing for 3 iterations.
I1121 18:00:00.000001     7 caffe.cpp:390] Average time per layer:
I1121 18:00:00.000001     7 caffe.cpp:393]      conv1\tforward: 1.5 ms.
I1121 18:00:00.000001     7 caffe.cpp:396]      conv1\tbackward: 2 ms.
I1121 18:00:00.000001     7 caffe.cpp:393] a long layer's name\tforward: 4e-05 ms.
I1121 18:00:00.000001     7 caffe.cpp:396] a long layer's name\tbackward: 10.25 ms.
I1121 18:00:00.000001     7 caffe.cpp:401] Average Forward pass: 1.6 ms.
I1121 18:00:00.000001     7 caffe.cpp:403] Average Backward pass: 12.3 ms.
I1121 18:00:00.000001     7 caffe.cpp:405] Average Forward-Backward: 14 ms.
I1121 18:00:00.000001     7 caffe.cpp:407] Total Time: 42 ms.
"""


def test_times_are_read_and_sorted() -> None:
    timing = task_time.parse(SAID.splitlines())
    assert timing.totals() == {"forward_ms": 1.6, "backward_ms": 12.3, "forward_backward_ms": 14.0, "iterations": 3}
    assert [row["layer"] for row in timing.rows("net")] == ["conv1", "a long layer's name"]
    slowest = timing.rows("total")[0]
    assert (slowest["layer"], slowest["backward_ms"], slowest["share"]) == ("a long layer's name", 10.25, 74.5)
    with pytest.raises(RunError, match="printed no times"):
        task_time.parse(SAID.splitlines()[:6])


def test_a_net_of_the_users_is_timed_by_any_stack(tmp_path: Path) -> None:
    net = tmp_path / "my net.prototxt"
    net.write_text('name: "x"\n')
    job = tasks.plan(tasks.net_alone(net, "caffe-ssd", "TEST"), "time", tmp_path / "out", gpus=1)
    job = tasks.with_iterations(job, 7)
    words = ("caffe", "time", "-model", "my net.prototxt", "-phase", "TEST", "-gpu", "0", "-iterations", "7")
    assert job.steps[0].command == words
    assert (job.subject.stack, job.rendered.files) == ("caffe-ssd", {"my net.prototxt": 'name: "x"\n'})
    spec = local.container(job, job.steps[0], "i", (), "1:1", GpuRequest())
    assert spec.name.startswith("provision-my-net-time-") and spec.labels["provision.run"] == "my-net-time"
    assert spec.rights == Rights()
    nice = structs.replace(job.subject.recipe, container=Container(("SYS_NICE",), 9))
    job = replace(job, subject=replace(job.subject, recipe=nice))
    assert local.container(job, job.steps[0], "i", (), "1:1", GpuRequest()).rights == Rights(("SYS_NICE",), 9)
    with pytest.raises(UsageError, match="cannot be read"):
        tasks.net_alone(tmp_path / "none.prototxt", "caffe", "TEST")


# the commands


def test_dry_runs_say_what_would_be_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert provision(["score", str(folder), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "iteration 20: judge snapshots/tiny_iter_20.caffemodel" in out and "tiny-1-score/000000100" in out
    assert (
        provision(["infer", str(folder), str(folder / "manifest.json"), "--snapshot", "20", "--dry-run", "--json"]) == 0
    )
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert step["command"] == ["look", "snapshots/tiny_iter_20.caffemodel", "4"]
    assert provision(["time", str(tmp_path / "recipes" / "tiny"), "--iterations", "3", "--dry-run"]) == 0
    assert "caffe time -model net.prototxt -iterations 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["infer", "FOLDER", "/nowhere"], 2, "/nowhere is not there"),
        (["infer", "FOLDER", "FOLDER", "--set", "sise=3"], 2, "size"),
        (["score", "FOLDER", "--snapshot", "7"], 13, "it has those of 20, 100"),
        (["score", "FOLDER", "--data", "s3://else/where"], 13, "--data DIR"),
        (["time", "FOLDER", "--sort", "size"], 2, "forward, backward"),
        (["time", "FOLDER", "--phase", "TEST"], 2, "for a FILE.prototxt"),
        (["time", "/nowhere.prototxt"], 2, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(
    words: list[str], code: int, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert provision([str(folder) if word == "FOLDER" else word for word in words]) == code
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err


def test_data_under_a_prefix_that_is_empty_is_named(stored: tuple[Bucket, Run], tmp_path: Path) -> None:
    bucket, run = stored
    with pytest.raises(NotFoundError, match=f"nothing under s3://{bucket.bucket}/voc/"):
        workspace._below(run.store, "voc/", tmp_path)
