"""Archives as other systems make them: names in any code page, and what is a zip or a tar by its first bytes alone."""

import binascii
import gzip
import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from infra.errors import DiskError, UsageError
from provision.cli import run
from provision.data.unpack import unpack
from tests.unit.http_kit import serve

CATS = "猫狗/表示.jpg"


class _Raw(zipfile.ZipInfo):
    """A member whose name is written as these bytes, with these flags."""

    def __init__(self, name: bytes, flags: int) -> None:
        super().__init__(f"{binascii.crc32(name):08x}")
        self._name, self._flags = name, flags

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self._name, self._flags


def zipped(path: Path, *names: bytes, flags: int = 0, extra: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name in names:
            member = _Raw(name, flags)
            member.extra = extra
            out.writestr(member, name)
    return path


def tarred(path: Path, name: str, data: bytes = b"1", encoding: str = "utf-8") -> Path:
    with tarfile.open(path, "w", encoding=encoding, format=tarfile.GNU_FORMAT) as out:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        out.addfile(member, io.BytesIO(data))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("encoding", ["gbk", "shift_jis", "cp932", "big5"])
def test_names_in_a_code_page_are_asked_for_and_come_out_right(encoding: str, tmp_path: Path) -> None:
    name = "表示/能.jpg"  # in Shift-JIS their second bytes are backslashes
    archive = zipped(tmp_path / "x.zip", name.encode(encoding), b"plain.txt")
    with pytest.raises(UsageError, match=r"x\.zip holds names in an encoding that it does not tell \(1\)") as caught:
        unpack(archive, tmp_path / "out")
    assert f"{name} in {encoding.replace('shift_jis', 'cp932')}" in caught.value.what
    assert "--names-encoding" in caught.value.mend and names(tmp_path / "out") == []
    assert unpack(archive, tmp_path / "out", encoding=encoding) == ["plain.txt", "表示"]
    assert names(tmp_path / "out") == ["plain.txt", name]
    with pytest.raises(UsageError, match=r"holds names that are no ascii"):
        unpack(archive, tmp_path / "other", encoding="ascii")


@pytest.mark.parametrize(("encoding", "name"), [("cp437", "café.jpg"), ("cp850", "Ñandú.jpg"), ("cp866", "кот.jpg")])
def test_code_pages_of_dos_are_asked_for_too(encoding: str, name: str, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", name.encode(encoding))
    with pytest.raises(UsageError, match=f"{name} in {encoding}"):
        unpack(archive, tmp_path / "out")
    unpack(archive, tmp_path / "out", encoding=encoding)
    assert names(tmp_path / "out") == [name]


def test_a_name_that_tells_its_encoding_needs_no_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, text = CATS.encode("gbk"), CATS.encode()
    field = struct.pack("<HHBI", 0x7075, 5 + len(text), 1, binascii.crc32(raw)) + text  # Info-ZIP's
    unpack(zipped(tmp_path / "a.zip", text, flags=0x800), tmp_path / "flag")
    unpack(zipped(tmp_path / "b.zip", raw, extra=field), tmp_path / "extra")
    assert names(tmp_path / "flag") == names(tmp_path / "extra") == [CATS]
    assert capsys.readouterr().err == ""
    wrong = struct.pack("<HHBI", 0x7075, 5 + len(text), 1, 1) + text  # of another name: one that was changed since
    with pytest.raises(UsageError, match="does not tell"):
        unpack(zipped(tmp_path / "c.zip", raw, extra=wrong), tmp_path / "other")


def test_what_is_taken_as_utf8_untold_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unpack(zipped(tmp_path / "mac.zip", CATS.encode()), tmp_path / "out")
    assert names(tmp_path / "out") == [CATS]
    assert f"mac.zip: names such as {CATS} are taken as UTF-8" in capsys.readouterr().err
    one = zipped(tmp_path / "one.zip", "猫.jpg".encode("gbk"))  # two letters that are one of UTF-8, too
    unpack(one, tmp_path / "guess")
    assert "è.jpg are taken as UTF-8; in another encoding: --names-encoding" in capsys.readouterr().err
    unpack(one, tmp_path / "right", encoding="gbk")
    assert names(tmp_path / "right") == ["猫.jpg"] and capsys.readouterr().err == ""


def test_a_tars_names_stay_bytes_or_are_read_as_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tarred(tmp_path / "x.tar", CATS, encoding="gbk")
    unpack(archive, tmp_path / "bytes")
    assert [os.fsencode(name) for name in names(tmp_path / "bytes")] == [CATS.encode("gbk")]
    assert "are no UTF-8, and stay as they are: --names-encoding" in capsys.readouterr().err
    unpack(archive, tmp_path / "text", encoding="gbk")
    assert names(tmp_path / "text") == [CATS] and capsys.readouterr().err == ""


def test_an_archive_of_untold_names_is_not_fetched_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    web = serve(monkeypatch, ds_zip=zipped(tmp_path / "x.zip", CATS.encode("gbk")).read_bytes())
    words = ["data", "get", "https://host.invalid/ds.zip", str(tmp_path / "d"), "--unpack"]
    assert run(words) == 2
    assert f"{CATS} in gbk" in capsys.readouterr().err
    assert run([*words, "--names-encoding", "gbk"]) == 0
    assert names(tmp_path / "d") == [".provision-get.json", CATS]
    assert sum(line.startswith("GET") for line in web.asked) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--unpack", "--names-encoding", "no-such"], "'no-such' is no encoding of file names"),
        (["--unpack", "--names-encoding", "utf-16"], "'utf-16' is no encoding of file names"),
        (["--unpack", "--names-encoding", "base64"], "'base64' is no encoding of file names"),
        (["--names-encoding", "gbk"], "is for an archive that is unpacked"),
    ],
)
def test_an_encoding_that_is_none_is_refused_first(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "get", "https://host.invalid/ds.zip", str(tmp_path / "d"), *words]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "d").exists()


