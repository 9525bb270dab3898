"""`data get` without the network: the table, what is planned, sums and pins, and archives that would break out."""

import fcntl
import io
import json
import os
import re
import shutil
import stat
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from infra.errors import DiskError, HostError, UsageError
from provision.cli import run
from provision.data import datasets, download_notes, download_sources, downloads
from provision.data.datasets import File, Set
from provision.data.unpack import unpack
from provision.files import bar
from tests.unit.http_kit import Page, Web, serve

HELLO = b"hello\n"
SHA = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
MD5 = "b1946ac92492d2347c6235b4d2611184"
URL = "https://host.invalid/files/hello%20there.txt"


def chosen(**more: object) -> Set:
    return Set(about="a file", files=(File(**{"url": URL, "size": 6, **more}),))  # type: ignore[arg-type]


def fetched(web: Web) -> list[str]:
    """The addresses of which a body was asked for."""
    return [line.removeprefix("GET ") for line in web.asked if line.startswith("GET ")]


def lying(folder: Path, data: bytes = HELLO, name: str = "hello there.txt") -> Path:
    """A folder in which the user put the file."""
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
            for address in file.addresses:
                assert re.fullmatch(r"https?://\S+/\S+\.(tar|tgz|tar\.gz|zip)", address)
                assert File(url=address).name == file.name
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
        (["http://x/y.zip", "--md5", "z" * 32], "is no md5"), (["voc2007", "--sha256", "a" * 64], "has its own"),
        (["ftp://x/y"], "there is no data set"),
    ],
)  # fmt: skip
def test_words_that_mean_nothing(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get", *words]) == 2
    assert said in capsys.readouterr().err


# sums and pins


def test_a_published_sum_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(monkeypatch).pages[URL] = Page(HELLO)
    got = downloads.get(chosen(sha256=SHA, md5=MD5.upper()), tmp_path / "a")
    assert got.have[URL].sha256 == SHA and got.fetched == ["hello there.txt"]
    assert "hello there.txt: sha256 and md5 as published" in capsys.readouterr().err
    assert not download_notes.pins_path().exists()
    with pytest.raises(HostError, match=f"it is not what was published: its md5 is {MD5}, not {'0' * 32}"):
        downloads.get(chosen(md5="0" * 32), tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []
    assert downloads.missing(chosen(md5="0" * 32), tmp_path / "b")


def test_a_file_by_http_without_a_sum_is_not_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get", "http://host.invalid/files/x.bin", str(tmp_path / "a")]) == UsageError.exit_code
    err = capsys.readouterr().err
    assert "anyone on the way can change it" in err and "--sha256 SUM" in err
    assert not (tmp_path / "a").exists() and not download_notes.pins_path().exists()
    one = chosen(url=URL.replace("https:", "http:"), sha256=SHA)
    assert downloads.get(one, lying(tmp_path / "b")).have[one.files[0].url].sha256 == SHA
    for known in datasets.table().sets.values():
        download_sources.refuse_unproven([download_sources.wanted_file(file, known, ()) for file in known.files])


@pytest.mark.parametrize(
    "last",
    ["..%2F..%2F.bashrc", "%2Fetc%2Fpasswd", "%00", "a%0Ab", "a%1B%5B2Jb", ".provision-get.json", "x" * 201, ".."],
)
def test_a_file_of_an_address_lies_in_its_folder_under_a_plain_name(last: str) -> None:
    name = File(url=f"https://host.invalid/sets/{last}").name
    assert name in ("download", ".bashrc", "passwd") and "/" not in name


def test_a_file_without_a_published_sum_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    web = serve(monkeypatch)
    web.pages[URL] = Page(HELLO)
    downloads.get(chosen(), tmp_path / "a")
    assert f"pinned at first use: sha256 {SHA}" in capsys.readouterr().err
    assert json.loads(download_notes.pins_path().read_text())[URL]["sha256"] == SHA
    downloads.get(chosen(), tmp_path / "b")
    assert "as pinned on 20" in capsys.readouterr().err
    web.pages[URL] = Page(b"other\n")
    with pytest.raises(HostError, match=f"it is not the file that came on 20.*not {SHA}") as caught:
        downloads.get(chosen(), tmp_path / "c")
    assert str(download_notes.pins_path()) in caught.value.what
    assert list((tmp_path / "c").iterdir()) == []


def test_what_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch).pages[URL] = Page(HELLO)
    folder = tmp_path / "a"
    downloads.get(chosen(sha256=SHA), folder)
    assert downloads.missing(chosen(sha256=SHA), folder) == []
    assert downloads.missing(chosen(sha256="0" * 64), folder)  # the table names another version now
    (folder / "hello there.txt").write_bytes(b"shorter")
    assert downloads.missing(chosen(sha256=SHA), folder)


def test_an_older_version_that_was_fetched_gives_way_to_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = serve(monkeypatch)
    web.pages[URL] = Page(b"older\n")
    downloads.get(chosen(), tmp_path)
    web.pages[URL] = Page(HELLO)
    assert downloads.get(chosen(sha256=SHA), tmp_path).fetched == ["hello there.txt"]
    assert (tmp_path / "hello there.txt").read_bytes() == HELLO


# what a server sends in place of the file

HTML = b"\n<!-- moved --><!DOCTYPE html><title>Sign in</title>"


@pytest.mark.parametrize("page", [Page(HTML, "text/html; charset=utf-8"), Page(b"gone", "text/html"), Page(HTML)])
@pytest.mark.parametrize("unpacked", [False, True])
def test_a_page_in_place_of_the_file_is_neither_kept_nor_pinned(
    page: Page, unpacked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, url = serve(monkeypatch), "https://host.invalid/set.tgz"
    web.pages[url] = page
    what = Set(about="", files=(File(url=url, unpack=unpacked),))
    with pytest.raises(HostError, match="sent a page") as caught:
        downloads.get(what, tmp_path / "d")
    assert "see in a browser" in caught.value.mend and str(tmp_path / "d" / "set.tgz") in caught.value.mend
    assert list((tmp_path / "d").iterdir()) == [] and not download_notes.pins_path().exists()
    web.pages[url] = Page(packed(tmp_path / "x.tgz", ("ds/a", b"a")).read_bytes())
    assert downloads.get(what, tmp_path / "d").fetched == ["set.tgz"]
    assert url in download_notes.pins()


@pytest.mark.parametrize("name", ["hello there.txt.part", "hello there.txt.part.of"])
def test_a_link_in_the_place_of_what_has_arrived_is_not_written_through(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch).pages[URL] = Page(HELLO)
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="cannot be written: Too many levels of symbolic links"):
        downloads.get(chosen(sha256=SHA), tmp_path / "d")
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_page_that_was_asked_for_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, index_html=Page(HTML, "text/html"))
    assert run(["data", "get", "https://host.invalid/index.html", str(tmp_path / "d")]) == 0
    assert (tmp_path / "d" / "index.html").read_bytes() == HTML


