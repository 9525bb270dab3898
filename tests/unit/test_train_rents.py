"""`train` rents by the same options as `up`, and what it is told to take it takes."""

import json
from typing import Any

import pytest

from provision import clouds
from provision.cli import run
from provision.commands import options
from provision.commands.resume import resume
from tests.unit.anything_kit import leaves
from tests.unit.aws_region import AwsRegion, region

STAND_INS = {"g4dn.12xlarge": ("a", "b"), "g5.12xlarge": ("a",), "g6.12xlarge": ("a",), "g6.xlarge": ("a",)}
PRICES = {"g4dn.12xlarge": 1.2, "g5.12xlarge": 2.0, "g6.12xlarge": 1.9, "g6.xlarge": 0.3}
CUDA = ("--image", "caffe:cuda11.8-cudnn8.7-debian12")


@pytest.fixture
def retired(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AwsRegion:
    """A region as AWS's are today: without p2 and p3."""
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    aws = region(STAND_INS, PRICES)
    monkeypatch.setattr(clouds, "resolve", lambda _: aws.cloud)
    return aws


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["train", "digits", *words, "--dry-run", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)[0]
    return found


def test_the_mend_of_a_retired_type_is_taken(retired: AwsRegion, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "digits", *CUDA, "--instance", "p3.8xlarge", "--dry-run"]) == 7
    assert "take --or-equivalent" in capsys.readouterr().err
    found = asked(capsys, *CUDA, "--instance", "p3.8xlarge", "--or-equivalent")
    assert {offer["type"]["name"] for offer in found["offers"]} <= set(STAND_INS)
    assert found["wish"] == {"type": "p3.8xlarge", "or_equivalent": True, "gpus": 0, "gpu_memory_gb": 0.0}
    assert found["tags"]["provision:wish"] == "p3.8xlarge or-equivalent"


def test_gpus_by_memory_take_the_place_of_a_type(retired: AwsRegion, capsys: pytest.CaptureFixture[str]) -> None:
    four = asked(capsys, *CUDA, "--gpus", "4", "--gpu-memory", "16")
    assert {offer["type"]["gpus"] for offer in four["offers"]} == {4}
    assert four["tags"]["provision:wish"] == "gpus 4 memory 16"
    one = asked(capsys, *CUDA, "--gpu-memory", "20")
    assert [offer["type"]["name"] for offer in one["offers"]] == ["g6.xlarge"]


def test_all_that_up_takes_reaches_the_request(retired: AwsRegion, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--instance", "g4dn.12xlarge", "--fallback", "on-demand", "--budget", "90", "--idle-minutes", "0", "--via",
             "ssm", "--volume", "data:20", "--keep-on-error", "45m", "--disk", "300", "--max-price", "2.5")  # fmt: skip
    found = asked(capsys, *words)
    assert (found["fallback"], found["budget"], found["idle_minutes"], found["via"]) == (True, 90.0, 0.0, "ssm")
    assert [volume["name"] for volume in found["volumes"]] == ["data"]
    assert (found["keep_on_error_minutes"], found["disk_gb"], found["max_price"]) == (45.0, 300, 2.5)
    assert found["own_run"] is True
    assert found["tags"]["provision:own-run"] == "yes"


def test_a_machine_of_up_is_nobodys_own_run(retired: AwsRegion, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["up", "--instance", "g4dn.12xlarge", "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)[0]
    assert found["own_run"] is False and "provision:own-run" not in found["tags"]


@pytest.mark.parametrize("command", [["train", "digits"], ["resume", "digits-1"]])
@pytest.mark.parametrize(
    ("words", "flag"),
    [(["--budget", "5"], "--budget"), (["--on-demand"], "--on-demand"), (["--idle-minutes", "0"], "--idle-minutes"),
     (["--or-equivalent"], "--or-equivalent"), (["--volume", "a:1"], "--volume")],
)  # fmt: skip
def test_what_says_what_to_rent_is_refused_for_a_machine_that_is_there(
    retired: AwsRegion, capsys: pytest.CaptureFixture[str], command: list[str], words: list[str], flag: str
) -> None:
    assert run([*command, "--on", "lab", *words]) == 2
    assert f"{flag} is for a machine that is rented, and lab is there already" in capsys.readouterr().err


def test_no_gpu_and_gpus_by_memory_do_not_go_together(retired: AwsRegion, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "digits", "--gpus", "0", "--gpu-memory", "16", "--dry-run"]) == 2
    assert "leave out one of them" in capsys.readouterr().err


def test_the_commands_that_rent_have_the_same_options() -> None:
    commands = dict(leaves())
    shared = {*options.WISH, *options.SETTINGS}
    for name in ("up", "train", "resume"):
        assert shared <= {param.name for param in commands[name].params}, name


def test_what_resume_is_not_told_is_as_it_was_ordered() -> None:
    from provision.commands.resume import _order

    with resume.make_context(
        "resume", ["digits-1", "--idle-minutes", "0", "--on-demand", "--gpu-memory", "20"]
    ) as given:
        order = _order(dict(given.params))
    assert order.settings == {"idle_minutes": 0.0}
    assert order.wish == {"market": "on-demand", "gpu_memory_gb": 20.0}
    assert order.own_run is True
