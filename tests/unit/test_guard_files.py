"""What a container can do to its own folder, and what the guard makes of it: no file of another is read, written or
removed, and nothing that lies there keeps the guard from saving."""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.host.guard import copying, files, imds, notes, s3, saving, snapshots, watch
from infra.host.guard import run as runs
from tests.unit.test_guard import (
    CRASHED,
    ENDED,
    PARTS,
    PATTERN,
    RUNNING,
    FakeBucket,
    FakeDocker,
    again,
    fake_s3,
    match,
    run_with,
    write_snapshot,
)  # fmt: skip

SECRET = b"root:$6$secret"


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(notes, "RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(notes, "GUARD", str(tmp_path / "guard"))
    monkeypatch.setattr(snapshots, "REST", 0)
    monkeypatch.setattr(watch, "STATE", str(tmp_path / "state"))
    monkeypatch.setattr(watch, "TERMINALS", str(tmp_path / "pts/*"))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The run's folder, as the container has it."""
    folder = tmp_path / "runs" / "r"
    (folder / "snapshots").mkdir(parents=True)
    return folder


@pytest.fixture
def shadow(tmp_path: Path) -> Path:
    """A file of root's outside."""
    path = tmp_path / "shadow"
    path.write_bytes(SECRET)
    return path


def sent(run: runs.Run) -> bytes:
    return b"".join(data for _, data in run.bucket.puts)


# what the guard believes


def test_a_plan_or_a_note_in_the_containers_folder_is_no_word_to_the_guard(work: Path, shadow: Path) -> None:
    run = run_with(work, "one\n")
    run.turn()
    for name in ("run.json", "plan.json"):
        (work / name).write_text(json.dumps({"bucket": "evil", "endpoint": "http://evil", "prefix": "evil/"}))
    for name in (".guard-001.json.part", "note-001.json.part", "note-001.json"):
        (work / name).symlink_to(shadow)
    (work / "stop-requested").touch()
    (work / "stop").touch()
    write_snapshot(work, 400)
    after = again(work, FakeDocker(c=ENDED), run.bucket)
    after.turn()
    assert {key.split("/")[0] for key, _ in run.bucket.puts} == {"runs"}
    assert run.bucket.snapshots() == [400]
    assert run.bucket.states()[-1]["state"] == "finished"  # nobody asked for a stop
    assert shadow.read_bytes() == SECRET


def test_the_guards_folder_is_roots_alone(work: Path, tmp_path: Path) -> None:
    run_with(work, "").turn()
    assert stat.S_IMODE((tmp_path / "guard").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "guard" / "r").iterdir()) == ["note-001.json", "plan.json"]


@pytest.mark.parametrize("name", ["..", "../r", "a/b", "", ".hidden", "r\n"])
def test_a_run_is_named_by_a_name(name: str) -> None:
    for ask in (lambda: notes.plan(name, {"snapshots": None}, match), lambda: notes.stop(name)):
        with pytest.raises(ValueError, match="is no run"):
            ask()


