"""A machine that AWS keeps, and that had to install its driver, becomes a machine image: the next starts from it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcloud.emulator import AMI_ID, BARE_ID
from localcloud.engine import AMI
from tests.cloud.kept_kit import Kept, knows_the_images, wait_for
from tests.cloud.long.test_bare import _bare, made_by  # noqa: F401 - a fixture
from tests.cloud.support import SHORT, Emulator, Laptop, inside, run_of
from tests.engine.test_host_toolkit import MAKE, Repository

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(2400)]
KEPT = ("train", "digits", "--detach")
ENDLESS = ("--set", "iterations=5000000", "--set", "snapshot_every=100", "--set", "test_every=100000")


def packages() -> str:
    """The program that makes the repository: its packages hold the stand-ins of the local cloud's own image."""

    def file(package: str, path: str, name: str) -> str:
        to, text = f"{package}/{path}", (AMI / name).read_text()
        return f"mkdir -p $(dirname {to})\ncat > {to} <<'EOF'\n{text}EOF\nchmod 755 {to}\n"

    toolkit, driver = "nvidia-container-toolkit", "nvidia-driver-535-server"
    hook = f"echo exit 0 | program {toolkit}/usr/bin/nvidia-container-runtime-hook\n"
    smi = f"program {driver}/usr/bin/nvidia-smi <<'EOF'\nfor gpu in 1 2 3 4; do echo 535.1; done\nEOF\n"
    assert hook in MAKE and smi in MAKE
    runtime = file(toolkit, "usr/bin/nvidia-container-runtime", "nvidia-container-runtime")
    hooks = file(toolkit, "usr/local/bin/nvidia-container-runtime-hook", "nvidia-container-runtime-hook") + runtime
    return MAKE.replace(hook, hooks).replace(smi, file(driver, "usr/local/bin/nvidia-smi", "nvidia-smi"))


@pytest.fixture(scope="module")
def repository(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with made_by(packages(), emulator, tmp_path_factory.mktemp("repository")) as one:
        yield one


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a laptop that knows all images that the tests here have brought."""
    return tmp_path_factory.mktemp("brought")


@pytest.fixture
def laptop(laptop: Laptop, brought: Path) -> Iterator[Laptop]:
    knows_the_images(brought, laptop.home)
    laptop.settings.unlink()
    yield laptop
    knows_the_images(laptop.home, brought)


@pytest.fixture(autouse=True)
def _no_image_stays(emulator: Emulator) -> Iterator[None]:
    """Other tests' machines would start from it."""
    yield
    ec2 = emulator.client("ec2")
    for image in ec2.describe_images(Owners=["self"])["Images"]:
        ec2.deregister_image(ImageId=image["ImageId"])


def begun(laptop: Laptop, *words: str) -> tuple[Kept, str]:
    """A run that AWS keeps, and what was said at its start."""
    done = laptop.run(*KEPT, *words, timeout=600)
    assert done.returncode == 0, done.stderr
    return Kept(laptop.emulator, run_of(done.stdout)), done.stderr


def calls(emulator: Emulator, action: str) -> int:
    return sum(call["action"] == action for call in emulator.page("calls"))


def images(laptop: Laptop) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(laptop.ok("ami", "ls", "--json"))
    return found


def test_the_first_machine_installs_and_is_baked_and_the_second_has_nothing_to_install(
    laptop: Laptop, another: Callable[[str], Laptop]
) -> None:
    """The bare image, as Ubuntu's is: Docker, the driver's stand-in and the toolkit come from repositories."""
    first, said = begun(laptop, "--instance", "p3.2xlarge", *SHORT)
    assert "the first machine with Volta GPUs becomes a machine image at its end" in said and "--no-bake" in said
    assert first.its_machine()["ImageId"] == BARE_ID
    assert first.ended() == ("SUCCEEDED", ""), laptop.ok("events", first.run)
    wait_for(laptop.emulator.nothing_left, f"nothing left: {laptop.emulator.leftovers()}")

    [made] = images(laptop)
    assert (made["state"], made["family"], made["driver"]) == ("available", "Volta", "535")
    assert (made["run"], made["made_from"]) == (first.run, BARE_ID)
    words = [event["what"] for event in json.loads(laptop.ok("events", first.run, "--json"))]
    assert words.index("baking") < words.index("baked") < words.index("ended") < words.index("done")
    report = json.loads(laptop.ok("audit", "--json"))
    kept = {row["kind"]: row for row in report["findings"] if row["verdict"] == "kept"}
    assert report["bad"] == 0 and kept["machine images"]["id"] == made["id"]
    assert kept["snapshots"]["dollars_an_hour"] > 0

    other = another("other")
    knows_the_images(laptop.home, other.home)
    second, said = begun(other, "--instance", "p3.8xlarge", *ENDLESS)
    assert "machine image" not in said
    second.trains()
    machine = second.its_machine()
    assert machine["ImageId"] == made["id"] and "provision:driver" not in [tag["Key"] for tag in machine["Tags"]]
    progress = inside(second.container(), "cat /run/provision/progress")
    assert "ready" in progress.splitlines() and "installing" not in progress
    assert "nvidia: 4 GPUs, driver " in progress
    look = f"grep -rlsF {first.run} /var /opt /etc /home /root /data | head"
    assert inside(second.container(), look) == "", "what was the first run's is on the machine of the second"
    assert "is stopped" in other.ok("stop", second.run)
    assert [image["id"] for image in images(other)] == [made["id"]]
    assert calls(laptop.emulator, "CreateImage") == 1


@pytest.mark.usefixtures("image")
def test_who_wants_no_image_gets_none(laptop: Laptop) -> None:
    laptop.emulator.page("bare", {"bare": False})
    before = calls(laptop.emulator, "CreateImage")
    run, said = begun(laptop, "--instance", "p2.xlarge", "--no-bake", *SHORT)
    assert run.its_machine()["ImageId"] == AMI_ID and "machine image at its end" not in said
    assert run.ended() == ("SUCCEEDED", "")
    wait_for(laptop.emulator.nothing_left, f"nothing left: {laptop.emulator.leftovers()}")
    assert images(laptop) == [] and calls(laptop.emulator, "CreateImage") == before


@pytest.mark.usefixtures("image")
def test_an_image_that_cannot_be_made_costs_the_run_nothing_and_is_said(laptop: Laptop) -> None:
    laptop.emulator.page("bare", {"bare": False})
    refused = {"action": "CreateImage", "from": "keeper", "times": 0, "error": {"code": "UnsupportedOperation"}}
    laptop.emulator.page("faults", [refused])
    laptop.emulator.page("keeper", {"waits": 0.2})
    try:
        run, _ = begun(laptop, "--instance", "p2.xlarge", *SHORT)
        assert run.ended() == ("SUCCEEDED", "")
    finally:
        laptop.emulator.page("faults", [])
        laptop.emulator.page("keeper", {"waits": 1})
    wait_for(laptop.emulator.nothing_left, f"nothing left: {laptop.emulator.leftovers()}")
    assert images(laptop) == [] and run.words() == ["finished"]
    assert "not baked" in [event["what"] for event in json.loads(laptop.ok("events", run.run, "--json"))]
