"""Sources for real: a git repository of one's own, and Debian's source package through apt with its checks."""

import tarfile
from pathlib import Path

import msgspec
import pytest

from images.choose import stacks
from images.source import resolve
from images.stacks import Stack
from infra import debsource
from infra.debsource import SourcePackage
from infra.errors import ImageError
from infra.shell import LocalShell

pytestmark = pytest.mark.engine
SHELL = LocalShell()
WHO = ["-c", "user.name=A", "-c", "user.email=a@example.org"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "src" / "caffe").mkdir(parents=True)
    (folder / "src" / "caffe" / "a.cpp").write_text("int a;\n")
    SHELL.run(["git", "init", "-q", str(folder)])
    SHELL.run(["git", "-C", str(folder), "add", "."])
    SHELL.run(["git", "-C", str(folder), *WHO, "commit", "-q", "-m", "one"])
    return folder


def at_its_head(repository: Path) -> Stack:
    head = SHELL.run(["git", "-C", str(repository), "rev-parse", "HEAD"]).out.strip()
    return msgspec.structs.replace(stacks()["caffe"], revision=head)


@pytest.mark.parametrize("bare", [False, True])
def test_the_pinned_commit_comes_out_of_a_local_repository(bare: bool, repository: Path, tmp_path: Path) -> None:
    stack = at_its_head(repository)
    (repository / "src" / "caffe" / "a.cpp").write_text("changed, and not committed\n")
    place = repository
    if bare:
        place = tmp_path / "bare.git"
        SHELL.run(["git", "clone", "-q", "--bare", str(repository), str(place)])
    source = resolve(stack, tmp_path / "cache", mirror=str(place))
    assert (source.kind, source.identity, source.arguments) == ("mirror", "", {})
    assert source.tar is not None
    with tarfile.open(source.tar) as tar:
        assert tar.getnames() == ["src", "src/caffe", "src/caffe/a.cpp"]
        inner = tar.extractfile("src/caffe/a.cpp")
        assert inner is not None and inner.read() == b"int a;\n"


def test_a_repository_without_the_commit_says_how_to_get_it(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot give the commit 9b891540") as error:
        resolve(stacks()["caffe"], tmp_path / "cache", mirror=str(repository))
    assert "fetch https://github.com/BVLC/caffe" in error.value.mend
    assert list((tmp_path / "cache").iterdir()) == []


def test_debians_source_package_comes_checked_and_only_once(tmp_path: Path) -> None:
    said: list[str] = []
    first = resolve(stacks()["caffe"], tmp_path, debian=True, on_line=said.append)
    assert first.revision == "99bd99795dcdf0b1d3086a8d67ab1782a8a08383"
    assert any("fetching" in line for line in said)
    assert first.tar is not None
    with tarfile.open(first.tar) as tar:
        assert {"Makefile", "src/caffe/net.cpp", "include/caffe/net.hpp"} <= set(tar.getnames())
    whole = first.tar.read_bytes()
    first.tar.unlink()
    said.clear()
    again = resolve(stacks()["caffe"], tmp_path, debian=True, on_line=said.append)
    assert said == [] and again.tar is not None and again.tar.read_bytes() == whole


def test_a_version_that_the_mirror_lacks_is_told(tmp_path: Path) -> None:
    gone = SourcePackage("caffe", "0.0.1-1", "debian:bullseye")
    with pytest.raises(ImageError, match=r"caffe 0\.0\.1-1 cannot be fetched") as error:
        debsource.fetch(gone, tmp_path, SHELL)
    assert "--source-mirror" in error.value.mend
    assert list(tmp_path.iterdir()) == []
