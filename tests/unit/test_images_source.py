"""Sources: what a folder, a tar or an address becomes, and what cannot be one."""

import io
import tarfile
from pathlib import Path

import msgspec
import pytest

from images import source
from images.choose import choose
from images.distributions import distribution
from images.source import PINNED, is_address, pack, pack_folder, resolve
from images.stacks import Stack
from infra.debsource import SourcePackage
from infra.errors import UsageError


def compiled() -> Stack:
    """A stack that is compiled from a tree."""
    return msgspec.structs.replace(
        choose("caffe-debian").stack,
        name="caffe",
        files=("get_source.sh",),
        revision="9b891540183ddc834a02b2bd81b31afae71b2153",
    )


def tree(folder: Path, text: str = "int main() {}\n") -> Path:
    (folder / "src" / "caffe").mkdir(parents=True)
    (folder / "src" / "caffe" / "a.cpp").write_text(text)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o777)
    (folder / "link").symlink_to("src/caffe")
    return folder


def test_the_same_tree_packs_to_the_same_bytes(tmp_path: Path) -> None:
    first, second = tree(tmp_path / "one"), tree(tmp_path / "two")
    (second / "run.sh").touch()
    (second / ".git").mkdir()
    (second / ".git" / "HEAD").write_text("x")
    one, two = pack_folder(first, tmp_path / "1.tar"), pack_folder(second, tmp_path / "2.tar")
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as tar:
        assert tar.getnames() == ["link", "run.sh", "src", "src/caffe", "src/caffe/a.cpp"]
        assert (tar.getmember("run.sh").mode, tar.getmember("link").linkname) == (0o755, "src/caffe")


@pytest.mark.parametrize("top", ["", "caffe-1.0/"])
def test_a_tar_may_have_a_top_folder_or_none(top: str, tmp_path: Path) -> None:
    given = tmp_path / "given.tar.gz"
    with tarfile.open(given, "w:gz") as tar:
        for name in sorted(path.name for path in tree(tmp_path / "t").iterdir()):
            tar.add(tmp_path / "t" / name, f"{top}{name}")
    source = resolve(compiled(), tmp_path / "cache", mirror=str(given))
    assert source.kind == "tree" and source.arguments == {"REVISION": "unknown"}
    assert source.tar is not None
    with tarfile.open(source.tar) as tar:
        assert "src/caffe/a.cpp" in tar.getnames()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [source.tar.name], "a part was left"


def test_a_tar_that_leads_out_of_itself_is_refused(tmp_path: Path) -> None:
    given = tmp_path / "bad.tar"
    with tarfile.open(given, "w") as tar:
        tar.addfile(tarfile.TarInfo("a/../../etc/passwd"), io.BytesIO())
    with pytest.raises(UsageError, match="leads out of it"):
        pack(given, tmp_path / "out.tar")
    assert not (tmp_path / "out.tar").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"mirror": "/nowhere/caffe"}, "is not there"),
        ({"mirror": "NOTAR"}, "no tar that can be read"),
        ({"mirror": "https://example.org/caffe", "debian": True}, "two sources"),
    ],
)
def test_sources_that_cannot_be_are_refused(words: dict[str, object], said: str, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no tar")
    given = {key: str(tmp_path / "note.txt") if value == "NOTAR" else value for key, value in words.items()}
    with pytest.raises(UsageError, match=said):
        resolve(compiled(), tmp_path / "cache", **given)  # type: ignore[arg-type]


def test_a_stack_of_packages_has_no_source_to_choose(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not compiled from a source tree"):
        resolve(choose("caffe-debian").stack, tmp_path, mirror="https://example.org/x")
    with pytest.raises(UsageError, match="Debian has no source package of caffe-ssd"):
        resolve(msgspec.structs.replace(compiled(), name="caffe-ssd"), tmp_path, debian=True)
    assert resolve(choose("caffe-debian").stack, tmp_path) is PINNED


def test_an_address_goes_into_the_build_and_nothing_is_fetched(tmp_path: Path) -> None:
    source = resolve(compiled(), tmp_path, mirror="https://mirror.example/caffe.git")
    assert source.arguments == {"SOURCE": "https://mirror.example/caffe.git"}
    assert is_address("git@example.org:caffe.git") and not is_address("some/folder")


@pytest.mark.parametrize(
    "address",
    [
        "https://me:s3cret@git.example/caffe.git",
        "https://s3cret@git.example/caffe.git",
        "HTTP://me:s3cret@git.example/caffe.git",
        "ssh://git:s3cret@git.example/caffe.git",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_repeated(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        resolve(compiled(), tmp_path, mirror=address)
    assert "password" in error.value.what and "git clone --bare" in error.value.mend
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "address", ["https://git.example/a@b.git", "ssh://git@git.example:22/caffe", "git@x.org:caffe"]
)
def test_an_address_without_one_is_taken(address: str, tmp_path: Path) -> None:
    assert resolve(compiled(), tmp_path, mirror=address).url == address


def test_debians_package_ends_with_its_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[SourcePackage] = []

    def fetch(package: SourcePackage, folder: Path, *_: object) -> Path:
        asked.append(package)
        pack_folder(tree(tmp_path / "tree"), tmp_path / "orig.tar")
        return tmp_path / "orig.tar"

    later = msgspec.structs.replace(distribution("debian11"), end_of_life="2031-02-03")
    monkeypatch.setattr(source, "fetch", fetch)
    monkeypatch.setattr(source, "distribution", {"debian11": later}.__getitem__)
    assert resolve(compiled(), tmp_path / "cache", debian=True).kind == "debian"
    assert [(one.name, one.base, one.end_of_life) for one in asked] == [("caffe", "debian:bullseye", "2031-02-03")]
