"""Writing a tree: all files or none, also where the disk is full, a move is refused, or the run is killed."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from images.context import source_tree
from images.context.apply_patches import apply
from images.context.source_tree import FOLDER, READY, Tree, finish
from images.patches import Patch, apply_to
from images.source import resolve
from images.stacks import stacks
from images.steps import Edit
from infra.errors import DiskError, UsageError

PATCH = {
    "name": "both",
    "edits": [{"file": name, "find": "old", "replace": "new"} for name in ("a.cpp", "sub/b.cpp")],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.cpp").write_text("old a\n")
    (tmp_path / "sub" / "b.cpp").write_text("old b\n")
    return tmp_path


def texts(root: Path) -> dict[str, str]:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_text() for path in paths}


OLD, NEW = {"a.cpp": "old a\n", "sub/b.cpp": "old b\n"}, {"a.cpp": "new a\n", "sub/b.cpp": "new b\n"}


class Killed(BaseException):
    """What ends a process: nothing catches it."""


def fail(monkeypatch: pytest.MonkeyPatch, name: str, at: int, error: BaseException) -> None:
    """Let the call number `at` of a method of Path end with the error."""
    real, count = getattr(Path, name), [0]

    def called(self: Path, *args: object, **named: object) -> object:
        count[0] += FOLDER in self.parts
        if count[0] == at and FOLDER in self.parts:
            raise error
        return real(self, *args, **named)

    monkeypatch.setattr(Path, name, called)


@pytest.mark.parametrize("at", [1, 2])
def test_a_full_disk_leaves_the_tree_as_it_was(root: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    fail(monkeypatch, "open", at, OSError(errno.ENOSPC, "No space left on device"))
    patch = Patch(why="w", upstream=None, name="both", edits=(Edit(file="a.cpp", find="old", replace="new"),
                  Edit(file="sub/b.cpp", find="old", replace="new")))  # fmt: skip
    with pytest.raises(DiskError, match="No space left"):
        apply_to(root, [patch])
    monkeypatch.undo()
    assert texts(root) == OLD


@pytest.mark.parametrize("at", [1, 2])
def test_a_refused_move_brings_all_files_back(root: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    fail(monkeypatch, "replace", at, OSError(errno.EPERM, "Operation not permitted"))
    with pytest.raises(OSError, match="not permitted"):
        apply([PATCH], root)
    monkeypatch.undo()
    assert texts(root) == OLD


def test_who_is_killed_before_all_is_there_has_changed_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, "touch", 1, Killed())
    with pytest.raises(Killed):
        apply([PATCH], root)
    monkeypatch.undo()
    assert (root / "a.cpp").read_text() == "old a\n" and (root / FOLDER / "new" / "a.cpp").exists()
    assert finish(root)
    assert texts(root) == OLD


@pytest.mark.parametrize("at", [1, 2])
def test_who_is_killed_between_two_moves_is_finished_by_the_next_run(
    root: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    fail(monkeypatch, "replace", at, Killed())
    with pytest.raises(Killed):
        apply([PATCH], root)
    monkeypatch.undo()
    assert (root / FOLDER / READY).exists()
    report = apply([PATCH], root)
    assert report.finished and [one.status for one in report.results] == ["already there"]
    assert texts(root) == NEW


def test_a_dry_run_leaves_a_stopped_run_where_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, "replace", 2, Killed())
    with pytest.raises(Killed):
        apply([PATCH], root)
    monkeypatch.undo()
    assert not apply([PATCH], root, dry_run=True).finished
    assert (root / FOLDER).is_dir()


def test_modes_and_links_stay(root: Path) -> None:
    (root / "a.cpp").chmod(0o755)
    (root / "real.cpp").write_text("old b\n")
    (root / "sub" / "b.cpp").unlink()
    (root / "sub" / "b.cpp").symlink_to("../real.cpp")
    apply([PATCH], root)
    assert os.access(root / "a.cpp", os.X_OK)
    assert (root / "sub" / "b.cpp").is_symlink() and (root / "real.cpp").read_text() == "new b\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"one\r\nold\r\nend\r\n", b"one\r\nnew\r\nmore\r\nend\r\n"),
        (b"one\nold\nend\n", b"one\nnew\nmore\nend\n"),
        (b"one\nold\r\nend\n", b"one\nnew\r\nmore\r\nend\n"),  # mixed: as the line that was replaced
        (b"one\r\nold\nend\r\n", b"one\r\nnew\nmore\nend\r\n"),
    ],
)
def test_line_ends_stay_and_anchors_of_several_lines_fit(tmp_path: Path, before: bytes, after: bytes) -> None:
    (tmp_path / "a.cpp").write_bytes(before)
    change = {"file": "a.cpp", "find": "one\nold\n", "replace": "one\nnew\nmore\n"}
    report = apply([{"name": "mend", "edits": [change]}], tmp_path)
    assert (tmp_path / "a.cpp").read_bytes() == after
    assert (b"\r" in before) == (
        apply([{"name": "x", "edits": [change]}], tmp_path).tree.planned == {} and b"\r" in after
    )
    assert report.results[0].status == "changed"


def test_what_a_build_made_and_what_others_wrote_is_no_source(tmp_path: Path) -> None:
    for name in ("src/a.cpp", "build/a.cpp", ".build_release/a.cu", "3rdparty/cub/a.cuh", "src/caffe.pb.cc", "a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("int a;\n")
    assert Tree(tmp_path).sources() == ["src/a.cpp"]
    assert source_tree.SUFFIXES


def test_a_half_moved_tree_is_not_built(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, "replace", 2, Killed())
    with pytest.raises(Killed):
        apply([PATCH], root)
    monkeypatch.undo()
    with pytest.raises(UsageError, match="half patched") as caught:
        resolve(stacks()["caffe"], root, mirror=str(root))
    assert caught.value.mend == f"bring it to its end with: provision image patch {root} --stack caffe"


def test_two_runs_at_once_write_one_after_the_other(root: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: apply([PATCH], root), range(8)))
    assert texts(root) == NEW
    assert {one.status for report in reports for one in report.results} <= {"changed", "already there"}


def test_a_file_on_another_disk_is_moved_by_way_of_its_own_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        """No file leaves the folder of new and old ones for another."""
        if FOLDER in self.parts and FOLDER not in Path(target).parts:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    apply([PATCH], root)
    assert texts(root) == NEW


def test_what_another_disk_refuses_leaves_the_tree_as_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        """Nor does the second file fit there."""
        if FOLDER in self.parts and "new" in self.parts and self.name == "b.cpp":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        if self.name == "b.cpp" + FOLDER:
            raise OSError(errno.EACCES, "Permission denied")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OSError, match="Permission denied"):
        apply([PATCH], root)
    assert texts(root) == OLD
