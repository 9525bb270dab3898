"""What is taken out of an image so that two builds of it are the same: its layers, byte code, dates; and what stays."""

import io
import json
import marshal
import py_compile
import struct
import tarfile
from pathlib import Path

import pytest

from infra.host import reproduce, script

EPOCH = 1795910400  # 2026-11-29
OLD = 1000000000


def layer(path: Path, *files: tuple[str, bytes], when: float = EPOCH + 5000.25) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(content), when, 0o640
            tar.addfile(info, io.BytesIO(content))
    return path


def read(path: Path) -> dict[str, tuple[float, bytes]]:
    with tarfile.open(path) as tar:
        return {
            one.name: (one.mtime, tar.extractfile(one).read() if one.isreg() else b"")  # type: ignore[union-attr]
            for one in tar
        }


def test_two_builds_of_a_layer_become_the_same_bytes(tmp_path: Path) -> None:
    for name, when, log in (("a", EPOCH + 60.5, b"first"), ("b", EPOCH + 7200.25, b"second build")):
        day = str(int(when) // 86400 + len(log)).encode()
        files = [
            ("etc/shadow", b"root:*:100:0:99999:7:::\ntrainer:!:" + day + b":0:99999:7:::\n"),
            ("etc/machine-id", log),
            ("var/log/apt/history.log", log),
            ("var/cache/ldconfig/aux-cache", log),
            ("usr/bin/tool", b"the same"),
        ]
        layer(tmp_path / f"{name}.tar", *files, when=when)
    digests = {reproduce.rewrite(str(tmp_path / f"{n}.tar"), str(tmp_path / f"{n}.new"), EPOCH) for n in "ab"}
    assert len(digests) == 1 and (tmp_path / "a.new").read_bytes() == (tmp_path / "b.new").read_bytes()
    assert read(tmp_path / "a.new") == {
        "etc/shadow": (EPOCH, b"root:*:100:0:99999:7:::\ntrainer:!:20786:0:99999:7:::\n"),
        "etc/machine-id": (EPOCH, b""),
        "usr/bin/tool": (EPOCH, b"the same"),
    }


def test_what_is_older_and_what_marks_a_file_as_gone_stays(tmp_path: Path) -> None:
    files = [("./var/log/.wh.dpkg.log", b""), ("./etc/shadow", b"root:*:100:0:99999:7:::\n"), ("./.wh.x", b"")]
    layer(tmp_path / "a.tar", *files, when=OLD)
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        for name, kind in (("var/log", tarfile.DIRTYPE), ("bin", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mtime = kind, "usr/bin" if name == "bin" else "", OLD
            tar.addfile(info)
    reproduce.rewrite(str(tmp_path / "a.tar"), str(tmp_path / "b.tar"), EPOCH)
    assert read(tmp_path / "b.tar") == {name: (OLD, content) for name, content in files} | {
        "var/log": (OLD, b""),
        "bin": (OLD, b""),
    }


def test_a_file_that_another_name_is_a_link_to_stays(tmp_path: Path) -> None:
    layer(tmp_path / "a.tar", ("var/log/kept", b"content"), ("var/log/gone", b"x"), when=OLD)
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        info = tarfile.TarInfo("usr/share/kept")
        info.type, info.linkname, info.mtime = tarfile.LNKTYPE, "var/log/kept", OLD
        tar.addfile(info)
    reproduce.rewrite(str(tmp_path / "a.tar"), str(tmp_path / "b.tar"), EPOCH)
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert tar.getnames() == ["var/log/kept", "usr/share/kept"]
        linked = tar.extractfile("usr/share/kept")
        assert linked is not None and linked.read() == b"content"


def test_attributes_of_files_stay(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("usr/bin/ping")
        info.pax_headers = {"SCHILY.xattr.security.capability": "cap", "mtime": f"{EPOCH + 9}.5", "atime": "1.5"}
        info.uid, info.mode = 3000000, 0o4755
        tar.addfile(info)
    reproduce.rewrite(str(tmp_path / "a.tar"), str(tmp_path / "b.tar"), EPOCH)
    with tarfile.open(tmp_path / "b.tar") as tar:
        [one] = tar.getmembers()
    assert one.pax_headers["SCHILY.xattr.security.capability"] == "cap" and "atime" not in one.pax_headers
    assert (one.uid, one.mode, one.mtime) == (3000000, 0o4755, EPOCH)


def test_byte_code_still_belongs_to_its_source(tmp_path: Path) -> None:
    """Python takes byte code only if it holds the source's own date; both become the same one."""
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    made = Path(py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP) or "")
    data = made.read_bytes()
    for moment, wanted in ((EPOCH + 99, EPOCH), (OLD, OLD)):
        dated = data[:8] + struct.pack("<I", moment) + data[12:]
        new = reproduce.byte_code(dated, EPOCH)
        assert struct.unpack("<I", new[8:12])[0] == wanted and new[12:] == data[12:]
    hashed = Path(py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH) or "")
    assert reproduce.byte_code(hashed.read_bytes(), EPOCH) == hashed.read_bytes()


@pytest.mark.parametrize(
    ("magic", "place"), [(62211, 4), (3350, 4), (3379, 4), (3413, 8)], ids=["2.7", "3.5", "3.6", "3.8"]
)
def test_the_date_is_where_each_python_has_it(magic: int, place: int) -> None:
    head = struct.pack("<H", magic) + b"\r\n" + bytes(place - 4)
    code = marshal.dumps("code of some length")
    new = reproduce.byte_code(head + struct.pack("<I", EPOCH + 1) + code, EPOCH)
    assert new == head + struct.pack("<I", EPOCH) + code
    assert reproduce.byte_code(b"no byte code", EPOCH) == b"no byte code"


def test_the_images_own_dates_are_clamped_and_its_layers_named() -> None:
    old = {
        "created": "2026-11-29T06:50:16.123456789Z",
        "history": [{"created": "2020-01-01T00:00:00.5Z", "created_by": "a"}, {"empty_layer": True}],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:a"]},
        "config": {"Labels": {"b": "c"}},
    }
    new = json.loads(reproduce.configuration(old, ["sha256:b"], EPOCH))
    assert new["created"] == "2026-11-29T00:00:00Z" and new["rootfs"]["diff_ids"] == ["sha256:b"]
    assert new["history"] == [{"created": "2020-01-01T00:00:00Z", "created_by": "a"}, {"empty_layer": True}]
    assert new["config"] == old["config"]


@pytest.mark.parametrize("modern", [True, False], ids=["25 and newer", "older"])
def test_what_docker_saved_is_packed_with_the_bases_layers_as_they_were(modern: bool, tmp_path: Path) -> None:
    """Newer engines save blobs by their digests; older ones name a layer that comes twice by a link."""
    names = ["blobs/sha256/aa", "blobs/sha256/bb"] if modern else ["aa/layer.tar", "bb/layer.tar"]
    base = layer(tmp_path / "base.tar", ("etc/debian_version", b"12"), when=EPOCH + 1.5).read_bytes()
    own = layer(tmp_path / "own.tar", ("opt/x", b"x")).read_bytes()
    config = {"created": "2027-01-01T00:00:00Z", "rootfs": {"diff_ids": ["sha256:aa", "sha256:bb", "sha256:bb"]}}
    layers = [*names, "cc/layer.tar" if not modern else names[1]]
    manifest = [{"Config": "config.json", "RepoTags": ["x:y-unchecked"], "Layers": layers}]
    saved = io.BytesIO()
    with tarfile.open(fileobj=saved, mode="w") as tar:
        if not modern:
            link = tarfile.TarInfo("cc/layer.tar")
            link.type, link.linkname = tarfile.SYMTYPE, "../bb/layer.tar"
            tar.addfile(link)
        texts = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
        for name, data in {names[0]: base, names[1]: own, **texts}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    saved.seek(0)
    (tmp_path / "there").mkdir()
    reproduce.unpack(saved, str(tmp_path / "there"))
    packed = io.BytesIO()
    reproduce.pack(reproduce.repacked(str(tmp_path / "there"), "x:y", 1, EPOCH), packed)
    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        files = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
    [said] = json.loads(files["manifest.json"])
    assert said["RepoTags"] == ["x:y"] and files[said["Layers"][0]] == base
    assert files[said["Layers"][1]] == files[said["Layers"][2]] != own
    assert json.loads(files[said["Config"]])["rootfs"]["diff_ids"][0] == "sha256:aa"


def test_the_script_runs_alone() -> None:
    text = script("reproduce.py")
    assert "import infra" not in text and "from infra" not in text
    compile(text, "reproduce.py", "exec")
