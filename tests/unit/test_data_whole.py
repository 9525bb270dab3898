"""What a command makes appears whole or not at all, wherever OUT lies; what cannot be made is said before the work."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from infra.errors import DiskError, UsageError
from provision.cli import run
from provision.data import room
from provision.data.convert import Order, convert
from provision.data.labels import Rule
from provision.data.labels import convert as labels
from provision.data.pictures import Shape
from provision.files import whole
from provision.files.whole import atomic_file, atomic_folder
from tests.unit import data_kit as kit

MAKERS = (atomic_file, atomic_folder)


def fill(part: Path) -> None:
    (part / "a" if part.is_dir() else part).write_text("made")


def made(target: Path) -> str:
    return (target / "a" if target.is_dir() else target).read_text()


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_is_followed(tmp_path: Path, maker: object, dangling: bool) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk/there")
    if not dangling and maker is atomic_folder:
        (tmp_path / "disk/there").mkdir()
    with maker(tmp_path / "out") as part:  # type: ignore[operator]
        assert part.parent == tmp_path / "disk"  # the disk that has the room
        fill(part)
    assert (tmp_path / "out").is_symlink() and made(tmp_path / "out") == "made"
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["there"]


def test_what_cannot_be_renamed_over_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for target, said in (("/proc", "is a mount point"), (".", "is the folder that you are in")):
        with pytest.raises(UsageError, match=said), atomic_folder(Path(target)):
            pytest.fail("the work began")
    for target, said in (("/dev/null", "is no file that can be replaced"), (str(tmp_path), "is a folder")):
        with pytest.raises(UsageError, match=said), atomic_file(Path(target)):
            pytest.fail("the work began")
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(UsageError, match=r"round cannot be written"), atomic_folder(Path("round")):
        pytest.fail("the work began")


def test_what_a_killed_command_left_goes_and_two_at_once_are_told(tmp_path: Path) -> None:
    kit.write(tmp_path / ".out.part/half/data.mdb", "half")
    with atomic_folder(tmp_path / "out") as part:
        assert list(part.iterdir()) == []
        with pytest.raises(UsageError, match="another command is making"), atomic_folder(tmp_path / "out"):
            pytest.fail("both began")
        fill(part)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, DiskError), (errno.EROFS, UsageError)])
def test_the_disks_refusals_are_told_and_nothing_is_left(
    tmp_path: Path, maker: object, number: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match="out cannot be written"), maker(tmp_path / "out") as part:  # type: ignore[operator]
        fill(part)
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_lets_nothing_be_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(UsageError, match="out cannot be written: Read-only"), atomic_file(tmp_path / "out"):
        raise OSError(errno.EROFS, "Read-only file system")


def test_what_is_wrong_elsewhere_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "out"):
        (tmp_path / "source").read_text()


def test_a_parent_that_is_a_file_is_told(tmp_path: Path) -> None:
    kit.write(tmp_path / "file", "text")
    for maker in MAKERS:
        with pytest.raises(UsageError, match="cannot be written"), maker(tmp_path / "file/out"):
            pytest.fail("the work began")


# the commands


def test_a_conversion_to_a_link_and_its_resume(tmp_path: Path) -> None:
    kit.jpegs(tmp_path / "set", 3)
    (tmp_path / "big").mkdir()
    (tmp_path / "db").symlink_to(tmp_path / "big")
    order = Order(tmp_path / "set", tmp_path / "db")
    assert convert(order).records == 3
    assert convert(order).found
    assert sorted(path.name for path in (tmp_path / "big").iterdir()) == ["data.json", "data.mdb"]


def test_what_fails_at_the_end_can_be_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.jpegs(tmp_path / "set", 3)
    order = Order(tmp_path / "set", tmp_path / "db", resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.EBUSY, "busy", str(order.out))))
        with pytest.raises(UsageError, match="db cannot be written"):
            convert(order)
    (tmp_path / "set/000.jpg").write_bytes(b"")  # so that a new beginning would be another
    assert convert(order).records == 3
    assert sorted(path.name for path in order.out.iterdir()) == ["data.json", "data.mdb"]


def test_a_label_picture_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = kit.label_picture(tmp_path / "a.png", [[0, 1]] * 2)
    before = source.read_bytes()
    (tmp_path / "folder").mkdir()
    for out in (source, tmp_path / "folder"):
        with pytest.raises(UsageError, match="is there already"):
            labels(source, out, Rule())
    assert source.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if "part" in path.name]
    assert run(["data", "voc-labels", str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    assert "nowhere is not there" in capsys.readouterr().err


def test_a_mean_is_not_written_over_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit.jpegs(tmp_path / "set", 1)
    convert(Order(tmp_path / "set", tmp_path / "db"))
    assert run(["data", "mean", str(tmp_path / "db"), str(tmp_path / "db/data.mdb")]) == 2
    assert "is no mean file" in capsys.readouterr().err
    for _ in range(2):
        assert run(["data", "mean", str(tmp_path / "db"), str(tmp_path / "mean"), "--npy"]) == 0
    assert (tmp_path / "mean.npy").is_file()


def test_long_names_are_cut_where_pictures_are_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit.jpegs(tmp_path / "set", 1)
    (tmp_path / "set/000.jpg").rename(tmp_path / "set" / ("k" * 245 + ".jpg"))
    convert(Order(tmp_path / "set", tmp_path / "db"))
    assert run(["data", "lmdb-show", str(tmp_path / "db"), "--save", str(tmp_path / "saved")]) == 0
    (saved,) = (tmp_path / "saved").iterdir()
    assert saved.name.startswith("00000000_kkk")
    assert run(["data", "lmdb-show", str(tmp_path / "db"), "--save", str(saved)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_key_that_lmdb_does_not_take_is_a_bad_picture(tmp_path: Path) -> None:
    deep = tmp_path / "set" / ("d" * 200) / ("e" * 200) / ("f" * 120)
    kit.jpegs(deep, 1)
    kit.jpegs(tmp_path / "set/a", 1)
    made = convert(Order(tmp_path / "set", tmp_path / "db"))
    assert (made.records, made.bad) == (1, 1)
    assert "its key has 539 bytes, LMDB takes 511" in (tmp_path / "db/bad.txt").read_text()
    assert convert(Order(tmp_path / "set", tmp_path / "level", backend="leveldb")).records == 2


def test_no_room_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.jpegs(tmp_path / "set", 3)

    def full(target: Path, need: int, mend: str = "") -> None:
        raise DiskError(f"no room in {target}: {need} bytes are needed", mend)

    monkeypatch.setattr(room, "check_room", full)
    with pytest.raises(DiskError, match=f"{3 * 3 * 100 * 50} bytes are needed"):
        convert(Order(tmp_path / "set", tmp_path / "db", shape=Shape(resize=(100, 50))))
    assert convert(Order(tmp_path / "set", tmp_path / "db")).records == 3  # the first picture's size is a guess
    assert f"warning: no room in {tmp_path / 'db'}: {3 * 3 * 60 * 80} bytes" in capsys.readouterr().err
    size = sum(path.stat().st_size for path in (tmp_path / "set").iterdir())
    assert convert(Order(tmp_path / "set", tmp_path / "files", shape=Shape(encode="auto"))).records == 3
    assert f"files: {size} bytes are needed, if all are stored as they are" in capsys.readouterr().err


@pytest.mark.parametrize("option", [{"resize": (100_000, 100_000)}, {"pad": 100_000}])
def test_sizes_beyond_memory_are_refused(tmp_path: Path, option: dict[str, object]) -> None:
    kit.jpegs(tmp_path / "set", 1)
    with pytest.raises(UsageError, match="100000 x 100000 pixels are more"):
        convert(Order(tmp_path / "set", tmp_path / "db", shape=Shape(**option)))  # type: ignore[arg-type]


def test_a_part_that_got_its_name_meanwhile_is_anothers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the folder and locking it, the other command may give it its last name."""
    flock = whole.fcntl.flock

    def late(handle: int, how: int) -> None:
        (tmp_path / ".out.part").rename(tmp_path / "out")
        flock(handle, how)

    monkeypatch.setattr(whole.fcntl, "flock", late)
    with pytest.raises(UsageError, match="another command is making"), atomic_folder(tmp_path / "out"):
        pytest.fail("the other's folder was taken")


