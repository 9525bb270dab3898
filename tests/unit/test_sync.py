"""What is left out of a copy, what is sent, and what a user hears when a file cannot be."""

import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import cast

import pytest

from infra.errors import HostError, RunError, UsageError
from infra.shell import Result, checked
from infra.ssh import SshShell
from provision.files.index import Entry, ignored, local_index
from provision.files.to_host import Sent, Tar, remote_index, sync


@pytest.mark.parametrize(
    ("path", "patterns", "out"),
    [
        ("a.pyc", ("*.pyc",), True),
        ("deep/a.pyc", ("*.pyc",), True),
        ("build/x/y", ("build/",), True),
        ("src/build/x", ("build/",), True),
        ("src/build/x", ("/build/",), False),
        ("build", ("build/",), False),
        ("data/raw/1.png", ("data/raw",), True),
        ("other/data/raw/1.png", ("data/raw",), False),
        ("keep.pyc", ("*.pyc", "!keep.pyc"), False),
        ("a.txt", ("*.pyc",), False),
    ],
)
def test_patterns_as_in_gitignore(path: str, patterns: tuple[str, ...], out: bool) -> None:
    assert ignored(path, patterns) is out


def test_the_ignore_file_and_git_are_left_out(tmp_path: Path) -> None:
    for name in ("train.py", "x.log", ".git/config", "sub/y.log", "sub/z.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".provisionignore").write_text("# logs\n*.log\n")
    assert sorted(local_index(tmp_path)) == ["sub/z.py", "train.py"]


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"this is {name}")


def received(folder: Path, *names: str) -> dict[str, tarfile.TarInfo]:
    """What a tar at the far side finds in the stream."""
    stream = Tar(folder, [entry for path, entry in local_index(folder).items() if not names or path in names])
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        return {member.name: member for member in tar.getmembers()}


class FarSide:
    """A host that takes the tar as the real one does: it is content with a stream that ends between two files."""

    where = "host"

    def __init__(self, there: str = "", code: int = 0) -> None:
        self.there, self.code = there, code
        self.commands: list[list[str]] = []
        self.fed = b""

    def run(self, words: Sequence[str], *, check: bool = True, stdin: bytes = b"") -> Result:
        self.commands.append([*words, *filter(None, stdin.decode().split("\0"))])
        return Result(0, self.there if words[0] == "find" else "")

    def feed(self, words: Sequence[str], chunks: Iterable[bytes], *, check: bool = True) -> Result:
        self.fed = b"".join(chunks)
        return checked(Result(self.code, "", "tar: it said so"), words, self.where, check)


def send(shell: FarSide, folder: Path, delete: bool = False) -> Sent:
    return sync(cast("SshShell", shell), folder, "/data/x", delete)


@pytest.mark.parametrize(
    ("path", "out"),
    [("build/x/keep.py", True), ("a/b.txt", True), ("a/b.py", False), ("b.py", False), ("a/raw/x.py", True)],
)
def test_what_is_in_a_folder_left_out_cannot_be_taken_back(path: str, out: bool) -> None:
    assert ignored(path, ("*", "!*/", "!*.py", "build/", "raw/")) is out


def test_links_are_sent_as_what_they_lead_to(tmp_path: Path) -> None:
    here = tmp_path / "here"
    files(here, "plain", "sub/deep")
    files(tmp_path, "elsewhere/far", "one")
    (here / "to-plain").symlink_to("plain")
    (here / "to-sub").symlink_to("sub")
    (here / "to-one").symlink_to(tmp_path / "one")
    (here / "to-elsewhere").symlink_to(tmp_path / "elsewhere")
    found = received(here)
    assert sorted(found) == ["plain", "sub/deep", "to-elsewhere/far", "to-one", "to-plain", "to-sub/deep"]
    assert all(member.isreg() and member.size > 0 for member in found.values())


def test_a_link_to_nothing_and_one_in_a_ring_are_left_out_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files(tmp_path, "plain", "sub/deep")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "sub" / "up").symlink_to("..")
    assert sorted(local_index(tmp_path)) == ["plain", "sub/deep"]
    said = capsys.readouterr().err
    assert "broken is a link to nothing" in said
    assert "sub/up leads back to a folder" in said


