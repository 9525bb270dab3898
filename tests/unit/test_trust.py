"""A manifest in S3 is held against this laptop's notes before anything is done by it; two resumes never share a run."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from infra.aws.s3 import S3
from infra.containers import ContainerSpec
from infra.errors import EngineError, NotFoundError, RunError, UsageError
from infra.shell import Result
from provision.clouds import Session
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import Weights
from provision.runs import copies, inputs, notes, trust
from provision.runs.manifest import Attempt, Manifest, RunSettings, RunState, Source, plain
from provision.runs.standing import Standing
from provision.runs.store import Run
from provision.settings import Settings
from provision.training import attempt as attempts
from provision.training import start
from tests.unit.fake_aws import CLOUD
from tests.unit.fake_s3 import NAME, OURS, FakeS3
from tests.unit.test_fetch import Bucket

OTHER = "/home/alice/set"


def manifest(data: Source | None = None, project: Source | None = None) -> Manifest:
    recipe = load("digits")
    return Manifest(
        "digits-1", "2026-01-01", recipe, render(recipe), "caffe", "caffe:1", "sha256:1", data or Source(),
        project or Source(), 0, "lab", "p3.8xlarge", "spot", "us-east-1", RunSettings(started_by="alice@thinkpad"),
    )  # fmt: skip


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def run(bucket: Bucket) -> Run:
    """A run that this laptop started."""
    made = Run(cast(S3, bucket), "digits-1")
    made.write_manifest(manifest())
    return made


def again(run: Run) -> Run:
    """The run as the next command reads it."""
    return Run(run.store, run.id)


def changed(run: Run, **parts: Any) -> Run:
    """The run after somebody with access to the bucket has changed its manifest there."""
    odd = dataclasses.replace(run.manifest, **parts)
    run.store.write_json(run.key("manifest.json"), plain(odd))
    return again(run)


def of_another_laptop(run: Run, **parts: Any) -> Run:
    notes.forget(run.store, run.id)
    return changed(run, **parts)


# the manifest


def test_a_manifest_that_this_laptop_wrote_is_believed_without_a_word(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    trust.check(again(run))
    run.use_image("caffe:2", "sha256:2")
    run.note_weights({"http://up/x": {"sha256": "a"}})
    trust.check(again(run))
    assert capsys.readouterr().err == ""


def test_a_manifest_that_somebody_changed_is_refused_with_a_mend_that_works(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = changed(run, image="evil:1")
    with pytest.raises(RunError, match="is not the one that this laptop wrote") as refused:
        trust.check(odd)
    first, second = refused.value.mend.split("; ")
    assert first == "see what it says now: provision fetch digits-1 DIR --cloud fake"
    Path(second.rpartition("rm ")[2]).unlink()  # as the mend says
    trust.check(again(odd))
    assert "started by alice@thinkpad, not on this laptop" in capsys.readouterr().err


def test_another_laptops_run_is_told_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = of_another_laptop(run)
    trust.check(theirs)
    trust.check(theirs)
    assert capsys.readouterr().err.count("alice@thinkpad") == 1


def test_a_laptop_that_was_killed_while_it_wrote_believes_what_was_there_and_what_it_wrote(run: Run) -> None:
    before = run.store.read(run.key("manifest.json"))
    notes.begin(run.store, run.id, "of what it was about to write", ())
    trust.check(again(run))
    run.use_image("caffe:2", "sha256:2")
    run.store.write(run.key("manifest.json"), before or b"")
    with pytest.raises(RunError, match="this laptop wrote"):  # that was long ago
        trust.check(again(run))


def test_the_notes_of_accounts_clouds_and_regions_are_apart(run: Run) -> None:
    place = notes.path(run.store, run.id)
    assert place.parts[-5:] == ("runs", "fake", OURS, "us-east-1", "digits-1.json")
    assert place.stat().st_mode & 0o777 == 0o600
    place.write_text("{ half")
    assert notes.read(run.store, run.id) is None


@pytest.mark.parametrize("name", ["../../../../home/provision/.ssh/authorized_keys", "/etc/x", "a/../../b", "x\0y", ""])
def test_no_rendered_file_leads_out_of_the_runs_folder_on_the_host(run: Run, name: str) -> None:
    files = {**run.manifest.rendered.files, name: "evil"}
    with pytest.raises(RunError, match="outside of the run's folder"):
        trust.check(of_another_laptop(run, rendered=msgspec.structs.replace(run.manifest.rendered, files=files)))


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ""])
def test_no_file_of_weights_leads_out_of_its_folder(run: Run, name: str) -> None:
    rendered = msgspec.structs.replace(
        run.manifest.rendered, weights=(Weights(file=name, url="http://x", licence="-"),)
    )
    with pytest.raises(RunError, match="weights outside"):
        trust.check(of_another_laptop(run, rendered=rendered))


@pytest.mark.parametrize(
    "source",
    [
        Source("folder", OTHER, "/etc"),
        Source("folder", OTHER, "/data/sets/../../etc"),
        Source("folder", OTHER, "/data/sets/.."),
        Source("folder", OTHER, ""),
        Source("prepared", "../../.aws", "/data/sets/digits"),
        Source("nfs", "server:/x", "/data/sets/x"),
        Source("s3", "s3://*/", "/data/sets/x"),
        Source("s3", "s3://lab/a*", "/data/sets/x"),
        Source("folder", "/x", "/data/sets/x", copy="../../digits-2/inputs/data"),
        Source("folder", "/x", "/data/sets/x", copy="data-1"),
    ],
)
@pytest.mark.parametrize("kind", ["data", "project"])
def test_data_and_code_that_no_laptop_of_ours_writes_down_are_refused(run: Run, source: Source, kind: str) -> None:
    with pytest.raises((RunError, UsageError)):
        trust.check(of_another_laptop(run, **{kind: source}))


def test_what_we_write_down_is_never_odd(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a name with spaces ü").mkdir()
    sources = [
        inputs.data_source("digits", None), inputs.data_source("", "s3://lab/voc"),
        inputs.data_source("", str(tmp_path / "a name with spaces ü")), Source(),
    ]  # fmt: skip
    for source in sources:
        trust.refuse_odd(dataclasses.replace(run.manifest, data=source, project=source), run.id)


def test_a_manifest_of_another_run_is_refused(run: Run) -> None:
    with pytest.raises(RunError, match="is that of 'digits-2'"):
        trust.check(of_another_laptop(run, id="digits-2"))


# folders of this laptop


class Host:
    """Notes every command; sha256sum runs here, as it would there."""

    where = "lab"

    def __init__(self, folder: Path | None = None) -> None:
        self.said: list[list[str]] = []
        self.fed = b""
        self.folder = folder

    def run(self, words: Sequence[str], stdin: bytes | None = None, **_: Any) -> Result:
        self.said.append(list(words))
        self.fed = stdin or self.fed
        return Result(0, "", "")

    def pulled(self) -> list[str]:
        return [words[-2] for words in self.said if "pull" in words]


def place(run: Run, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Host]:
    """What is sent to the host from which folder of this laptop, and the host."""
    sent: list[str] = []
    monkeypatch.setattr(
        inputs.to_host,
        "sync",
        lambda shell, folder, *_, **__: sent.append(str(folder)) or SimpleNamespace(files=1, bytes=1),
    )
    host = Host()
    inputs.place(cast(Any, host), run, lambda _: None)
    return sent, host


@pytest.mark.parametrize("kind", ["data", "project"])
def test_no_folder_is_sent_that_only_a_manifest_names(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """~/.aws went to the machine at the next `resume`."""
    (tmp_path / "credentials").write_text("secret")
    theirs = of_another_laptop(run, **{kind: Source("folder", str(tmp_path), "/data/sets/x")})
    trust.check(theirs)
    with pytest.raises(RunError, match="was not given on this laptop") as refused:
        place(theirs, monkeypatch)
    assert refused.value.mend == f"give its folder: --{kind} DIR"
    with pytest.raises(RunError):  # before a machine is rented
        inputs.give(theirs, None, None)
    inputs.give(theirs, **{"data": None, "project": None, kind: str(tmp_path)})
    sent, _ = place(theirs, monkeypatch)
    assert sent == [str(tmp_path)]
    inputs.settle(theirs)
    assert place(again(theirs), monkeypatch)[0] == sent


def test_who_gives_a_folder_and_comes_too_late_has_changed_nothing(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other laptop's manifest stays another laptop's, and is followed as such."""
    theirs = of_another_laptop(run, project=Source("folder", OTHER, "/data/sets/x"))
    before = theirs.store.read(theirs.key("manifest.json"))
    inputs.give(theirs, None, str(tmp_path))
    later = again(theirs)
    assert later.store.read(later.key("manifest.json")) == before
    trust.check(later)
    assert "not on this laptop" in capsys.readouterr().err