def test_a_plan_is_taken_whole_or_not_at_all(work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_with(work, "")
    before = (tmp_path / "guard/r/plan.json").read_bytes()
    torn = tmp_path / "torn"
    torn.write_text('{"id": "r", "snap')
    with torn.open() as given, pytest.raises(SystemExit) as end:
        monkeypatch.setattr("sys.stdin", given)
        notes.verb("plan", "r")
    assert str(end.value.code).startswith("plan r: ")
    assert (tmp_path / "guard/r/plan.json").read_bytes() == before


def test_a_stop_that_was_asked_of_one_attempt_is_none_of_the_next(work: Path) -> None:
    run = run_with(work, "")
    notes.stop("r")
    assert run.ended_state("exited", 0) == "stopped"
    notes.plan("r", run.plan, match)
    assert run.ended_state("exited", 0) == "finished"
    with pytest.raises(OSError, match="nobody"):
        notes.stop("nobody")


# files that are none


def odd_log(work: Path, shadow: Path, kind: str) -> Path:
    """The log's place is taken by something else."""
    log = work / "log" / "attempt-001.txt"
    log.unlink()
    make_odd(log, shadow, kind)
    return log


def make_odd(path: Path, shadow: Path, kind: str) -> None:
    if kind == "link":
        path.symlink_to(shadow)
    elif kind == "dangling":
        path.symlink_to("gone")
    elif kind == "hard link":
        path.hardlink_to(shadow)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()


KINDS = ["link", "dangling", "hard link", "fifo", "folder"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_file_is_not_read_and_keeps_nothing_from_being_saved(work: Path, shadow: Path, kind: str) -> None:
    run = run_with(work, "", FakeDocker(c=RUNNING), outputs=["*.txt"])
    odd_log(work, shadow, kind)
    for part in PARTS:
        make_odd(work / "snapshots" / f"digits_iter_5.{part}", shadow, kind)
    make_odd(work / "odd.txt", shadow, kind)
    (work / "good.txt").write_text("good")
    write_snapshot(work, 10)
    run.turn()
    assert run.bucket.snapshots() == [10]
    run.words.status["c"] = ENDED
    run.turn()
    assert run.bucket.states()[-1]["state"] == "finished"
    assert "runs/r/outputs/good.txt" in [key for key, _ in run.bucket.puts]
    assert run.bucket.states()[-1].get("outputs_failed", ["odd.txt"]) == ["odd.txt"]
    assert SECRET not in sent(run)


def test_a_file_of_another_user_is_not_read(work: Path) -> None:
    (work / "a").write_bytes(b"x")
    with files.opened(str(work), "a", os.getuid()) as fd:
        assert os.pread(fd, 9, 0) == b"x"
    with pytest.raises(OSError, match="no plain file"), files.opened(str(work), "a", os.getuid() + 1):
        pass


@pytest.mark.parametrize("path", ["up/../../shadow", "../shadow", "/shadow", "a//b", "./a"])
def test_a_path_stays_in_its_folder(work: Path, shadow: Path, path: str) -> None:
    (work / "up").mkdir()
    (work / "a").mkdir()
    for ask in (files.opened(str(work), path, os.getuid()), files.written(str(work), path)):
        with pytest.raises(OSError, match="leads out"), ask:
            pass


def test_a_folder_that_is_a_link_is_not_entered(work: Path, tmp_path: Path) -> None:
    run = run_with(work, "")
    outside = tmp_path / "home"
    (outside / "snapshots").mkdir(parents=True)
    write_snapshot(outside, 400)
    (work / "snapshots").rmdir()
    (work / "snapshots").symlink_to(outside / "snapshots")
    run.turn()
    assert run.bucket.snapshots() == []
    (work / "snapshots").unlink()
    write_snapshot(work, 800)
    run.turn()
    assert run.bucket.snapshots() == [800]


def test_what_is_old_is_removed_through_no_link(work: Path, tmp_path: Path) -> None:
    """The folder is swapped between the look and the removal."""
    run = run_with(work, "", snapshots={"pattern": PATTERN, "parts": PARTS, "keep": 1})
    write_snapshot(work, 400)
    run.turn()
    other = tmp_path / "other"
    other.mkdir()
    mine = write_snapshot(other, 400)
    found = run.finder.find

    def swapped(now: bool = False) -> object:
        answer = found(now)
        if not (work / "moved").exists():
            (work / "snapshots").rename(work / "moved")
            (work / "snapshots").symlink_to(other / "snapshots")
        return answer

    run.finder.find = swapped
    run.bucket.puts.append(("runs/r/snapshots/000000800-001/complete.json", b"{}"))
    saving.rotate(run, 1)
    assert all(path.exists() for path in mine)


def test_names_that_s3_or_a_list_cannot_have_are_left_out(work: Path) -> None:
    for name in ("a\nb.txt", "\x1b[2J.txt", os.fsdecode(b"\xff.txt"), "a/" * 300 + "x", "n" * 600):
        assert not files.decent(name), name
    assert files.decent("Übung 1.txt")
    run = run_with(work, "", FakeDocker(c=ENDED), outputs=["*.txt"])
    (work / "a\nb.txt").touch()
    (work / "good.txt").touch()
    run.turn()
    assert [key for key, _ in run.bucket.puts if "outputs" in key] == ["runs/r/outputs/good.txt"]
    assert run.bucket.states()[-1]["state"] == "finished"


def test_a_log_without_end_has_an_end_in_s3(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PIECE", 4)
    monkeypatch.setattr(runs, "LOG_MOST", 10)
    run = run_with(work, "0123456789abcdef", FakeDocker(c=ENDED))
    run.turn()
    assert b"".join(data for key, data in run.bucket.puts if "/log/" in key) == b"0123456789"
    assert run.bucket.states()[-1]["state"] == "finished"


def test_of_outputs_so_many_are_taken_and_the_rest_is_said(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "OUTPUTS", 2)
    run = run_with(work, "", FakeDocker(c=ENDED), outputs=["*.txt"])
    for number in range(5):
        (work / f"{number}.txt").touch()
    run.turn()
    assert len([key for key, _ in run.bucket.puts if "outputs" in key]) == 2
    assert run.bucket.states()[-1]["outputs_failed"] == ["and 3 more"]


def test_of_very_many_snapshots_the_newest_come_first(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "SETS", 2)
    run = run_with(work, "")
    for at in (1, 2, 3, 4, 5):
        write_snapshot(work, at)
    for whole in ([4, 5], [2, 3, 4, 5], [1, 2, 3, 4, 5]):
        run.push_snapshots()
        assert sorted(run.bucket.snapshots()) == whole


@pytest.mark.parametrize("tells", [True, False])
def test_a_snapshot_that_is_open_to_write_is_not_taken_for_whole(
    work: Path, monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    if not tells:  # a file system that knows no leases
        monkeypatch.setattr(saving, "written_now", lambda fd: None)
    run = run_with(work, "")
    last = write_snapshot(work, 400)[-1]
    with last.open("ab"):
        run.push_snapshots()
        assert run.bucket.snapshots() == []
    with last.open("rb") as data:
        assert files.written_now(data.fileno()) is False
    run.push_snapshots()
    assert run.bucket.snapshots() == [400]


# where and how it looks


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        (PATTERN, "snapshots/"),
        (r"train/[^/]+/[^/]+/model_iter(?P<iteration>\d+)\.(?P<part>pkl)", "train/"),
        (r"a b/c\.d/x(\d+)", "a b/c.d/"),
        (r"a/b?/x", "a/"),
        (r"a/?b", ""),
        (r"(a/x|b/x)", ""),
        (r"a/(x)|b/y", ""),
        (r"a/[|)]x", "a/"),
        (r"a/(x|y(z|w))", "a/"),
        (r".+/x", ""),
    ],
)
def test_only_the_folder_that_can_have_one_is_looked_at(pattern: str, folder: str) -> None:
    assert snapshots.literal_folder(pattern) == folder


def test_a_folder_is_listed_again_only_when_it_has_changed(work: Path) -> None:
    (work / "snapshots" / "a").touch()
    (work / "big").mkdir()
    tree = files.Tree(str(work))
    os.utime(work / "snapshots", (0, 0))
    assert sorted(tree.files()) == ["snapshots/a"]
    known = tree.known["snapshots/"]
    assert tree.files() == ["snapshots/a"]
    assert tree.known["snapshots/"] is known
    (work / "snapshots" / "b").touch()
    assert sorted(tree.files()) == ["snapshots/a", "snapshots/b"]


def test_a_huge_tree_is_looked_at_from_the_top_down_and_not_to_its_end(work: Path) -> None:
    (work / "top").touch()
    for number in range(30):
        (work / "deep" / str(number)).mkdir(parents=True)
        (work / "deep" / str(number) / "x").touch()
    found = files.Tree(str(work), many=10).files()
    assert "top" in found
    assert len(found) < 12


def test_folders_in_folders_without_end_are_not_followed(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work)
    for _ in range(200):
        Path("deeper").mkdir()
        os.chdir("deeper")
    Path("x").touch()
    os.chdir(work)
    tree = files.Tree(str(work))
    assert tree.files() == []
    assert len(tree.known) < 100


def test_looking_takes_a_tenth_of_the_time_unless_time_is_short(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "REST", 1e9)
    finder = snapshots.Finder(str(work), PATTERN, match)
    assert finder.find() == {}
    write_snapshot(work, 400)
    assert finder.find() == {}
    assert len(finder.find(now=True)) == 2


@pytest.fixture
def alarm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGVTALRM)
    yield
    signal.signal(signal.SIGVTALRM, before)


@pytest.mark.usefixtures("alarm")
def test_a_path_on_which_the_pattern_backtracks_for_ever_does_not_fit_and_the_next_is_tried() -> None:
    names = ["a" * 60, "aab7", "b.c", "aax"]
    assert list(snapshots.fitting(r"(a+)+b(?P<iteration>\d+|x)", names)) == [["aab7", 7, None]]
    assert list(snapshots.fitting(r"(?P<part>a+)x", names)) == [["aax", 0, "aa"]]
    assert list(snapshots.fitting(r"(?P<iteration>.+)c", names)) == []  # no number


def test_a_process_that_takes_too_long_is_ended_and_what_it_has_said_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(words: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(words, timeout, output=b'["a", 1, null]\n["b')

    monkeypatch.setattr(subprocess, "run", slow)
    assert snapshots.apart("x", ["a", "b"]) == ({"a": [1, None]}, False)


def test_what_was_not_tried_is_tried_again(work: Path) -> None:
    write_snapshot(work, 400)
    answers = [({}, False), match(PATTERN, [f"snapshots/digits_iter_400.{part}" for part in PARTS])]
    finder = snapshots.Finder(str(work), PATTERN, lambda pattern, paths: answers.pop(0))
    assert finder.find() == {}
    assert len(finder.find()) == 2
    assert len(finder.find()) == 2  # and is not asked for once more


@pytest.mark.parametrize(
    ("form", "path", "fits"),
    [
        ("*.prototxt", "net.prototxt", True),
        ("*.prototxt", "a/net.prototxt", False),
        ("*.prototxt", ".prototxt", False),
        ("train/*/*/model_final.pkl", "train/a/b/model_final.pkl", True),
        ("train/*/*/model_final.pkl", "train/a/b/modelxfinal.pkl", False),
        ("test/*/*/*proposals.pkl", "test/a/b/rpn_proposals.pkl", True),
        ("**/x.txt", "x.txt", True),
        ("**/x.txt", "a/b/x.txt", True),
        ("a/**", "a/b/c", True),
        ("[!a]?.txt", "bc.txt", True),
        ("[!a]?.txt", "ac.txt", False),
    ],
)
def test_outputs_are_named_as_in_a_shell(form: str, path: str, fits: bool) -> None:
    assert bool(match(snapshots.as_pattern(form), [path])[0]) == fits


# copies


def test_a_copy_from_s3_goes_through_no_link(work: Path, shadow: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (work / "a").symlink_to(shadow)
    (work / "b.part").symlink_to(shadow)
    copying.pull(fake_s3(**{"s/a": b"1", "s/b": b"2"}), "s/", str(work))
    assert (work / "a").read_bytes() == b"1"
    assert not (work / "a").is_symlink()
    assert (work / "b").read_bytes() == b"2"
    for key in ("s/snapshots/authorized_keys", "s/authorized_keys"):
        shutil.rmtree(work / "snapshots")
        (work / "snapshots").symlink_to(home)
        folder = work if key.count("/") == 2 else work / "snapshots"
        copying.pull(fake_s3(**{key: b"evil"}), "s/", str(folder))
        assert (work / "snapshots" / "authorized_keys").read_bytes() == b"evil"
    assert list(home.iterdir()) == []
    assert shadow.read_bytes() == SECRET


def test_a_copy_to_s3_takes_a_link_for_what_it_leads_to_within_the_folder(work: Path, shadow: Path) -> None:
    (work / "snapshots" / "a").write_bytes(b"1")
    (work / "in").symlink_to("snapshots/a")
    (work / "out").symlink_to(shadow)
    (work / "gone").symlink_to("nowhere")
    os.mkfifo(work / "fifo")
    place = fake_s3()
    assert copying.push(place, "x/", str(work)) == 2
    assert {key: data for key, data in place.objects.items() if key != "x.json"} == {
        "x/in": b"1",
        "x/snapshots/a": b"1",
    }


def test_a_copy_from_s3_that_lacks_a_file_is_none(work: Path) -> None:
    mark = json.dumps({"files": [{"name": "x", "sha256": "0" * 64}]}).encode()
    with pytest.raises(ValueError, match=r"^s/x is missing$"):
        copying.pull(fake_s3(**{"s/complete.json": mark}), "s/", str(work))
    (work / "in").mkdir()
    (work / "in" / "a").write_bytes(b"1")
    (work / "in" / "b").write_bytes(b"2")
    place = fake_s3()
    copying.push(place, "runs/r/inputs/data/", str(work / "in"))
    assert copying.pull(place, "runs/r/inputs/data/", str(work / "out")) == 2
    place.objects["runs/r/inputs/data/a"] = b"9"
    with pytest.raises(ValueError, match=r"inputs/data/a is damaged"):
        copying.pull(place, "runs/r/inputs/data/", str(work / "again"))
    del place.objects["runs/r/inputs/data/b"]
    with pytest.raises(ValueError, match=r"inputs/data/b is missing"):
        copying.pull(place, "runs/r/inputs/data/", str(work / "again"))


def test_of_a_copy_that_was_ordered_by_its_sum_nothing_else_is_taken(work: Path) -> None:
    """Another machine of the run may write into its inputs."""
    (work / "in").mkdir()
    (work / "in" / "a").write_bytes(b"1")
    place = fake_s3()
    copying.push(place, "runs/r/inputs/project-1/", str(work / "in"))
    index = place.objects["runs/r/inputs/project-1.json"]
    digest = hashlib.sha256(index).hexdigest()
    place.objects["runs/r/inputs/project-1/planted.py"] = b"evil"
    assert copying.pull(place, "runs/r/inputs/project-1/", str(work / "out"), digest) == 1
    assert [path.name for path in (work / "out").iterdir()] == ["a"]
    place.objects["runs/r/inputs/project-1/a"] = b"2"
    with pytest.raises(ValueError, match=r"project-1/a is damaged"):
        copying.pull(place, "runs/r/inputs/project-1/", str(work / "again"), digest)
    other = hashlib.sha256(b"2").hexdigest()
    place.objects["runs/r/inputs/project-1.json"] = json.dumps([{"path": "a", "sha256": other}]).encode()
    with pytest.raises(ValueError, match=r"project-1.json is damaged: it is not the one that was ordered"):
        copying.pull(place, "runs/r/inputs/project-1/", str(work / "again"), digest)


def test_a_file_whose_name_is_not_said_has_that_of_its_path(work: Path) -> None:
    files = [{"path": "snapshots/x", "size": 1, "sha256": hashlib.sha256(b"1").hexdigest()}]
    place = fake_s3(**{"s/complete.json": json.dumps({"files": files}).encode(), "s/x": b"1"})
    assert copying.pull(place, "s/", str(work / "out")) == 2
    place.objects["s/x"] = b"2"
    with pytest.raises(ValueError, match=r"^s/x is damaged"):
        copying.pull(place, "s/", str(work / "again"))


@pytest.mark.parametrize(
    "odd",
    [
        b"", b"{", b"\xff", b"null", b"{}", b'{"files": 1}', b'{"files": ["x"]}', b'{"files": [{"name": "x"}]}',
        b'{"files": [{"sha256": "0"}]}', b'{"files": [{"name": 1, "sha256": "0"}]}',
    ],
)  # fmt: skip
def test_an_odd_mark_is_a_damaged_snapshot(work: Path, odd: bytes) -> None:
    with pytest.raises(ValueError, match=r"^s/complete.json is damaged"):
        copying.pull(fake_s3(**{"s/complete.json": odd, "s/x": b"1"}), "s/", str(work))


def test_a_file_without_a_sum_is_not_taken(work: Path) -> None:
    mark = b'{"files": [{"path": "x", "sha256": null}]}'
    with pytest.raises(ValueError, match=r"^s/x is damaged"):
        copying.pull(fake_s3(**{"s/complete.json": mark, "s/x": b"1"}), "s/", str(work))


LEFT = ["link", "dangling", "hard link", "fifo", "folder", "closed"]


def leave(path: Path, outside: Path, kind: str) -> None:
    """What an earlier attempt left where something of the next one has to be."""
    if kind in ("folder", "closed"):
        (path / "deep" / "er").mkdir(parents=True)
        path.chmod(0 if kind == "closed" else 0o755)
    elif kind == "link":
        path.symlink_to(outside.parent / "theirs")
        (outside.parent / "theirs").mkdir(exist_ok=True)
    else:
        make_odd(path, outside, kind)


@pytest.mark.parametrize("kind", LEFT)
def test_nothing_that_a_training_left_keeps_the_next_attempt_from_its_start(
    work: Path, shadow: Path, kind: str
) -> None:
    (work / "snapshots").rmdir()
    for name in ("snapshots", "solver.prototxt", "solver.prototxt.part", "deep"):
        leave(work / name, shadow, kind)
    for _ in range(2):
        notes.place("r", {"log/": "", "snapshots/": "", "solver.prototxt": "lr: 1", "deep/er/x": "y"})
    (work / "snapshots" / "new").touch()
    assert (work / "solver.prototxt").read_text() == "lr: 1"
    assert (work / "deep/er/x").read_text() == "y"
    assert not any((work / name).is_symlink() for name in ("snapshots", "solver.prototxt", "deep"))
    assert shadow.read_bytes() == SECRET
    assert not (shadow.parent / "theirs").exists() or not list((shadow.parent / "theirs").iterdir())


def test_a_folder_that_was_closed_is_opened_for_the_next_attempt(work: Path) -> None:
    for path in (work / "snapshots", work):
        path.chmod(0o555)
    notes.place("r", {"snapshots/": "", "x": ""})
    assert [stat.S_IMODE(path.stat().st_mode) for path in (work, work / "snapshots")] == [0o755, 0o755]


@pytest.mark.parametrize("kind", LEFT)
def test_a_snapshot_comes_from_s3_whatever_a_training_left_in_its_place(work: Path, shadow: Path, kind: str) -> None:
    leave(work / "out", shadow, kind)
    leave(work / "snapshots" / "x", shadow, kind)
    place = fake_s3(**{"s/x": b"1"})
    for folder in ("out", "snapshots"):
        assert copying.pull(place, "s/", str(work / folder)) == 1
        assert (work / folder / "x").read_bytes() == b"1"
    assert shadow.read_bytes() == SECRET


def test_in_a_folder_of_the_users_own_nothing_is_moved(tmp_path: Path) -> None:
    (tmp_path / "data" / "x").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        copying.pull(fake_s3(**{"s/x": b"1"}), "s/", str(tmp_path / "data"))
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with pytest.raises(OSError, match="link"):
        copying.pull(fake_s3(**{"s/y": b"1"}), "s/", str(tmp_path / "link"))
    assert [path.name for path in (tmp_path / "data").iterdir() if path.name != "x.part"] == ["x"]


def test_rendered_files_are_placed_whatever_an_earlier_attempt_left(work: Path, shadow: Path) -> None:
    (work / "solver.prototxt").symlink_to(shadow)
    notes.place("r", {"log/": "", "solver.prototxt": "lr: 1", "deep/er/x": "y"})
    assert (work / "solver.prototxt").read_text() == "lr: 1"
    assert (work / "log").is_dir()
    assert (work / "deep/er/x").read_text() == "y"
    assert shadow.read_bytes() == SECRET


# what cannot be saved


@pytest.mark.parametrize("late", [False, True])
def test_what_is_not_saved_half_an_hour_after_its_end_keeps_no_machine_awake(
    work: Path, tmp_path: Path, late: bool
) -> None:
    run_with(work, "x", FakeDocker(c=CRASHED))
    made = watch.Guard(imds.Metadata(), FakeDocker(c=CRASHED), match)
    made.look()
    [run] = made.known()
    run.bucket = FakeBucket()
    run.bucket.refused = {"runs/": 503}
    made.turn()
    if late:
        run.memory["ended"] -= runs.LATE_S + 1
        made.turn()
    assert (tmp_path / "state/unfinished").read_text() == ("" if late else "r\n")
    run.bucket.refused = {"/log/": 403}  # S3 is back, and does not want the log
    run.again = 0.0
    made.turn()
    assert {one["state"] for one in run.bucket.states()} == ({"failed"} if late else set())
    assert run.done == late


class Counted(FakeBucket):
    """What was asked of it."""

    def put(self, key: str, data: bytes) -> None:
        self.asked = [*getattr(self, "asked", []), key.split("/")[2]]
        super().put(key, data)


def test_where_s3_refuses_all_for_good_a_late_run_sends_how_it_stands_now_and_then(work: Path) -> None:
    run = run_with(work, "x", FakeDocker(c=RUNNING), outputs=["*.txt"])
    run.turn()
    (work / "out.txt").write_text("1")
    run = again(work, FakeDocker(c=ENDED), Counted())
    run.bucket.refused = {"runs/": 403}
    write_snapshot(work, 400)
    run.remember(ended=time.monotonic() - runs.LATE_S - 1, renewed=0.0)
    for _ in range(2):
        run.beat()
        run.renew()
        with pytest.raises(OSError, match="403"):
            run.turn()
        for _ in range(3):
            run.turn()
            run.beat()
        run.again -= runs.AGAIN_S
    assert run.bucket.asked == ["state.json"] * 2
    run.bucket.refused, run.bucket.asked = {}, []
    run.turn()
    assert set(run.bucket.asked) == {"state.json", "snapshots", "outputs"}  # its log was there
    assert run.done
    assert run.bucket.snapshots() == [400]


# what never started


def test_a_container_that_never_starts_has_failed_and_keeps_no_machine(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SETTINGS", str(tmp_path / "settings"))
    (tmp_path / "settings").write_text("power_off_after=1\n")
    docker = FakeDocker(c="created 0 false")
    run_with(work, "")
    made = watch.Guard(imds.Metadata(), docker, match)
    made.look()
    [run] = made.known()
    run.bucket = FakeBucket()
    made.turn()
    assert run.bucket.states() == []  # its client may be about to start it
    assert (tmp_path / "state/unfinished").read_text() == "r\n"
    run.began -= runs.START_S
    made.turn()
    assert [one["state"] for one in run.bucket.states()] == ["failed"]
    assert docker.said.count("docker rm -v c") == 1
    made.turn()
    assert (tmp_path / "state/unfinished").read_text() == ""
    assert made.idle_since is not None


def test_a_container_that_starts_after_all_is_left_to_train(work: Path) -> None:
    docker = FakeDocker(c="created 0 false")
    run = run_with(work, "", docker)
    run.began -= runs.START_S

    def words(said: list[str]) -> tuple[int, str]:
        if said[:2] != ["docker", "rm"]:
            return docker(said)
        docker.status["c"] = RUNNING
        return 1, "cannot remove container c: container is running"

    run.words = words
    run.turn()
    assert [one["state"] for one in run.bucket.states()] == ["running"]


def test_a_run_that_cannot_be_saved_does_not_keep_its_machine(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SETTINGS", str(tmp_path / "settings"))
    (tmp_path / "settings").write_text("power_off_after=1\n")
    run_with(work, "").remember(ended=time.monotonic())
    docker = FakeDocker(c=CRASHED)
    made = watch.Guard(imds.Metadata(), docker, match)
    made.look()
    made.rest()
    assert made.idle_since is None
    made.known()[0].memory["ended"] -= runs.LATE_S + 1
    made.rest()
    assert made.idle_since is not None


def test_what_a_later_attempt_made_is_newer_whatever_its_iteration(work: Path) -> None:
    run = run_with(work, "", attempt=2, resumed_from=400, snapshots={"pattern": PATTERN, "parts": PARTS, "keep": 1})
    run.bucket.puts.append(("runs/r/snapshots/000001600-001/complete.json", b"{}"))
    write_snapshot(work, 800)
    run.push_snapshots()
    assert {key.split("/")[3] for key, _ in run.bucket.puts} == {"000000800-002"}


def test_the_half_hour_begins_anew_where_the_machine_does(work: Path) -> None:
    run = run_with(work, "")
    run.remember(ended=time.monotonic() + 1e6)
    assert again(work).memory["ended"] is None
    run.remember(ended=0.5)
    assert again(work).memory["ended"] == 0.5


def test_s3_is_not_asked_for_a_name_with_a_dot_by_its_host() -> None:
    assert s3.Bucket(None, "my.data", "eu-west-1").base == "https://s3.eu-west-1.amazonaws.com/my.data"
    assert s3.Bucket(None, "my-data", "eu-west-1").base == "https://my-data.s3.eu-west-1.amazonaws.com"


def test_what_is_pulled_comes_side_by_side(work: Path) -> None:
    """The first file waits until a second one is on its way."""
    place, second = fake_s3(**{f"s/{folder}/{name}": b"1" for folder in "ab" for name in "cd"}), threading.Event()
    get_file = place.get_file  # type: ignore[attr-defined]
    begun: list[str] = []

    def waiting(key: str, *words: object) -> None:
        begun.append(key)
        if len(begun) > 1:
            second.set()
        assert second.wait(60)
        get_file(key, *words)

    place.get_file = waiting  # type: ignore[attr-defined]
    assert copying.pull(place, "s/", str(work / "out")) == 4
    assert sorted(str(path.relative_to(work / "out")) for path in (work / "out").rglob("?/?")) == [
        "a/c", "a/d", "b/c", "b/d",
    ]  # fmt: skip


def test_a_pull_that_fails_asks_for_no_more(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "THREADS", 1)
    names = {f"s/{number:04}": b"1" for number in range(50)}
    place = fake_s3(**names, **{"s/complete.json": json.dumps({"files": [{"path": "0000", "sha256": "x"}]}).encode()})
    with pytest.raises(ValueError, match="s/0000 is damaged"):
        copying.pull(place, "s/", str(work / "out"))
    assert [call for call in place.calls if call.startswith("GET s/0")] == ["GET s/0000"]