@pytest.mark.parametrize("kind", ["cut", "text", "deflate"])
def test_an_archive_that_cannot_be_unpacked_is_fetched_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = packed(tmp_path / "good.tgz", ("ds/a", bytes(range(256)) * 400)).read_bytes()
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("ds/a", bytes(range(256)) * 400)
    broken = bytearray((tmp_path / "x.zip").read_bytes())
    broken[40:60] = b"\xff" * 20
    bad = {"cut": good[:-300], "text": b"quota\0exceeded", "deflate": bytes(broken)}[kind]
    web = serve(monkeypatch, ds_tgz=bad)
    words = ["data", "get", "https://host.invalid/ds.tgz", str(tmp_path / "d"), "--unpack"]
    assert run(words) == HostError.exit_code
    assert "it was removed, and is not pinned" in capsys.readouterr().err
    assert download_notes.pins() == {} and not (tmp_path / "d" / "ds.tgz").exists()
    web.pages["https://host.invalid/ds.tgz"] = Page(good)
    assert run(words) == 0
    assert (tmp_path / "d" / "ds" / "a").read_bytes() == bytes(range(256)) * 400


def test_what_may_be_a_half_is_told_and_not_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    web = serve(monkeypatch, net_caffemodel=Page(b"half", length=False))
    words = ["data", "get", "https://host.invalid/net.caffemodel"]
    assert run([*words, str(tmp_path / "a")]) == 0
    assert "it may be a half" in capsys.readouterr().err
    web.pages["https://host.invalid/net.caffemodel"] = Page(b"half and half")
    assert run([*words, str(tmp_path / "b")]) == 0
    assert (tmp_path / "b" / "net.caffemodel").read_bytes() == b"half and half"