def test_code_that_is_given_does_not_make_the_data_of_the_manifest_ours(run: Run, tmp_path: Path) -> None:
    theirs = of_another_laptop(run, data=Source("folder", "/home/me/.aws", "/data/sets/x"))
    with pytest.raises(RunError, match="the data of digits-1"):
        inputs.give(theirs, None, str(tmp_path))
    assert trust.folders(theirs) == (str(tmp_path),)


def test_a_folder_that_was_given_here_is_sent_by_a_later_resume(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = inputs.data_source("", str(tmp_path))
    run.write_manifest(manifest(data=source), inputs.folders_of(source))
    run.use_image("caffe:2", "sha256:2")
    sent, _ = place(again(run), monkeypatch)
    assert sent == [str(tmp_path)]


def test_other_data_take_the_place_of_the_old_copy(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    copy(run, "data", {"a": b"old"})
    copy(run, "project", {"b": b"code"})
    run = changed(run, project=Source("folder", OTHER, "/data/sets/x"))
    inputs.give(run, str(tmp_path), None)
    assert run.key("inputs", "data", "a") in bucket.held  # as long as somebody else may go on with it
    inputs.settle(run)
    assert [key for key in bucket.held if "/inputs/" in key] == [
        run.key("inputs", "project", "b"), run.key("inputs", "project.json"),
    ]  # fmt: skip
    assert again(run).manifest.data.value == str(tmp_path)


def test_data_that_are_given_by_a_prefix_are_read_from_the_own_account_alone_where_they_are_there(run: Run) -> None:
    aws = FakeS3()
    aws.owners["lab"], aws.owners["theirs"] = OURS, "999999999999"
    for name, owner in (("lab", OURS), ("theirs", "")):
        assert inputs.owned(CLOUD, Source("s3", f"s3://{name}/voc/", "/data/sets/x"), OURS).owner == owner
    source = Source("folder", OTHER, "/data/sets/x")
    assert inputs.owned(CLOUD, source, OURS) == source


# copies in S3


def copy(run: Run, kind: str, files: dict[str, bytes]) -> None:
    rows = []
    for path, data in files.items():
        run.store.write(run.key("inputs", kind, path), data)
        rows.append({"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "name": path})
    run.store.write_json(run.key("inputs", f"{kind}.json"), rows)


def test_a_copy_of_which_files_have_expired_is_not_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = of_another_laptop(run, data=Source("folder", OTHER, "/data/sets/x"))
    copy(theirs, "data", {"a.jpg": b"1", "b.jpg": b"2"})
    _, host = place(theirs, monkeypatch)
    assert host.pulled() == [run.key("inputs", "data/")]
    run.store.delete([run.key("inputs", "data", "a.jpg")])
    with pytest.raises(RunError, match="is not all in S3"):
        place(theirs, monkeypatch)


@pytest.mark.parametrize("index", [b"{", b"7", b'[{"path": 7}]', b"null"])
def test_a_list_of_a_copy_that_says_nothing_is_no_copy(run: Run, index: bytes) -> None:
    run.store.write(run.key("inputs", "data.json"), index)
    assert copies.whole(run, "data") is None


def test_a_copy_without_files_is_whole(run: Run) -> None:
    copy(run, "project", {})
    assert copies.whole(run, "project") == ()
    copies.check(cast(Any, Host()), run, "project", (), "/data/sets/x")


def test_what_was_pulled_is_held_against_its_sums_whatever_its_names(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(run, "data", {"a b.jpg": b"1", "new\nline": b"2", "back\\slash": b"3"})
    theirs = changed(run, data=Source("folder", OTHER, "/data/sets/x"))
    _, host = place(theirs, monkeypatch)
    lines = host.fed.decode().splitlines()
    sums = [hashlib.sha256(data).hexdigest() for data in (b"1", b"2", b"3")]
    assert lines == [f"{sums[0]}  a b.jpg", f"\\{sums[1]}  new\\nline", f"\\{sums[2]}  back\\\\slash"]


def test_a_copy_whose_content_is_another_is_refused(run: Run) -> None:
    class Differs(Host):
        def run(self, words: Sequence[str], **_: Any) -> Result:
            return Result(1, "a.jpg: FAILED\n", "sha256sum: WARNING: 1 computed checksum did NOT match")

    index = [copies.Copied("a.jpg", 1, "0" * 64)]
    with pytest.raises(RunError, match=r"the data of digits-1 in S3 is damaged: a\.jpg: FAILED"):
        copies.check(cast(Any, Differs()), run, "data", index, "/data/sets/x")


# attempts


def attempt(number: int, **more: Any) -> Attempt:
    given = {"made_by": "bob@desk 0a1b2c3d", **more}
    return Attempt(number, f"i-{number}", "lab", "us-east-1a", "2026-11-29T10:00:00+00:00", **given)


def test_a_number_is_never_taken_twice_though_older_ones_are_gone(run: Run) -> None:
    assert run.next_number() == 1
    for number in (1, 2, 1000):
        run.add_attempt(attempt(number))
    run.store.delete([run.key("attempts", "001.json")])
    run.store.write(run.key("attempts", "notes.txt"), b"the user's own")
    assert run.next_number() == 1001
    assert [one.number for one in run.attempts()] == [2, 1000]


def test_of_two_who_begin_at_once_the_slower_one_hears_who_has_it(run: Run) -> None:
    first, second = attempt(1), attempt(1, made_by="alice@thinkpad ffffffff")
    run.add_attempt(first)
    run.add_attempt(first)  # its answer was lost on the way
    with pytest.raises(RunError) as refused:
        run.add_attempt(second)
    assert refused.value.what == (
        "digits-1 goes on already: attempt 1 began at 2026-11-29T10:00:00+00:00 on lab (i-1), by bob@desk"
    )
    assert refused.value.mend == "follow it: provision logs digits-1 -f --cloud fake"
    assert run.attempts() == [first]


class Beginning:
    """`begin` without a machine: what it hands over, and how the run stands when it looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run: Run, container: bool = True) -> None:
        self.turns: list[attempts.Turn] = []
        self.now = Standing()
        self.session = Session(CLOUD, Settings())
        self._run = run
        monkeypatch.setattr(start.standing, "look", lambda *_: self.now)
        self.container = container
        self.give_way: Callable[[], object] = lambda: None
        monkeypatch.setattr(start, "never_began", lambda *_: not self.container)
        monkeypatch.setattr(start, "_image_on_host", lambda *_: None)
        monkeypatch.setattr(start.attempt, "start", self._start)

    def begin(self, at: int | None = None) -> attempts.Turn:
        start.begin(self.session, again(self._run), cast(Any, None), at)
        return self.turns[-1]

    def _start(self, cloud: object, run: Run, at: object, turn: attempts.Turn, say: object, give_way: Any) -> None:
        self.turns.append(turn)
        self.give_way = give_way


def test_a_run_that_goes_on_is_not_begun_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    beginning = Beginning(monkeypatch, run)
    for state in (RunState("running", 1), RunState("interrupted", 0)):
        beginning.now = Standing(state, [attempt(1)])
        with pytest.raises(RunError, match=r"on lab \(i-1\), by bob@desk"):
            beginning.begin()
    assert beginning.turns == []


def test_an_attempt_that_got_no_container_is_followed_by_the_next(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.add_attempt(attempt(1))
    beginning = Beginning(monkeypatch, run, container=False)
    beginning.now = Standing(RunState(), [attempt(1)])
    assert beginning.begin().number == 2
    beginning.give_way()  # it still has none
    beginning.container = True
    with pytest.raises(RunError, match="goes on already: attempt 1 began"):
        beginning.give_way()


@pytest.mark.parametrize("started", [False, True])
def test_a_container_that_was_made_and_never_started_is_none(
    run: Run, monkeypatch: pytest.MonkeyPatch, started: bool
) -> None:
    asked: list[str] = []

    class Engine:
        def remove_unstarted(self, name: str) -> bool:
            asked.append(name)
            return not started

    monkeypatch.setattr(start.login, "shell", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(start, "open_remote", lambda _: contextlib.nullcontext(Engine()))
    now = Standing(RunState(), [attempt(1)], machine=cast(Any, "lab"))
    assert start.never_began(Session(CLOUD, Settings()), run, now) == (not started)
    assert asked == ["provision-digits-1-001"]


@pytest.mark.parametrize("when", ["before it is made", "before it starts", "at its start"])
def test_who_went_on_with_a_run_keeps_an_older_attempt_from_starting(run: Run, when: str) -> None:
    """Another client took attempt 1 for one that never began, wrote attempt 2, and removed what had not started."""
    first, steps = attempt(1), []
    run.add_attempt(first)

    class Engine:
        def run(self, spec: ContainerSpec, before_start: Callable[[], None]) -> str:
            steps.append("made")
            if when == "before it starts":
                run.add_attempt(attempt(2))
            before_start()
            if when == "at its start":
                run.add_attempt(attempt(2))
                raise EngineError("no such container", "look at it")
            steps.append("started")
            return spec.name

    if when == "before it is made":
        run.add_attempt(attempt(2))
    stage = cast(Any, SimpleNamespace(run=run, engine=Engine()))
    with pytest.raises(RunError, match="goes on already: attempt 2 began"):
        attempts._begin(stage, first, ContainerSpec("provision-digits-1-001", "caffe", ("train",), "1:2"))
    assert steps == ([] if when == "before it is made" else ["made"])


def test_two_who_looked_at_the_same_time_take_the_same_number(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them prepares its machine for minutes: what it then writes must not be attempt 3."""
    run.add_attempt(attempt(1))
    beginning = Beginning(monkeypatch, run)
    beginning.now = Standing(RunState("interrupted", 1), [attempt(1)])
    slow = beginning.begin()
    fast = beginning.begin()
    run.add_attempt(attempt(fast.number))
    with pytest.raises(RunError, match="attempt 2 began"):
        run.add_attempt(attempt(slow.number, made_by="x@y 1"))


def test_nothing_begins_by_a_manifest_that_somebody_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    beginning = Beginning(monkeypatch, run)
    changed(run, image="evil:1")
    with pytest.raises(RunError, match="this laptop wrote"):
        beginning.begin()
    assert beginning.turns == []


def snapshot(run: Run, iteration: int, number: int) -> None:
    paths = [f"snapshots/digits_iter_{iteration}.{part}" for part in ("caffemodel", "solverstate")]
    below = run.key("snapshots", f"{iteration:09d}-{number:03d}") + "/"
    for path in paths:
        run.store.write(below + path.rpartition("/")[2], b"x")
    rows = [{"path": path, "size": 1, "sha256": "x"} for path in paths]
    run.store.write_json(below + "complete.json", {"files": rows})


def test_from_chooses_the_snapshot(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for iteration, number in ((100, 1), (200, 1), (300, 1)):
        snapshot(run, iteration, number)
    beginning = Beginning(monkeypatch, run)
    newest = beginning.begin()
    assert ([one.iteration for one in newest.snapshots], newest.chosen) == ([100, 200, 300], False)
    chosen = beginning.begin(200)
    assert ([one.iteration for one in chosen.snapshots], chosen.chosen) == ([200], True)
    assert not beginning.begin(300).chosen
    assert beginning.begin(0) == attempts.Turn(1, (), chosen=True)
    with pytest.raises(NotFoundError, match="no whole snapshot of iteration 250") as refused:
        beginning.begin(250)
    assert refused.value.mend == "it has those of 100, 200, 300; --from 0 starts from nothing"


def test_from_finds_what_was_left_behind_and_prefers_what_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for iteration, number in ((100, 1), (200, 1), (200, 2), (300, 1)):
        snapshot(run, iteration, number)
    run.add_attempt(attempt(2, resumed_from=100, chosen=True))
    beginning = Beginning(monkeypatch, run)
    assert [(one.iteration, one.attempt) for one in beginning.begin().snapshots] == [(100, 1), (200, 2)]
    assert [one.attempt for one in beginning.begin(200).snapshots] == [2]
    assert [one.iteration for one in beginning.begin(300).snapshots] == [300]


def test_a_run_in_the_real_bucket_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through botocore: the conditional write, and the sum of the very bytes that S3 has."""
    aws = FakeS3()
    run = Run(S3(aws.cloud, NAME, OURS), "digits-1")
    run.write_manifest(manifest())
    run.add_attempt(attempt(run.next_number()))
    [put] = [words for words in aws.of("PutObject") if "/attempts/" in words["Key"]]
    assert (put["IfNoneMatch"], put["ExpectedBucketOwner"]) == ("*", OURS)
    trust.check(again(run))
    kept = aws.held[run.key("manifest.json")][0]
    assert notes.read(run.store, run.id) == notes.Note((hashlib.sha256(kept).hexdigest(),))
    assert json.loads(kept)["id"] == "digits-1"
