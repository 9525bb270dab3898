"""Lists of pictures become databases: the records that Caffe's convert_imageset would write, whole or not at all."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from infra.errors import DiskError, MissingExtraError, UsageError
from provision.cli import run
from provision.data import convert as module
from provision.data import leveldb
from provision.data.backends import reader, writer
from provision.data.convert import Made, Order, convert
from provision.data.keeper import Keeper, Record
from provision.data.lists import Entry
from provision.data.pictures import Shape
from provision.files.whole import part_folder
from tests.unit import data_kit as kit

BACKENDS = ("lmdb", "leveldb")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty cuttings and their list, classes 0 to 6."""
    folder = tmp_path_factory.mktemp("pictures")
    names = kit.jpegs(folder, 40)
    kit.write(folder / "list.txt", *(f"{name} {number % 7}" for number, name in enumerate(names)))
    return folder


def made(pictures: Path, out: Path, **options: object) -> list[tuple[str, kit.Fields]]:
    convert(Order(pictures / "list.txt", out, **options))  # type: ignore[arg-type]
    return kit.read(out)


@pytest.mark.parametrize("backend", BACKENDS)
def test_raw_records(pictures: Path, tmp_path: Path, backend: str) -> None:
    records = made(pictures, tmp_path / "db", backend=backend)
    assert [key for key, _ in records] == [f"{number:08d}_{number:03d}.jpg" for number in range(40)]
    pixels = cv2.imread(str(pictures / "003.jpg"))
    assert records[3][1] == {1: 3, 2: 60, 3: 80, 4: pixels.transpose(2, 0, 1).tobytes(), 5: 3, 7: 0}


def test_the_files_own_bytes_where_nothing_is_changed(pictures: Path, tmp_path: Path) -> None:
    for number, encode in enumerate(("auto", "jpg")):
        records = made(pictures, tmp_path / str(number), shape=Shape(encode=encode))
        assert records[8][1] == {4: (pictures / "008.jpg").read_bytes(), 5: 1, 7: 1}


def test_resized_and_encoded_again(pictures: Path, tmp_path: Path) -> None:
    records = made(pictures, tmp_path / "db", shape=Shape(resize=(32, 48), encode="jpg"))
    wanted = cv2.imencode(".jpg", cv2.resize(cv2.imread(str(pictures / "005.jpg")), (48, 32)))[1].tobytes()
    assert records[5][1] == {4: wanted, 5: 5, 7: 1}


def test_gray_has_one_channel(pictures: Path, tmp_path: Path) -> None:
    fields = made(pictures, tmp_path / "db", shape=Shape(gray=True))[0][1]
    assert (fields[1], fields[2], fields[3]) == (1, 60, 80)
    assert fields[4] == cv2.imread(str(pictures / "000.jpg"), cv2.IMREAD_GRAYSCALE).tobytes()


def test_padding_fills_the_bottom_and_the_right(pictures: Path, tmp_path: Path) -> None:
    fields = made(pictures, tmp_path / "db", shape=Shape(pad=100, fill=(104, 117, 123)))[0][1]
    pixels = np.frombuffer(fields[4], np.uint8).reshape(3, 100, 100)  # type: ignore[call-overload]
    assert (pixels[:, :60, :80] == cv2.imread(str(pictures / "000.jpg")).transpose(2, 0, 1)).all()
    assert [set(plane[60:].ravel()) | set(plane[:, 80:].ravel()) for plane in pixels] == [{104}, {117}, {123}]


def test_a_picture_larger_than_the_padding_is_bad(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"000.jpg, is 80 x 60, larger than 70 x 70"):
        made(pictures, tmp_path / "db", shape=Shape(pad=70))
    assert list(tmp_path.iterdir()) == []


def test_shuffled_by_a_seed_and_numbered_anew(pictures: Path, tmp_path: Path) -> None:
    first = made(pictures, tmp_path / "1", shuffle=True, limit=10)
    again = made(pictures, tmp_path / "2", shuffle=True, limit=10)
    other = made(pictures, tmp_path / "3", shuffle=True, limit=10, seed=2)
    assert first == again != other
    assert [key[:9] for key, _ in first] == [f"{number:08d}_" for number in range(10)]
    assert [key for key, _ in first] != sorted((key for key, _ in first), key=lambda key: key[9:])
    assert all(fields[5] == int(key[9:12]) % 7 for key, fields in first)


