"""`data get` without the network: the table, what is planned, sums and pins, and archives that would break out."""

import io
import json
import re
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from infra.errors import DiskError, HostError, UsageError
from provision.cli import run
from provision.data import datasets
from provision.data.datasets import File, Set
from provision.data.unpack import unpack
from provision.files import bar

HELLO = b"hello\n"
SHA = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
MD5 = "b1946ac92492d2347c6235b4d2611184"
URL = "https://host.invalid/files/hello%20there.txt"


def chosen(**more: object) -> Set:
    return Set(about="a file", files=(File(**{"url": URL, "size": 6, **more}),))  # type: ignore[arg-type]


def lying(folder: Path, data: bytes = HELLO, name: str = "hello there.txt") -> Path:
    """A folder in which the file lies as a download leaves it that was killed before it was checked."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder


def packed(path: Path, *members: tuple[str, bytes | str]) -> Path:
    """A tar with files (bytes) and links (text)."""
    with tarfile.open(path, "w:gz") as out:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                out.addfile(info)
            else:
                info.size = len(content)
                out.addfile(info, io.BytesIO(content))
    return path


# the table


def test_every_file_of_the_table_has_a_source_and_sums_that_can_be() -> None:
    table = datasets.table()
    assert {"voc2007", "voc2012", "sbd", "coco2014", "coco2017", "visual-genome", "cifar10"} <= set(table.sets)
    for name, one in table.sets.items():
        assert one.licence and one.licence_url.startswith("http"), name
        assert len({file.name for file in one.files}) == len(one.files), name
        for file in one.files:
            assert file.sources and set(file.sources) <= set(table.sources), file.url
            assert re.fullmatch(r"https?://\S+/\S+\.(tar|tgz|tar\.gz|zip)", file.url)
            assert re.fullmatch(r"([0-9a-f]{64})?", file.sha256) and re.fullmatch(r"([0-9a-f]{32})?", file.md5)


def test_one_file_in_two_sets_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    seen: dict[str, File] = {}
    for one in datasets.table().sets.values():
        for file in one.files:
            assert seen.setdefault(file.url, file) == file


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get"]) == 0
    said = capsys.readouterr().out
    assert "voc2012" in said
    assert "20.4 GB" in said
    assert "CC BY 4.0" in said
    assert run(["data", "get", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["voc2012"]["files"][0]["md5"] == "6cd6e144f989b92b3379bac3b3de84fd"


def test_what_would_be_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get", "voc2007", str(tmp_path / "voc"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "VOCtest_06-Nov-2007.tar" in said
    assert "md5" in said
    assert run(["data", "get", "visual-genome", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == "visual-genome"
    assert told["licence"] == "CC BY 4.0"
    assert [one["url"].rsplit("/")[-1] for one in told["fetch"]] == [
        "objects.json.zip", "image_data.json.zip", "images.zip", "images2.zip",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["voc2013"], "did you mean voc2012"), (["http://x/y.zip", "--sha256", "abc"], "is no sha256"),
        (["http://x/y.zip", "--md5", "z" * 32], "is no md5"), (["ftp://x/y"], "there is no data set"),
    ],
)  # fmt: skip
def test_words_that_mean_nothing(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get", *words]) == 2
    assert said in capsys.readouterr().err


# sums and pins


def test_a_published_sum_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    have = datasets.get(chosen(sha256=SHA, md5=MD5.upper()), lying(tmp_path / "a"))
    assert have[URL].sha256 == SHA
    assert "hello there.txt: sha256 and md5 as published" in capsys.readouterr().err
    assert not datasets.pins_path().exists()
    with pytest.raises(HostError, match=f"its md5 is {MD5}, not {'0' * 32}"):
        datasets.get(chosen(md5="0" * 32), lying(tmp_path / "b"))
    assert not (tmp_path / "b" / "hello there.txt").exists()
    assert datasets.missing(chosen(md5="0" * 32), tmp_path / "b")


def test_a_file_by_http_without_a_sum_is_not_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get", "http://host.invalid/files/x.bin", str(tmp_path / "a")]) == UsageError.exit_code
    err = capsys.readouterr().err
    assert "anyone on the way can change it" in err and "--sha256 SUM" in err
    assert not (tmp_path / "a").exists() and not datasets.pins_path().exists()
    one = chosen(url=URL.replace("https:", "http:"), sha256=SHA)
    assert datasets.get(one, lying(tmp_path / "b"))[one.files[0].url].sha256 == SHA
    for known in datasets.table().sets.values():
        datasets._refuse_unproven(list(known.files))


@pytest.mark.parametrize(
    "last",
    ["..%2F..%2F.bashrc", "%2Fetc%2Fpasswd", "%00", "a%0Ab", "a%1B%5B2Jb", ".provision-get.json", "x" * 201, ".."],
)
def test_a_file_of_an_address_lies_in_its_folder_under_a_plain_name(last: str) -> None:
    name = File(url=f"https://host.invalid/sets/{last}").name
    assert name in ("download", ".bashrc", "passwd") and "/" not in name


def test_a_file_without_a_published_sum_is_pinned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datasets.get(chosen(), lying(tmp_path / "a"))
    assert f"pinned at first use: sha256 {SHA}" in capsys.readouterr().err
    assert json.loads(datasets.pins_path().read_text())[URL]["sha256"] == SHA
    datasets.get(chosen(), lying(tmp_path / "b"))
    assert "as pinned on 20" in capsys.readouterr().err
    with pytest.raises(HostError, match="is not the file that came on") as caught:
        datasets.get(chosen(), lying(tmp_path / "c", b"other\n"))
    assert str(datasets.pins_path()) in caught.value.mend
    assert not (tmp_path / "c" / "hello there.txt").exists()


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    folder = lying(tmp_path / "a")
    datasets.get(chosen(sha256=SHA), folder)
    assert datasets.missing(chosen(sha256=SHA), folder) == []
    assert datasets.missing(chosen(sha256="0" * 64), folder)  # the table names another version now
    (folder / "hello there.txt").write_bytes(b"shorter")
    assert datasets.missing(chosen(sha256=SHA), folder)


def test_a_disk_without_room_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"9000000\.0 TB are needed"):
        datasets.get(chosen(size=9 * 10**18), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_takes_long_is_told_by_tenths(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with bar.Bar("quick.tar", 1000) as quick:
        for done in range(0, 1001, 5):
            quick.at(done)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(bar, "_LEAST_S", 0)
    with bar.Bar("large.tar") as large:
        for done in range(0, 1_000_001, 1000):
            large.at(done, 1_000_000)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "  large.tar: 100.0 KB of 1.0 MB"
    assert said[-1] == "  large.tar: 1.0 MB of 1.0 MB"
    assert len(said) == 10


# archives


def test_an_archive_is_unpacked_beside_what_is_there_and_goes(tmp_path: Path) -> None:
    folder = tmp_path / "voc"
    (folder / "VOCdevkit" / "VOC2007").mkdir(parents=True)
    (folder / "VOCdevkit" / "VOC2007" / "mine.txt").write_text("mine")
    packed(folder / "x.tgz", ("VOCdevkit/VOC2007/a.txt", b"a"), ("VOCdevkit/VOC2012/b.txt", b"b"))
    what = Set(about="", files=(File(url="https://host.invalid/x.tgz", size=1, unpack=True),))
    have = datasets.get(what, folder)
    assert have["https://host.invalid/x.tgz"].unpacked == ["VOCdevkit"]
    there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert there == [
        ".provision-get.json", "VOCdevkit/VOC2007/a.txt", "VOCdevkit/VOC2007/mine.txt", "VOCdevkit/VOC2012/b.txt",
    ]  # fmt: skip
    assert datasets.missing(what, folder) == []


def test_zip_and_tar_and_no_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("train2017/1.jpg", b"1" * 1000)
        out.writestr("empty/", b"")  # ZipFile.mkdir came with Python 3.11
    assert unpack(tmp_path / "a.zip", tmp_path / "zip") == ["empty", "train2017"]
    assert (tmp_path / "zip/train2017/1.jpg").read_bytes() == b"1" * 1000
    assert unpack(packed(tmp_path / "b.tar.gz", ("./x/y", b"y")), tmp_path / "tar") == ["x"]
    (tmp_path / "c.zip").write_text("<html>")
    with pytest.raises(UsageError, match="neither a tar nor a zip"):
        unpack(tmp_path / "c.zip", tmp_path / "none")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil-provision", "a/../../evil", "..\\evil"])
def test_nothing_gets_out_of_the_folder(name: str, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with pytest.raises(UsageError, match="outside of the folder; nothing was unpacked"):
        unpack(packed(tmp_path / "x.tar.gz", ("good", b"1"), (name, b"2")), target)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as out:
        out.writestr("good", b"1")
        out.writestr(zipfile.ZipInfo(name), b"2")
    with pytest.raises(UsageError, match="outside of the folder"):
        unpack(tmp_path / "x.zip", target)
    assert list(target.iterdir()) == []
    assert not list(tmp_path.rglob("*evil*"))
    assert not Path("/tmp/evil-provision").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither file nor folder"):
        unpack(packed(tmp_path / "x.tar.gz", ("way", "/etc"), ("way/passwd", b"2")), tmp_path / "target")
    link = zipfile.ZipInfo("way")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as out:
        out.writestr(link, "/etc")
    with pytest.raises(UsageError, match="which is a link"):
        unpack(tmp_path / "x.zip", tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


def test_an_archive_that_was_cut_off_leaves_nothing(tmp_path: Path) -> None:
    whole = packed(tmp_path / "x.tar.gz", ("a", b"\0" * 100_000), ("b", bytes(range(256)) * 4000))
    whole.write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(UsageError, match="cannot be unpacked"):
        unpack(whole, tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []
