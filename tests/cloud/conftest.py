"""One local cloud for all product tests of this folder, and users at laptops."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.build import build
from images.choose import choose
from infra.shell import LocalShell
from tests.cloud.support import Emulator, Laptop, start_cloud, stop_cloud


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests go to one worker, which starts what they share once; a document's commands are a file's worth."""
    for item in items:
        alone = item.name if item.name.startswith("test_the_commands_of") else ""
        item.add_marker(pytest.mark.xdist_group(item.path.stem + alone))


def pytest_collection_finish(session: pytest.Session) -> None:
    """A pytest that does not hear what xdist says of groups would start everything in each worker, without a word."""
    if session.config.getoption("loadgroup", False):
        lost = [item.nodeid for item in session.items if "@" not in item.nodeid]
        if lost:
            raise pytest.UsageError(
                f"pytest-xdist could not group the tests with pytest {pytest.__version__}: {lost[0]}"
            )


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[Emulator]:
    """A local cloud of this test run's own. Its machines have the image: that it is sent, `test_demo` shows."""
    before = os.environ.get("PROVISION_LOCAL_HOME")
    os.environ["PROVISION_LOCAL_HOME"] = str(tmp_path_factory.mktemp("local"))
    one = start_cloud(f"t{os.getpid()}", "--preload", image)
    yield one
    stop_cloud(one)
    os.environ.pop("PROVISION_LOCAL_HOME")
    if before is not None:
        os.environ["PROVISION_LOCAL_HOME"] = before


@pytest.fixture(scope="session")
def image() -> str:
    """The image's tag; it is built once for all, and a build that is there takes no time."""
    return build(choose("caffe-debian"), LocalShell()).tag


@pytest.fixture
def laptop(emulator: Emulator, tmp_path: Path) -> Iterator[Laptop]:
    """A laptop in an empty cloud; what a test leaves running is ended, and nothing may stay."""
    one = Laptop(emulator, tmp_path / "home", tmp_path)
    yield one
    one.environment = {}
    one.run("down", "--all", "--volumes", "--force")
    assert emulator.nothing_left(), emulator.leftovers()


@pytest.fixture
def another(emulator: Emulator, tmp_path: Path) -> Callable[[str], Laptop]:
    """Other laptops of the same account."""

    def make(name: str) -> Laptop:
        (tmp_path / name).mkdir()
        return Laptop(emulator, tmp_path / name / "home", tmp_path / name)

    return make