def test_empty_lines_count_as_in_convert_imageset(pictures: Path, tmp_path: Path) -> None:
    listed = kit.write(tmp_path / "list.txt", "000.jpg 1", "", "002.jpg -1\r")
    convert(Order(listed, tmp_path / "db", root=pictures))
    records = kit.read(tmp_path / "db")
    assert [key for key, _ in records] == ["00000000_000.jpg", "00000002_002.jpg"]
    assert records[1][1][5] == 2**64 - 1  # an int32 below 0 takes ten bytes


@pytest.mark.parametrize("jobs", [1, 3])
def test_any_number_of_threads_makes_the_same_file(pictures: Path, tmp_path: Path, jobs: int) -> None:
    made(pictures, tmp_path / "one", jobs=1)
    made(pictures, tmp_path / "many", jobs=jobs)
    assert (tmp_path / "one/data.mdb").read_bytes() == (tmp_path / "many/data.mdb").read_bytes()
    assert not list(tmp_path.rglob("lock.mdb"))


def test_a_folder_of_folders_has_classes(pictures: Path, tmp_path: Path) -> None:
    for name, number in (("cat", 0), ("dog", 1)):
        (tmp_path / "set" / name).mkdir(parents=True)
        shutil.copy(pictures / f"{number:03d}.jpg", tmp_path / "set" / name / "1.jpg")
    convert(Order(tmp_path / "set", tmp_path / "db"))
    assert [(key, fields[5]) for key, fields in kit.read(tmp_path / "db")] == [
        ("00000000_cat/1.jpg", 0),
        ("00000001_dog/1.jpg", 1),
    ]
    assert (tmp_path / "db/labels.txt").read_text() == "cat\ndog\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_pairs_make_two_databases_in_step(tmp_path: Path, backend: str) -> None:
    root = kit.kit(tmp_path / "kit")
    names = [f"2012_{number:06d}" for number in range(4)]
    lines = (f"VOC2012/JPEGImages/{name}.jpg VOC2012/SegmentationClass/{name}.png" for name in names)
    listed = kit.write(tmp_path / "pairs.txt", *lines)
    shape = Shape(pad=50)
    told = convert(Order(listed, tmp_path / "db", root=root, shuffle=True, backend=backend, shape=shape))
    assert told.databases == [f"images_{backend}", f"labels_{backend}"]
    images, labels = (kit.read(tmp_path / "db" / name) for name in told.databases)
    assert [key for key, _ in images] == [key for key, _ in labels]
    assert [key[-10:] for key, _ in images] != sorted(key[-10:] for key, _ in images)
    assert {(fields[1], fields[2], fields[3], fields[5], fields[7]) for _, fields in labels} == {(1, 50, 50, 0, 0)}
    for key, fields in labels:
        values = np.frombuffer(fields[4], np.uint8).reshape(50, 50)  # type: ignore[call-overload]
        assert set(values[:30, :20].ravel()) == {15 if int(key[-5]) % 2 else 0}
        assert set(values[30:].ravel()) | set(values[:, 20:].ravel()) == {255}


def test_labels_stay_classes_when_resized_and_encoded(tmp_path: Path) -> None:
    values = np.zeros((40, 40), np.uint8)
    values[:, 20:] = 15
    kit.label_picture(tmp_path / "labels" / "a.png", values)
    shape = Shape(resize=(17, 23), encode="jpg")
    convert(Order(tmp_path / "labels", tmp_path / "db", kind="labels", shape=shape))
    fields = kit.read(tmp_path / "db")[0][1]
    pixels = cv2.imdecode(np.frombuffer(fields[4], np.uint8), -1)  # type: ignore[arg-type]
    assert (pixels.shape, set(pixels.ravel())) == ((17, 23), {0, 15})


def test_label_pictures_from_another_folder(tmp_path: Path) -> None:
    root = kit.kit(tmp_path / "kit") / "VOC2012"
    convert(Order(root / "JPEGImages", tmp_path / "db", labels=root / "SegmentationClass"))
    assert len(kit.read(tmp_path / "db/labels_lmdb")) == 4
    (root / "SegmentationClass/2012_000002.png").unlink()
    with pytest.raises(UsageError, match=r"2012_000002.jpg has no label picture"):
        convert(Order(root / "JPEGImages", tmp_path / "other", labels=root / "SegmentationClass"))


def spoil(folder: Path) -> None:
    """Four files that are no pictures any more, and one that is gone."""
    whole = (folder / "001.jpg").read_bytes()
    (folder / "001.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "003.jpg").write_bytes(b"")
    (folder / "005.jpg").write_text("<html>404</html>")
    (folder / "007.jpg").unlink()
    png = cv2.imencode(".png", kit.cutting(9))[1].tobytes()
    (folder / "009.jpg").write_bytes(png[:-40])


def test_bad_pictures_are_listed_and_left_out(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(pictures, folder)
    spoil(folder)
    assert run(["data", "lmdb", str(folder / "list.txt"), str(tmp_path / "db")]) == 0
    said = capsys.readouterr().out
    assert "35 records" in said
    assert "5 bad pictures are not in it" in said
    assert [key[:8] for key, _ in kit.read(tmp_path / "db")][:5] == [f"{number:08d}" for number in (0, 2, 4, 6, 8)]
    assert (tmp_path / "db/bad.txt").read_text().splitlines() == [
        "1\t001.jpg\tis a JPEG that is cut off",
        "3\t003.jpg\tis empty",
        "5\t005.jpg\tis not a picture, or is damaged",
        "7\t007.jpg\tcannot be read: No such file or directory",
        "9\t009.jpg\tis a PNG that is cut off",
    ]


def test_strict_refuses_the_first_bad_picture(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(pictures, folder)
    spoil(folder)
    order = Order(folder / "list.txt", tmp_path / "db", strict=True)
    with pytest.raises(UsageError, match=r"001.jpg is a JPEG that is cut off"):
        convert(order)
    assert not (tmp_path / "db").exists()
    shutil.copytree(pictures, folder, dirs_exist_ok=True)
    assert convert(order).records == 40


def test_another_size_is_bad_where_sizes_are_checked(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(pictures, folder)
    cv2.imwrite(str(folder / "002.jpg"), kit.cutting(2, 50, 50))
    assert convert(Order(folder / "list.txt", tmp_path / "db", same_size=True)).bad == 1
    assert "is 50 x 50, not 80 x 60" in (tmp_path / "db/bad.txt").read_text()


class KilledError(Exception):
    """Stands for the end of the process."""


def killed_after(monkeypatch: pytest.MonkeyPatch, batches: int, size: int = 4) -> None:
    """The conversion ends before it keeps another batch, of a few records each."""
    from provision.data import keeper

    kept = 0

    def opened(folder: Path, backend: str) -> object:
        base = writer(folder, backend)
        put: Callable[[object], None] = base.put  # type: ignore[assignment]

        def counted(records: object) -> None:
            nonlocal kept
            if kept == batches:
                raise KilledError
            kept += 1
            put(records)

        base.put = counted  # type: ignore[method-assign,assignment]
        return base

    monkeypatch.setattr(keeper, "_BATCH", size)
    monkeypatch.setattr(keeper, "writer", opened)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batches", [0, 1, 5])
def test_a_killed_conversion_is_gone_on_with(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, batches: int
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(pictures, folder)
    spoil(folder)
    order = Order(folder / "list.txt", tmp_path / "db", backend=backend, resume=True)
    with monkeypatch.context() as patch:
        killed_after(patch, batches)
        with pytest.raises(KilledError):
            convert(order)
    assert not order.out.exists()
    asked: list[int] = []
    record = module._record
    monkeypatch.setattr(module, "_record", lambda entry, *rest: (asked.append(entry.number), record(entry, *rest))[1])
    told = convert(order)
    assert (told.records, told.bad) == (35, 5)
    assert len(asked) < 40 if batches else len(asked) == 40
    convert(Order(folder / "list.txt", tmp_path / "whole", backend=backend))
    assert kit.read(order.out) == kit.read(tmp_path / "whole")
    assert (order.out / "bad.txt").read_text() == (tmp_path / "whole/bad.txt").read_text()


def test_pairs_that_were_killed_between_their_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = kit.kit(tmp_path / "kit")
    order = Order(root / "VOC2012/JPEGImages", tmp_path / "db", labels=root / "VOC2012/SegmentationClass", resume=True)
    with monkeypatch.context() as patch:
        killed_after(patch, batches=3, size=1)  # the second image is kept, its label is not
        with pytest.raises(KilledError):
            convert(order)
    assert convert(order).records == 4
    images, labels = (kit.read(tmp_path / "db" / f"{name}_lmdb") for name in ("images", "labels"))
    assert [key for key, _ in images] == [key for key, _ in labels]
    assert len(images) == 4


def test_without_resume_a_killed_conversion_is_thrown_away(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order = Order(pictures / "list.txt", tmp_path / "db")
    with monkeypatch.context() as patch:
        killed_after(patch, 2)
        with pytest.raises(KilledError):
            convert(order)
    assert convert(order).records == 40
    assert "thrown away (--resume goes on" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["db"]


def test_another_list_is_not_gone_on_with(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        killed_after(patch, 2)
        with pytest.raises(KilledError):
            convert(Order(pictures / "list.txt", tmp_path / "db"))
    with pytest.raises(UsageError, match="another list or folder, or other options"):
        convert(Order(pictures / "list.txt", tmp_path / "db", limit=39, resume=True))


def test_two_conversions_at_once(pictures: Path, tmp_path: Path) -> None:
    order = Order(pictures / "list.txt", tmp_path / "db")
    with part_folder(order.out), pytest.raises(UsageError, match="another command is making"):
        convert(order)


def test_made_once(pictures: Path, tmp_path: Path) -> None:
    order = Order(pictures / "list.txt", tmp_path / "db")
    convert(order)
    before = (tmp_path / "db/data.mdb").stat().st_mtime_ns
    assert convert(order) == Made("classes", 40, 0, "lmdb", ["."], found=True)
    assert (tmp_path / "db/data.mdb").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="from another list or folder, or with other options"):
        convert(Order(pictures / "list.txt", tmp_path / "db", shuffle=True))


def test_what_is_in_the_way_stays(pictures: Path, tmp_path: Path) -> None:
    kit.write(tmp_path / "db/thesis.txt", "mine")
    with pytest.raises(UsageError, match="not made by this command"):
        convert(Order(pictures / "list.txt", tmp_path / "db"))
    assert (tmp_path / "db/thesis.txt").read_text() == "mine\n"


def test_the_map_grows_with_the_records(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from provision.data import lmdb_store

    monkeypatch.setattr(lmdb_store, "_ROOM", 1 << 16)
    assert len(made(pictures, tmp_path / "db")) == 40
    assert (tmp_path / "db/data.mdb").stat().st_size > 40 * 60 * 80 * 3


@pytest.mark.parametrize("said", ["No space left on device", "Input/output error"])
def test_a_full_disk_is_told(tmp_path: Path, said: str) -> None:
    base = writer(tmp_path / "db", "lmdb")

    class Full:
        """LMDB where a write is cut short or refused, in its own words."""

        def begin(self, **_: object) -> object:
            raise lmdb.Error(f"mdb_txn_commit: {said}") if "In" in said else lmdb.DiskError(f"mdb_txn_commit: {said}")

    base._env = Full()  # type: ignore[attr-defined]
    with pytest.raises(DiskError, match=f"no room to write .*{said}"):
        base.put([(b"a", b"b")])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a.jpg 1", "b.jpg one"], r"list.txt:2: 'b.jpg one': 'one' is no class's number"),
        (["a.jpg a.png", "b.jpg"], r"list.txt:2: 'b.jpg' is not an image and a label picture"),
        ([], "is empty"),
        (["nowhere.jpg 1"], "none of 1 pictures can be used; the first, nowhere.jpg, cannot be read"),
    ],
)
def test_wrong_lists(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        convert(Order(kit.write(tmp_path / "list.txt", *lines), tmp_path / "db"))
    assert not (tmp_path / "db").exists()


def test_blanks_in_paths(pictures: Path, tmp_path: Path) -> None:
    shutil.copy(pictures / "000.jpg", tmp_path / "my photo.jpg")
    convert(Order(kit.write(tmp_path / "list.txt", "my photo.jpg 3"), tmp_path / "db"))
    key, fields = kit.read(tmp_path / "db")[0]
    assert (key, fields[5]) == ("00000000_my photo.jpg", 3)


def test_command_says_what_it_would_make(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "lmdb", str(pictures / "list.txt"), str(tmp_path / "db")]
    assert run([*words, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["pictures"], len(told["databases"])) == ("classes", 40, 1)
    assert list(tmp_path.iterdir()) == []
    assert run([*words, "--encode-type", "webm"]) == 2
    assert "OpenCV cannot write pictures of type 'webm'" in capsys.readouterr().err
    assert run([*words, "--pad-value", "1,2"]) == 2
    assert "--pad-value 1,2 is no colour" in capsys.readouterr().err
    assert run([*words, "--json", "--resize", "32", "32", "--backend", "leveldb"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 40


@pytest.mark.parametrize(
    ("name", "package", "python", "mend"),
    [
        ("plyvel", "plyvel", (3, 12), "pip install plyvel, or all"),
        ("plyvel_next", "plyvel-next", (3, 13), "pip install plyvel-next, or all"),
        ("plyvel_next", "plyvel-next", (3, 15), "there is none for Python 3.15: take Python 3.10 to 3.14, or LMDB"),
    ],
)
def test_a_python_without_leveldb_is_told_how_to_get_it(
    name: str, package: str, python: tuple[int, int], mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leveldb, "_MODULE", name)
    monkeypatch.setattr(leveldb, "_PYTHON", python)
    monkeypatch.setitem(sys.modules, name, None)
    kit.write(tmp_path / "db" / "CURRENT", "MANIFEST-000002")
    for touch in (reader, lambda folder: writer(folder, "leveldb")):
        with pytest.raises(MissingExtraError, match=rf"LevelDB needs the package {package}\n") as caught:
            touch(tmp_path / "db")
        assert caught.value.mend.startswith(mend)


def test_leveldb_is_installed_where_pyproject_says() -> None:
    """With the extra `data`, each Python has the library of its own: plyvel, from 3.13 on plyvel-next."""
    if sys.version_info >= (3, 15):
        pytest.skip("no LevelDB library has wheels for this Python")
    assert leveldb.library().DB


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_folder_that_is_no_database(tmp_path: Path, backend: str) -> None:
    kit.write(tmp_path / "db" / {"lmdb": "data.mdb", "leveldb": "CURRENT"}[backend], "not a database")
    with pytest.raises(UsageError, match="cannot be"):
        reader(tmp_path / "db")
    with pytest.raises(UsageError, match="is not there"):
        reader(tmp_path / "nowhere")


def test_what_is_bad_is_counted_once_whatever_its_name(tmp_path: Path) -> None:
    odd = ("a\u2028.jpg", "b\nc.jpg", "d\x85\t.jpg")
    with Keeper(tmp_path, ["."], "lmdb") as keeper:
        for number, name in enumerate(odd):
            keeper.take(Record(Entry(number, name), bad="is empty"))
        keeper.take(Record(Entry(3, "e.jpg"), (b"value",)))
        keeper.flush()
        assert (tmp_path / "bad.txt").read_bytes().count(b"\n") == 3
    with Keeper(tmp_path, ["."], "lmdb") as again:
        assert (again.done, len(again.bad)) == (3, 3)


@pytest.mark.parametrize(
    ("shape", "sides", "bad"),
    [
        (Shape(pad=50), (40, 30), 1),  # padding makes them alike, and labels lie elsewhere
        (Shape(resize=(20, 20)), (40, 30), 1), (Shape(resize=(20, 20)), (15, 20), 0), (Shape(pad=50), (30, 40), 0),
        (Shape(pad=50), (15, 20), 1),
    ],
)  # fmt: skip
def test_a_label_picture_of_another_size_is_bad_also_where_both_get_one(
    shape: Shape, sides: tuple[int, int], bad: int, tmp_path: Path
) -> None:
    height, width = sides
    for name, (high, wide) in (("a", (30, 40)), ("good", (30, 40))):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), kit.cutting(1, high, wide))
    kit.label_picture(tmp_path / "a.png", np.zeros((height, width)))
    kit.label_picture(tmp_path / "good.png", np.zeros((30, 40)))
    listed = kit.write(tmp_path / "list.txt", "a.jpg a.png", "good.jpg good.png")
    assert convert(Order(listed, tmp_path / "db", shape=shape)).bad == bad
