"""A machine image with nothing in it: the bootstrap really installs Docker, the driver's stand-in and the toolkit."""

import datetime
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import pytest

from localcloud.emulator import BARE_ID
from tests.cloud.support import Emulator, Laptop, inside, tag_of, timer
from tests.engine.host_kit import machine
from tests.engine.test_host_toolkit import MAKE, Repository, served

pytestmark = pytest.mark.cloud

# what the real nvidia-ctk writes, in place of a mark that the engine's tests look for
WROTE = "echo nvidia >"
WRITES = """echo '{"runtimes": {"nvidia": {"path": "/usr/bin/nvidia-container-runtime"}}}' >"""


@pytest.fixture(scope="module")
def repository(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with made_by(MAKE, emulator, tmp_path_factory.mktemp("repository")) as one:
        yield one


@contextmanager
def made_by(program: str, emulator: Emulator, folder: Path) -> Iterator[Repository]:
    """NVIDIA's apt repository with the stand-in packages that the program makes, as instances reach it."""
    assert WROTE in program
    with machine() as made:
        made.run(["apt-get", "update", "-qq"])
        made.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", "gpg", "gpg-agent"])
        key = made.run(["sh", "-c", program.replace(WROTE, WRITES)]).out.strip()
        made.get("/root/repository/.", folder)
    with served(folder) as port:
        yield Repository(f"http://{urlparse(emulator.facts['endpoint']).hostname}:{port}", key)


@pytest.fixture(autouse=True)
def _bare(laptop: Laptop, repository: Repository, tmp_path: Path) -> Iterator[None]:
    """Canonical's image is bare, as on AWS; this laptop has not learned of another, and knows the repository."""
    laptop.environment = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PROVISION_TOOLKIT_REPOSITORY": repository.url,
        "PROVISION_TOOLKIT_KEY": repository.key,
    }
    laptop.emulator.page("bare", {"bare": True})
    yield
    laptop.emulator.page("bare", {"bare": False})


def test_docker_driver_and_toolkit_are_installed(laptop: Laptop) -> None:
    done = laptop.run("up", "--instance", "p3.8xlarge", "--name", "bare", timeout=600)
    assert done.returncode == 0, done.stderr
    [instance] = laptop.emulator.instances("running")
    assert instance["ImageId"] == BARE_ID
    for line in ("engine: installing docker.io", "nvidia: installing the driver 535",
                 "nvidia: installing the container toolkit", "nvidia: 4 GPUs, driver 535.1"):  # fmt: skip
        assert f"host: {line}" in done.stderr
    assert "nvidia" in laptop.ok("ssh", "bare", "--", "docker info -f '{{json .Runtimes}}'")
    status = "dpkg-query -Wf '${Package} ${db:Status-Status}\\n' docker.io nvidia-container-toolkit"
    assert laptop.ok("ssh", "bare", "--", status).splitlines() == [
        "docker.io installed",
        "nvidia-container-toolkit installed",
    ]


def test_a_bootstrap_that_fails_leaves_its_log_and_nothing_else(laptop: Laptop, repository: Repository) -> None:
    laptop.environment["PROVISION_TOOLKIT_REPOSITORY"] = f"{repository.url}/away"
    done = laptop.run("up", "--instance", "p3.8xlarge", "--name", "broken", timeout=600)
    assert done.returncode == 9, done.stderr
    assert done.stderr.count("provision: ") == 1
    assert f"failed: nvidia: {repository.url}/away does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    log = re.search(r"its whole log: (\S+);", done.stderr)
    assert log
    assert f"{repository.url}/away does not answer" in Path(log[1]).read_text()
    assert laptop.emulator.nothing_left(), laptop.emulator.leftovers()


def test_a_machine_that_failed_is_kept_where_that_was_asked_for_with_a_sooner_end(
    laptop: Laptop, repository: Repository
) -> None:
    laptop.environment["PROVISION_TOOLKIT_REPOSITORY"] = f"{repository.url}/away"
    done = laptop.run("up", "--instance", "p3.8xlarge", "--name", "kept", "--keep-on-error", "5m", timeout=600)
    assert done.returncode == 19, done.stderr
    assert "end it: provision down kept" in done.stderr
    assert done.stderr.count("provision: ") == 1
    [instance] = laptop.emulator.instances("running")
    [container] = laptop.emulator.containers()
    ends = datetime.datetime.fromisoformat(tag_of(instance, "deadline"))
    left = ends - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(minutes=4) < left <= datetime.timedelta(minutes=5)
    assert timer(container) == ends
    [schedule] = laptop.emulator.schedules().values()
    assert schedule == f"at({ends + datetime.timedelta(minutes=10):%Y-%m-%dT%H:%M:%S})"
    assert inside(container, "tail -n 1 /run/provision/progress").startswith("failed: nvidia: ")
    assert laptop.ok("ssh", "kept", "--", "echo in").strip() == "in"
