"""What is said of an image and a type is the same wherever it is asked, for every AWS type with a GPU: by
`image choose`, `up --image`, `train` and the proof of the GPUs on the host."""

import json
from datetime import datetime, timezone
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from images import gpus
from images.choose import parse, targets
from images.stacks import stacks
from images.target import Target
from infra.aws.types import Instance
from infra.errors import ProvisionError, UsageError
from infra.shell import Result
from provision import clouds
from provision.cli import run
from provision.commands.image import image
from provision.hosts import image as runimage
from provision.hosts.facts import Facts, Gpu
from provision.machines import login
from provision.offers.compatibility import driver_of, smallest_type, unsupported
from provision.offers.market import known_type
from provision.settings import Settings
from provision.training import gpu_check, request, start
from provision.training.request import TrainRequest
from tests.unit.aws_region import AwsRegion, Refusal, region
from tests.unit.test_fetch import Bucket

TYPES = sorted(gpus.aws_types())
WHOLE = [name for name in TYPES if gpus.aws_types()[name].share == 1]
KINDS = sorted({gpus.aws_types()[name].gpu: name for name in WHOLE}.values())  # a type for each GPU
ON_GPUS = sorted(name for name, one in stacks().items() if "cuda" in one.flavours)
# what nvidia-smi prints: by karpenter's table of AWS's types, and NVIDIA's documents for those that AWS left
PRINTED = {
    "K80": "Tesla K80", "M60": "Tesla M60", "V100": "Tesla V100-SXM2-16GB", "T4": "Tesla T4", "A10G": "NVIDIA A10G",
    "L4": "NVIDIA L4", "L40S": "NVIDIA L40S", "A100": "NVIDIA A100-SXM4-40GB", "H100": "NVIDIA H100 80GB HBM3",
    "H200": "NVIDIA H200", "B200": "NVIDIA B200", "B300": "NVIDIA B300 SXM6 AC",
    "RTXPRO4500": "NVIDIA RTX PRO 4500 Blackwell Server Edition",
    "RTXPRO6000": "NVIDIA RTX PRO 6000 Blackwell Server Edition",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@cache
def chosen(stack: str, kind: str) -> str:
    """By `provision image choose`: the target, or "" """
    result = CliRunner().invoke(image, ["choose", "--stack", stack, "--instance", kind, "--json"])
    assert result.exit_code == 0 or isinstance(result.exception, UsageError), result.exception
    return str(json.loads(result.stdout)["target"]) if result.exit_code == 0 else ""


def rents(words: str, kind: str) -> UsageError | None:
    """By `provision up --image`: why not."""
    found = known_type(kind)
    assert found is not None
    return unsupported(words, found, driver_of(Settings(), kind))


def trains(stack: str, kind: str) -> str:
    """By `provision train`: the target, or "" """
    recipe: Any = SimpleNamespace(stack=stack)
    try:
        return request.image_words(TrainRequest("it", {}), recipe, 1, request.host_of_type(Settings(), kind))
    except UsageError:
        return ""


def proves(target: Target, kind: str) -> str:
    """By the proof on the host: why not."""
    there = gpus.aws_types()[kind]
    printed = Gpu(0, PRINTED[there.gpu], there.gpu_mib, driver_of(Settings(), kind))
    stage: Any = SimpleNamespace(facts=Facts(1000, 1000, gpus=(printed,)), instance=SimpleNamespace(type=kind))
    return gpu_check._misfit(stage, target)


@pytest.mark.parametrize("kind", WHOLE)
def test_every_stack_on_every_type(kind: str) -> None:
    for stack in ON_GPUS:
        target = chosen(stack, kind)
        assert trains(stack, kind) == target, stack
        assert (rents(stack, kind) is None) == bool(target), stack
        if target:
            assert rents(target, kind) is None, stack
            assert proves(parse(target), kind) == "", stack


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_on_every_gpu(kind: str) -> None:
    for target in targets():
        if target.variant.cuda and target.stack.name in ("cuda", "detectron"):  # each row once
            refused = rents(target.name, kind)
            assert proves(target, kind) == (refused.what if refused else ""), target.name


@pytest.mark.parametrize("kind", sorted(set(TYPES) - set(WHOLE)))
def test_a_share_of_a_gpu_is_refused_by_all(kind: str) -> None:
    result = CliRunner().invoke(image, ["choose", "--stack", "cuda", "--instance", kind])
    assert isinstance(result.exception, UsageError) and "GRID driver" in result.exception.what
    with pytest.raises(UsageError, match="GRID driver"):
        driver_of(Settings(), kind)


def test_what_blackwell_gets_is_the_same_everywhere() -> None:
    assert chosen("caffe", "p6-b200.48xlarge") == trains("caffe", "p6-b200.48xlarge") != ""
    assert rents(chosen("caffe", "p6-b200.48xlarge"), "p6-b200.48xlarge") is None


def test_a_driver_that_the_user_names_goes_before_the_machine_images() -> None:
    words = ["choose", "--stack", "cuda", "--cuda", "13.0", "--instance", "g4dn.xlarge", "--json"]
    assert CliRunner().invoke(image, words).exit_code == 0
    refused = CliRunner().invoke(image, [*words, "--driver", "470.256.02"]).exception
    assert isinstance(refused, UsageError) and "lets in R535" in refused.what


def test_the_type_that_is_proposed_for_an_image_is_rented_and_runs_it() -> None:
    proposed = {one.name: smallest_type(one.name, Settings()) for one in targets() if one.variant.cuda}
    for name, kind in proposed.items():
        assert not kind or (gpus.aws_types()[kind].listed and rents(name, kind) is None), name
    assert {parse(name).variant.cuda for name, kind in proposed.items() if not kind} == {"8.0"}


@pytest.fixture
def p3(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AwsRegion:
    """A region that offers p3.8xlarge, for commands that look for a cloud."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    aws = region({"p3.8xlarge": ("a",)}, {"p3.8xlarge": 3.0})
    monkeypatch.setattr(clouds, "resolve", lambda _: aws.cloud)
    return aws


def test_train_rents_for_its_image(p3: AwsRegion, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "digits", "--instance", "p3.8xlarge", "--dry-run", "--image"]
    assert run([*words, "caffe:cuda11.8-cudnn8.7-debian12"]) == 0
    assert run([*words, "caffe-debian"]) == 0  # for CPUs alone: it trains on those of the machine
    assert run([*words, "caffe:cuda13.0-cudnn9.14-ubuntu22.04"]) == UsageError.exit_code
    assert "runs on the V100: CUDA 13.0 is too new" in capsys.readouterr().err


def test_a_machine_for_a_training_has_to_run_its_image(p3: AwsRegion, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "digits", "--instance", "p3.8xlarge", "--image", "cuda:cuda13.0-cudnn9.14-ubuntu22.04"]
    assert run(words) == UsageError.exit_code
    assert "runs on the V100" in capsys.readouterr().err
    assert "CreateFleet" not in p3.calls


def test_what_trains_is_shown_before_it_is_rented_for_as_the_dry_run_shows_it(
    p3: AwsRegion, capsys: pytest.CaptureFixture[str]
) -> None:
    """The region refuses the first thing that is made: all that is shown is what comes before."""

    def refused(_: object) -> Any:
        raise Refusal("UnauthorizedOperation")

    words = ["train", "digits", "--instance", "p3.8xlarge", "--set", "iterations=300", "--on-demand", "--no-keeper"]
    assert run([*words, "--dry-run"]) == 0
    shown = capsys.readouterr().out.split("would ask")[0].splitlines()[1:]
    assert any("iterations=300" in line for line in shown)
    p3.answers["CreateSecurityGroup"] = refused
    assert run(words) != 0
    said = capsys.readouterr().err.splitlines()[1:]
    assert said[: len(shown)] == shown


class Host:
    """A machine that is there, with what nvidia-smi prints of its GPUs."""

    def __init__(self, gpu: str, driver: str, count: int = 1) -> None:
        self.said = "uid 1000 1000\n" + "".join(f"gpu {n}, {gpu}, 16384, {driver}\n" for n in range(count))

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, words: Any, **_: object) -> Result:
        return Result(0, self.said)


@pytest.mark.parametrize(
    ("order", "gpu", "driver", "said"),
    [
        ({"image": "caffe:cuda13.0-cudnn9.14-ubuntu22.04"}, "V100", "580.95.05", "runs on the V100: CUDA 13.0 is too"),
        ({"image": "caffe:cuda12.4-cudnn9.1-debian13"}, "V100", "470.256.02", "driver 470.256.02 of the V100"),
        ({"image": "provision/caffe:cuda12.4-cudnn9.1-debian13-0123456789ab"}, "V100", "470.256.02", "470.256.02"),
        ({"image": "caffe:cuda11.8-cudnn8.7-debian12@T4"}, "V100", "580.95.05", "has no code for the V100"),
        ({"image": "caffe:cuda11.8-cudnn8.7-debian12"}, "V100", "580.95.05", ""),
        ({"image": "caffe:cuda13.0-cudnn9.14-ubuntu22.04", "gpus": 0}, "V100", "580.95.05", ""),
        ({"image": "caffe-debian"}, "V100", "580.95.05", ""),
        (
            {"recipe": "crfrnn"},
            "V100",
            "375.26",
            "no image runs on the V100 under the driver 375.26",
        ),  # not what the type would have
        ({"image": "caffe:cuda13.0-cudnn9.14-ubuntu22.04"}, "T4", "580.95.05", ""),  # not the type's: it is asked
    ],
)
def test_a_machine_that_is_there_is_asked_before_an_image_is_built_for_it(
    p3: AwsRegion, monkeypatch: pytest.MonkeyPatch, order: dict[str, Any], gpu: str, driver: str, said: str
) -> None:
    monkeypatch.setattr(login, "shell", lambda *_: Host(PRINTED[gpu], driver))
    wanted = TrainRequest(**{"recipe": "digits", "options": {}, "gpus": 1, **order})
    session = clouds.Session(p3.cloud, Settings())
    if said:
        with pytest.raises(UsageError, match=said):
            start.plan_on(session, wanted, machine())
    else:
        assert start.plan_on(session, wanted, machine()).gpus == wanted.gpus


@pytest.mark.parametrize(
    ("gpu", "driver", "count", "said"),
    [
        ("V100", "580.95.05", 4, ""),
        ("V100", "580.95.05", 3, r"lab \(p3.8xlarge\) has 3 GPUs, and the plan is for 4"),
        ("V100", "375.26", 4, "driver 375.26"),
        ("K80", "470.256.02", 4, "K80"),
    ],
)
def test_a_rented_machine_that_is_another_than_planned_is_refused_before_anything_is_built(
    p3: AwsRegion, monkeypatch: pytest.MonkeyPatch, gpu: str, driver: str, count: int, said: str
) -> None:
    """It is not planned for again: the plan that was shown holds."""
    monkeypatch.setattr(login, "shell", lambda *_: Host(PRINTED[gpu], driver, count))
    obtained: list[str] = []

    def obtain(words: str, host: Any) -> runimage.RunImage:
        obtained.append(words)
        return runimage.planned(words)

    monkeypatch.setattr(runimage, "obtain", obtain)
    monkeypatch.setattr(start.store, "store", lambda _: Bucket())
    monkeypatch.setattr(start.s3_bucket, "ensure", lambda *_: 30)
    monkeypatch.setattr(start.expiry, "sweep", lambda _: [])
    wanted = TrainRequest("digits", {}, "caffe:cuda11.8-cudnn8.7-debian12@V100", own_machine=True)
    plan = request.resolve(wanted, request.host_of_type(Settings(), "p3.8xlarge"))
    assert plan.gpus == 4
    session = clouds.Session(p3.cloud, Settings())
    if said:
        with pytest.raises(ProvisionError, match=said):
            start.create(session, plan, machine())
    else:
        run = start.create(session, plan, machine())
        assert (run.manifest.stack, run.manifest.gpus) == (wanted.image, 4)
    assert bool(obtained) == (not said)


def test_a_machine_is_not_asked_for_gpus_that_are_not_used(p3: AwsRegion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "shell", lambda *_: pytest.fail("it was asked"))
    session = clouds.Session(p3.cloud, Settings())
    for wanted in (
        TrainRequest("digits", {}, gpus=4),
        TrainRequest("digits", {}, "caffe:cuda11.8-cudnn8.7-debian12", gpus=0),
    ):
        plan = start.plan_on(session, wanted, machine())
        assert plan.gpus == wanted.gpus
        start.refuse_another(session, plan, machine())


def machine() -> Instance:
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return Instance("i-1", "lab", "running", "p3.8xlarge", "us-east-1a", "spot", "203.0.113.9", at, {})