def test_a_plain_tar_that_may_be_a_half_is_not_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that was cut between two files looks whole."""
    with tarfile.open(tmp_path / "whole.tar", "w") as out:
        for name in ("ds/a", "ds/b"):
            out.addfile(tarfile.TarInfo(name))
    serve(monkeypatch, ds_tar=Page((tmp_path / "whole.tar").read_bytes()[:512], length=False))
    assert run(["data", "get", "https://host.invalid/ds.tar", str(tmp_path / "d"), "--unpack"]) == 0
    assert "it may be a half" in capsys.readouterr().err and download_notes.pins() == {}


@pytest.mark.parametrize(
    ("name", "page", "code"),
    [
        ("net_caffemodel", Page(b""), 9), ("net_caffemodel", Page(b'{"error": "quota"}', "application/json"), 9),
        ("net_caffemodel", Page(b"<Error/>", "application/xml"), 9), ("set_json", Page(b"{}", "application/json"), 0),
        ("api", Page(b"{}", "application/json"), 0), ("api", Page(b"gone", "text/html"), 9),
        ("a_xml", Page(b"<a/>", "text/xml"), 0), ("net_caffemodel", Page(b'<?xml version="1.0"?><Error>'), 9),
        ("ds_zip", Page(b"Quota exceeded.\r\n", "text/plain"), 9), ("ds_tar", Page(b"try later\n"), 9),
        ("list_txt", Page(b"a.jpg 0\n", "text/plain"), 0), ("ds_zip", Page(b"PK\3\4..."), 0),
    ],
)  # fmt: skip
def test_nothing_and_messages_of_servers_are_no_files(
    name: str, page: Page, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, **{name: page})
    assert run(["data", "get", f"https://host.invalid/{name.replace('_', '.')}", str(tmp_path / "d")]) == code
    assert bool(download_notes.pins()) == (code == 0)
    assert code == 0 or list((tmp_path / "d").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "page", "said"),
    [
        ("net_caffemodel", Page(b"\x1f\x8b...", packed="gzip"), "compressed (Content-Encoding: gzip)"),
        ("net_caffemodel_gz", Page(b"...", packed="br"), "compressed (Content-Encoding: br)"),
        ("net_caffemodel", Page(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "pointer of Git LFS"),
        ("net_caffemodel_gz", Page(b"\x1f\x8b...", packed="x-gzip"), ""),
        ("net_caffemodel", Page(b"net", packed="aws-chunked"), ""),
    ],
)
def test_what_is_not_the_files_own_bytes_is_neither_kept_nor_pinned(
    name: str, page: Page, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    serve(monkeypatch, **{name: page})
    code = run(["data", "get", f"https://host.invalid/{name.replace('_', '.')}", str(tmp_path / "d")])
    assert code == (HostError.exit_code if said else 0) and said in capsys.readouterr().err
    assert bool(download_notes.pins()) == (not said)


@pytest.mark.parametrize("written", ["my set é.bin", "my%20set%20%C3%A9.bin"], ids=["as read", "quoted"])
def test_an_address_may_be_written_as_it_is_read(written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = serve(monkeypatch)
    web.pages["https://host.invalid/my%20set%20%C3%A9.bin"] = Page(HELLO)
    assert run(["data", "get", f"https://host.invalid/{written}", str(tmp_path / "d")]) == 0
    assert (tmp_path / "d/my set é.bin").read_bytes() == HELLO


def test_an_address_with_a_login_is_refused_and_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get", "https://me:secret@host.invalid/a.bin", str(tmp_path / "d")]) == 2
    said = capsys.readouterr().err
    assert "the address holds a login" in said and "--from FILE" in said and "secret" not in said
    assert not (tmp_path / "d").exists()


def test_two_addresses_with_one_name_do_not_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    web = serve(monkeypatch)
    one, two = "https://host.invalid/a/x.bin", "https://host.invalid/b/x.bin"
    web.pages[one], web.pages[two] = Page(b"AAAA"), Page(b"BBBB")
    assert run(["data", "get", one, str(tmp_path / "d")]) == 0
    assert run(["data", "get", two, str(tmp_path / "d")]) == UsageError.exit_code
    assert f"came from {one}" in capsys.readouterr().err
    assert list(download_notes.pins()) == [one] and two not in fetched(web)
    assert run(["data", "get", two, str(tmp_path / "e")]) == 0
    assert (tmp_path / "e" / "x.bin").read_bytes() == b"BBBB"


# other addresses, and what a user has


def test_the_mirrors_are_tried_in_their_order_and_held_against_the_same_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    web = serve(
        monkeypatch, dead=Page(code=503), page=Page(HTML, "text/html"), wrong=b"other\n", right=HELLO, last=HELLO
    )
    mirrors = tuple(f"https://host.invalid/{name}" for name in ("page", "wrong", "right", "last"))
    what = Set(about="", files=(File(url="https://host.invalid/dead", mirrors=mirrors, size=6, sha256=SHA),))
    assert downloads.get(what, tmp_path).fetched == ["dead"]
    assert (tmp_path / "dead").read_bytes() == HELLO
    assert [url.rpartition("/")[2] for url in fetched(web)] == ["dead"] * 3 + ["page", "wrong", "right"]
    said = capsys.readouterr().err
    assert "dead: host.invalid: 503 No; trying again in" in said and "trying https://host.invalid/right" in said
    assert downloads.missing(what, tmp_path) == []


def test_a_set_that_came_by_an_address_which_is_a_mirror_now_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, old=HELLO)
    downloads.get(Set(about="", files=(File(url="https://host.invalid/old"),)), tmp_path)
    moved = File(url="https://new.invalid/old", mirrors=("https://host.invalid/old",))
    assert downloads.missing(Set(about="", files=(moved,)), tmp_path) == []


@pytest.mark.parametrize("how", ["file", "folder", "url", "base"])
def test_a_file_is_taken_from_where_the_user_has_it(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = lying(tmp_path / "mine")
    web = serve(monkeypatch)
    web.pages["https://mirror.invalid/sets/hello%20there.txt"] = Page(HELLO)
    source = {"file": str(mine / "hello there.txt"), "folder": str(mine), "base": "https://mirror.invalid/sets/",
              "url": "https://mirror.invalid/sets/hello%20there.txt"}[how]  # fmt: skip
    words = ["data", "get", URL, str(tmp_path / "d"), "--from", source]
    assert run([*words, "--sha256", "0" * 64]) != 0
    assert (mine / "hello there.txt").read_bytes() == HELLO and not (tmp_path / "d" / "hello there.txt").exists()
    assert run([*words, "--sha256", SHA]) == 0
    assert (tmp_path / "d" / "hello there.txt").read_bytes() == (mine / "hello there.txt").read_bytes() == HELLO
    assert URL not in fetched(web)[-1:]


def test_a_source_that_gives_no_file_of_the_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get", "voc2007", str(tmp_path / "d"), "--from", str(tmp_path)]) == 2
    assert "it has VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar" in capsys.readouterr().err
    assert run(["data", "get", "voc2007", str(tmp_path / "d"), "--from", str(tmp_path / "none")]) == 2
    assert "is not there" in capsys.readouterr().err


def test_a_file_that_was_brought_by_hand_is_taken_without_more_room_and_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    web = serve(monkeypatch)
    folder = lying(tmp_path / "d")
    assert downloads.get(chosen(sha256=SHA, size=9 * 10**18), folder).taken == ["hello there.txt"]
    wrong = lying(tmp_path / "e", b"my own\n")
    with pytest.raises(UsageError, match=r"hello there\.txt: it is not what was published") as caught:
        downloads.get(chosen(sha256=SHA), wrong)
    assert "move it away" in caught.value.mend
    assert (wrong / "hello there.txt").read_bytes() == b"my own\n"
    assert web.asked == []
    assert downloads.get(chosen(), lying(tmp_path / "f")).taken == ["hello there.txt"]
    assert "not pinned" in capsys.readouterr().err and download_notes.pins() == {}


def test_an_archive_that_was_brought_by_hand_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch)
    (tmp_path / "d").mkdir()
    archive = packed(tmp_path / "d" / "x.tgz", ("ds/a", b"a"))
    what = Set(about="", files=(File(url="https://host.invalid/x.tgz", unpack=True),))
    assert downloads.get(what, tmp_path / "d").taken == ["x.tgz"]
    assert archive.exists() and (tmp_path / "d" / "ds" / "a").read_bytes() == b"a"
    shutil.rmtree(tmp_path / "d" / "ds")
    assert downloads.get(what, tmp_path / "d").taken == ["x.tgz"]
    assert archive.exists() and (tmp_path / "d" / "ds" / "a").read_bytes() == b"a"


def test_a_disk_without_room_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"9000000\.0 TB are needed"):
        downloads.get(chosen(size=9 * 10**18), tmp_path / "a")
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


def test_voc_and_sbd_have_a_lasting_address_and_others_behind_it() -> None:
    """The old host had outages; it stays as a mirror, so that what a folder has from there counts."""
    sets = datasets.table().sets
    for file in (*sets["voc2007"].files, *sets["voc2012"].files):
        assert file.url.startswith("https://thor.robots.ox.ac.uk/pascal/VOC/") and file.md5
        assert any(one.startswith("http://host.robots.ox.ac.uk/pascal/VOC/") for one in file.mirrors)
    (benchmark,) = sets["sbd"].files
    assert benchmark.url.startswith("https://www2.eecs.berkeley.edu/") and benchmark.size == 1_419_539_633


def test_a_second_command_waits_for_the_first_and_finds_all_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = serve(monkeypatch)
    web.pages[URL] = Page(HELLO)
    handle, told = os.open(tmp_path, os.O_RDONLY), threading.Event()
    fcntl.flock(handle, fcntl.LOCK_EX)
    found: list[list[str]] = []

    def say(text: str) -> None:
        if "another command" in text:
            told.set()

    second = threading.Thread(target=lambda: found.append(downloads.get(chosen(), tmp_path, say=say).fetched))
    second.start()
    assert told.wait(10) and fetched(web) == []
    (tmp_path / "hello there.txt").write_bytes(HELLO)
    download_notes.note(tmp_path, URL, download_notes.seen(SHA, 6))
    os.close(handle)
    second.join(10)
    assert found == [[]] and fetched(web) == []


# archives


def test_an_archive_is_unpacked_beside_what_is_there_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "voc"
    (folder / "VOCdevkit" / "VOC2007").mkdir(parents=True)
    (folder / "VOCdevkit" / "VOC2007" / "mine.txt").write_text("mine")
    archive = packed(tmp_path / "x.tgz", ("VOCdevkit/VOC2007/a.txt", b"a"), ("VOCdevkit/VOC2012/b.txt", b"b"))
    serve(monkeypatch, x_tgz=archive.read_bytes())
    what = Set(about="", files=(File(url="https://host.invalid/x.tgz", unpack=True),))
    assert downloads.get(what, folder).have["https://host.invalid/x.tgz"].unpacked == ["VOCdevkit"]
    there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert there == [
        ".provision-get.json", "VOCdevkit/VOC2007/a.txt", "VOCdevkit/VOC2007/mine.txt", "VOCdevkit/VOC2012/b.txt",
    ]  # fmt: skip
    assert downloads.missing(what, folder) == []


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


def test_an_archive_without_a_file_is_an_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "none.zip", "w"):
        pass
    for archive in (tmp_path / "none.zip", packed(tmp_path / "none.tgz")):
        with pytest.raises(UsageError, match="holds no file"):
            unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


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


@pytest.mark.parametrize("names", [("ds/a", "ds/a/b"), ("ds/a/b", "ds/a"), ("ds/" + "x" * 300,)])
def test_a_name_that_the_disk_does_not_take_is_the_archives(names: tuple[str, ...], tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.tar.gz", *((name, b"1") for name in names))
    with pytest.raises(UsageError, match=r"x.tar.gz holds a name that this disk does not take"):
        unpack(archive, tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


def test_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which is a link"):
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