def test_a_folder_whose_names_are_no_utf8_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    web = serve(monkeypatch, ds_tar=tarred(tmp_path / "x.tar", "狗.jpg", encoding="gbk").read_bytes())
    for _ in range(2):
        assert run(["data", "get", "https://host.invalid/ds.tar", str(tmp_path / "d"), "--unpack"]) == 0
    assert sum(line.startswith("GET") for line in web.asked) == 1
    assert "nothing: all is there already" in capsys.readouterr().out


def test_an_archive_is_what_its_first_bytes_say(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", b"inside.txt").read_bytes()
    unpack(tarred(tmp_path / "x.tar", "inner.zip", inner), tmp_path / "tar")  # its end is a zip's
    assert names(tmp_path / "tar") == ["inner.zip"] and (tmp_path / "tar/inner.zip").read_bytes() == inner
    (tmp_path / "x.exe").write_bytes(b"MZ" + bytes(500) + inner)  # that unpacks itself
    unpack(tmp_path / "x.exe", tmp_path / "exe")
    assert names(tmp_path / "exe") == ["inside.txt"]
    (tmp_path / "cut.zip").write_bytes(inner[:40])
    with pytest.raises(UsageError, match="is a zip archive without its end"):
        unpack(tmp_path / "cut.zip", tmp_path / "cut")


def test_a_tar_that_holds_more_than_the_disk_is_refused_before_it_fills_it(tmp_path: Path) -> None:
    member = tarfile.TarInfo("big")
    member.size = 1 << 60
    with gzip.open(tmp_path / "x.tgz", "wb") as out:
        out.write(member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    with pytest.raises(DiskError, match="no room"):
        unpack(tmp_path / "x.tgz", tmp_path / "out")
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("place", [(6, 8), (8, 10)])
def test_what_only_other_programs_unpack_is_kept_and_said(
    place: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(zipped(tmp_path / "x.zip", b"a.txt").read_bytes())
    for at, start in zip(place, (0, data.rfind(b"PK\1\2")), strict=True):  # encrypted; deflate64
        data[start + at] |= 9
    serve(monkeypatch, ds_zip=bytes(data))
    assert run(["data", "get", "https://host.invalid/ds.zip", str(tmp_path / "d"), "--unpack"]) == 2
    said = capsys.readouterr().err
    assert "cannot be unpacked" in said and "unpack it by hand" in said
    assert (tmp_path / "d/ds.zip").exists()