def test_a_ring_in_a_folder_left_out_is_not_walked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files(tmp_path, "plain", ".venv/x")
    (tmp_path / ".venv" / "up").symlink_to("..")
    assert sorted(local_index(tmp_path)) == ["plain"]
    assert capsys.readouterr().err == ""


def test_the_stream_is_a_tar_of_whole_files_without_names_of_people(tmp_path: Path) -> None:
    long = "a-rather-long-name/" * 12 + "größe.prototxt"
    files(tmp_path, "run.sh", long, "empty")
    (tmp_path / "empty").write_text("")
    (tmp_path / "big").write_bytes(bytes(range(256)) * 3000)
    (tmp_path / "run.sh").chmod(0o750)
    found = received(tmp_path)
    assert sorted(found) == sorted(["run.sh", long, "empty", "big"])
    assert (found["run.sh"].mode, found["run.sh"].uid, found["run.sh"].uname) == (0o750, 0, "")
    assert found["big"].mtime == int((tmp_path / "big").stat().st_mtime)
    with tarfile.open(fileobj=io.BytesIO(b"".join(Tar(tmp_path, [Entry("big", 0, 0)])))) as tar:
        taken = tar.extractfile("big")
        assert taken is not None
        assert taken.read() == (tmp_path / "big").read_bytes()


def test_only_changed_files_go_and_files_gone_here_go_there(tmp_path: Path) -> None:
    files(tmp_path, "same", "new")
    row = f"same\t{(tmp_path / 'same').stat().st_size}\t{(tmp_path / 'same').stat().st_mtime}\0\n"
    shell = FarSide(row + "two\nlines\t1\t1.5\0\nold\t1\t1.5\0\n")
    assert send(shell, tmp_path, delete=True) == Sent(1, 11, 2)
    assert ["xargs", "-0", "rm", "-f", "/data/x/two\nlines", "/data/x/old"] in shell.commands
    with tarfile.open(fileobj=io.BytesIO(shell.fed)) as tar:
        assert tar.getnames() == ["new"]


class Vanishing(FarSide):
    """While it takes the first file, something is done to the second."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act = act

    def feed(self, words: Sequence[str], chunks: Iterable[bytes], *, check: bool = True) -> Result:
        for at, chunk in enumerate(chunks):
            self.fed += chunk
            if at == 1:
                self.act()
        return Result(0)


def test_a_file_that_vanishes_on_the_way_is_an_error_that_names_it(tmp_path: Path) -> None:
    files(tmp_path, "a", "b")
    with pytest.raises(RunError, match=r"/b vanished while it was sent") as caught:
        send(Vanishing((tmp_path / "b").unlink), tmp_path)
    assert "again" in caught.value.mend


def test_a_file_that_becomes_shorter_on_the_way_is_an_error_that_names_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    with pytest.raises(RunError, match=r"/a became shorter"):
        send(Vanishing(lambda: os.truncate(tmp_path / "a", 1 << 19)), tmp_path)


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A folder took its name: whoever runs this, root too, cannot read that as a file."""
    files(tmp_path, "a", "b")

    def swap() -> None:
        (tmp_path / "b").unlink()
        (tmp_path / "b").mkdir()

    with pytest.raises(UsageError, match=r"cannot send .*/b: Is a directory") as caught:
        send(Vanishing(swap), tmp_path)
    assert ".provisionignore" in caught.value.mend


def test_what_the_tar_there_says_reaches_the_user(tmp_path: Path) -> None:
    files(tmp_path, "a")
    with pytest.raises(HostError, match=r"it said so"):
        send(FarSide(code=2), tmp_path)


def test_a_reader_that_stops_early_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(8 << 20))
    before = threading.active_count()
    stream = iter(Tar(tmp_path, list(local_index(tmp_path).values())))
    next(stream)
    assert threading.active_count() == before


@pytest.mark.parametrize("listed", ["a\tmany\t1.0\0\n", "a\t1\tnever\0\n", "a\t1\tinf\0\n"])
def test_a_host_that_lists_nonsense_is_an_error_of_the_host(listed: str) -> None:
    class Lying:
        where = "lab"

        def run(self, *_: object, **__: object) -> Result:
            return Result(0, listed)

    with pytest.raises(HostError, match="lab lists /work in words that make no sense"):
        remote_index(cast(SshShell, Lying()), "/work")