def test_pictures_are_cut_off_too(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(UsageError, match=r"a.png is a PNG that is cut off"):
        labels(tmp_path / "a.png", tmp_path / "b.png", Rule())
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("maker", MAKERS)
def test_a_link_in_place_of_a_part_is_refused_and_what_it_points_to_stays(tmp_path: Path, maker: object) -> None:
    """To empty it as a leftover would be to empty somebody's folder."""
    kit.write(tmp_path / "theirs/deep/file", "keep")
    theirs = tmp_path / ("theirs" if maker is atomic_folder else "theirs/deep/file")
    (tmp_path / ".out.part").symlink_to(theirs)
    with pytest.raises(UsageError, match=r"\.out\.part is in the way: it is a link"), maker(tmp_path / "out"):  # type: ignore[operator]
        pytest.fail("the work began")
    assert (tmp_path / "theirs/deep/file").read_text() == "keep\n"
    assert (tmp_path / ".out.part").is_symlink() and not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="it is a link"):
        whole.empty(tmp_path / ".out.part")


@pytest.mark.parametrize("words", [["lmdb"], ["lmdb", "--resume"], ["sizes"]], ids=" ".join)
def test_no_command_goes_through_a_link_at_its_part(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = kit.write(tmp_path / "list.txt", *(f"p/{name} 0" for name in kit.jpegs(tmp_path / "p", 2)))
    kit.write(tmp_path / "theirs/file", "keep")
    kit.write(tmp_path / "theirs/resume.json", "{}")
    (tmp_path / ".out.part").symlink_to(tmp_path / ("theirs/file" if words[0] == "sizes" else "theirs"))
    assert run(["data", words[0], str(source), str(tmp_path / "out"), *words[1:]]) == 2
    assert "is in the way: it is a link" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == ["file", "resume.json"]
    assert (tmp_path / "theirs/file").read_text() == "keep\n"


def test_a_file_in_place_of_a_folders_part_is_named(tmp_path: Path) -> None:
    kit.write(tmp_path / ".out.part", "mine")
    with pytest.raises(UsageError, match=r"\.out\.part is in the way"), atomic_folder(tmp_path / "out"):
        pytest.fail("the work began")
    assert (tmp_path / ".out.part").read_text() == "mine\n"
