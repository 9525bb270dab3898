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
from infra.errors import ImageError, ProvisionError
from infra.shell import LocalShell, Result, Words

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


def commit(bare: Path, repository: Path, text: str) -> None:
    """A commit more, there and in the bare repository."""
    (repository / "src" / "caffe" / "a.cpp").write_text(text)
    SHELL.run(["git", "-C", str(repository), *WHO, "commit", "-q", "-a", "-m", text])
    SHELL.run(["git", "-C", str(repository), "push", "-q", str(bare), "HEAD"])


@pytest.mark.parametrize("bare", [False, True])
def test_the_pinned_commit_comes_out_of_a_local_repository(bare: bool, repository: Path, tmp_path: Path) -> None:
    stack = at_its_head(repository)
    place = repository
    if bare:
        place = tmp_path / "bare.git"
        SHELL.run(["git", "clone", "-q", "--bare", str(repository), str(place)])
        commit(place, repository, "later")
    source = resolve(stack, tmp_path / "cache", mirror=str(place))
    assert (source.kind, source.identity, source.arguments) == ("mirror", "", {})
    assert source.tar is not None
    with tarfile.open(source.tar) as tar:
        assert tar.getnames() == ["src", "src/caffe", "src/caffe/a.cpp"]
        inner = tar.extractfile("src/caffe/a.cpp")
        assert inner is not None and inner.read() == b"int a;\n"


@pytest.mark.parametrize("how", ["changed", "a new file", "committed", "without a commit"])
def test_a_checkout_with_work_of_its_owner_goes_in_as_it_is(how: str, repository: Path, tmp_path: Path) -> None:
    stack = at_its_head(repository)
    name = "b.cpp" if how == "a new file" else "a.cpp"
    (repository / "src" / "caffe" / name).write_text("int mine;\n")
    if how == "committed":
        SHELL.run(["git", "-C", str(repository), *WHO, "commit", "-q", "-a", "-m", "two"])
    if how == "without a commit":
        SHELL.run(["git", "-C", str(repository), "update-ref", "-d", "HEAD"])
    said: list[str] = []
    source = resolve(stack, tmp_path / "cache", mirror=str(repository), on_line=said.append)
    assert (source.kind, source.arguments) == ("tree", {"REVISION": "unknown"}) and source.identity
    assert source.tar is not None
    with tarfile.open(source.tar) as tar:
        inner = tar.extractfile(f"src/caffe/{name}")
        assert inner is not None and inner.read() == b"int mine;\n"
        assert not any(".git" in one for one in tar.getnames())
    assert said and f"{repository} as it is" in said[0]


def test_a_repository_without_the_commit_says_how_to_get_it(repository: Path, tmp_path: Path) -> None:
    SHELL.run(["git", "-C", str(repository), "config", "core.bare", "true"])
    (repository / ".git").rename(tmp_path / "bare.git")
    repository = tmp_path / "bare.git"
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


class Far(LocalShell):
    """A host that reaches neither a registry nor a mirror."""

    where = "the host"

    def run(self, words: Words, **more: object) -> Result:
        return Result(1, err="no way out")


def test_debians_source_package_needs_no_engine_of_the_host_where_there_is_one_here(tmp_path: Path) -> None:
    source = resolve(stacks()["caffe"], tmp_path, debian=True, shell=Far())
    assert source.tar is not None and source.tar.is_file()


def test_without_an_engine_here_the_hosts_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(ProvisionError, match="no way out"):
        resolve(stacks()["caffe"], tmp_path, debian=True, shell=Far())


def test_a_version_that_the_mirror_lacks_is_told(tmp_path: Path) -> None:
    gone = SourcePackage("caffe", "0.0.1-1", "debian:bullseye", "2026-08-31")
    with pytest.raises(ImageError, match=r"caffe 0\.0\.1-1 cannot be fetched") as error:
        debsource.fetch(gone, tmp_path, SHELL)
    assert "--source-mirror" in error.value.mend
    assert list(tmp_path.iterdir()) == []
