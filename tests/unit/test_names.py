"""A name that a user types is checked once, before anything is asked of AWS or a file is named after it."""

import shlex
from pathlib import Path

import pytest

from infra import names
from infra.errors import UsageError
from provision import clouds, settings
from provision.cli import run
from tests.unit.fake_aws import Region

ODD = ["lab*", "../l?b", "lab\n", "a" * 41]
WITH_NAME = (
    "down NAME", "ssh NAME -- ls", "put NAME . /data", "forward NAME 80", "extend NAME 4h", "cost NAME",
    "ami bake NAME", "up --instance p3.8xlarge --name NAME", "train digits --on NAME", "resume digits-1 --on NAME",
    "score digits-1 --on NAME", "infer digits-1 . --on NAME", "time digits --on NAME", "box ls --on NAME",
    "image ls --on NAME", "data sync s3://b/p --on NAME", "data check /data/x --on NAME", "box stop NAME",
    "local stop --name NAME",
)  # fmt: skip
WITH_RUN = ("resume RUN", "stop RUN", "fetch RUN")
WITH_REGION = (
    "ls --region R", "up --instance p3.8xlarge --region us-east-1 --region R", "down --all --region R",
    "data check x --region R",
)  # fmt: skip


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Region:
    """One machine, lab."""
    found = Region()
    monkeypatch.setattr(clouds, "resolve", lambda _: found.cloud)
    monkeypatch.chdir(tmp_path)
    return found


def typed(words: str, place: str, name: str) -> list[str]:
    return [name if word == place else word for word in shlex.split(words)]


@pytest.mark.parametrize("words", WITH_NAME)
@pytest.mark.parametrize("name", ODD)
def test_a_name_that_no_machine_has_asks_aws_for_nothing(
    words: str, name: str, aws: Region, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(typed(words, "NAME", name)) == UsageError.exit_code
    assert "hyphens" in capsys.readouterr().err
    assert aws.calls == []


@pytest.mark.parametrize("name", ["", "-lab", "läb", "lab b", "*"])
def test_names_that_are_none(name: str, aws: Region) -> None:
    assert run(["down", "--", name]) == UsageError.exit_code
    assert aws.calls == []


def test_a_star_ends_no_machine(aws: Region, capsys: pytest.CaptureFixture[str]) -> None:
    before = aws.left()
    assert run(["down", "la*"]) == UsageError.exit_code
    assert "'la*' cannot name a machine" in capsys.readouterr().err
    assert aws.left() == before
    assert run(["down", "lab"]) == 0
    assert aws.left() < before


@pytest.mark.parametrize("words", WITH_RUN)
@pytest.mark.parametrize("name", ["digits-*", "../digits", "a/b", "", "digits\n", "a" * 200])
def test_a_name_that_no_run_has(words: str, name: str, aws: Region, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(typed(words, "RUN", name)) == UsageError.exit_code
    assert "cannot name a run" in capsys.readouterr().err
    assert aws.calls == []


@pytest.mark.parametrize("words", WITH_REGION)
@pytest.mark.parametrize("name", ["us-*", "../x", "us east 1", "us-east-1.evil.com", "useast1"])
def test_a_name_that_no_region_has(words: str, name: str, aws: Region, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(typed(words, "R", name)) == UsageError.exit_code
    assert "us-east-1" in capsys.readouterr().err
    assert aws.calls == []


@pytest.mark.parametrize("text", ["region: '../x'\n", "more_regions: ['us-*']\n"])
def test_a_region_of_the_settings_is_checked(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("provision.yaml").write_text(text)
    with pytest.raises(UsageError, match="cannot name a region of AWS"):
        settings.load()


def test_a_region_of_the_environment_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROVISION_REGION", "us-*")
    with pytest.raises(UsageError, match="cannot name a region of AWS"):
        settings.load()


def test_a_local_cloud_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="cannot name a local cloud"):
        clouds.session(cloud="local:../x")


@pytest.mark.parametrize(
    "region",
    ["us-east-1", "us-gov-west-1", "ap-southeast-7", "cn-north-1", "us-isob-east-1", "eusc-de-east-1", "mx-central-1"],
)
def test_regions_of_aws_are_regions(region: str) -> None:
    assert names.REGION.check(region) == region


@pytest.mark.parametrize("kind", ["p3.8xlarge", "u7i-12tb.224xlarge", "mac2-m2pro.metal", "p6-b200.48xlarge"])
def test_types_of_aws_are_types(kind: str) -> None:
    assert names.TYPE.check(kind) == kind


def test_a_filter_means_the_text_itself() -> None:
    assert names.literal("lab") == "lab"
    assert names.literal(r"l*b?\x") == r"l\*b\?\\x"


def test_a_long_or_odd_text_is_shown_short_and_without_control_characters() -> None:
    with pytest.raises(UsageError) as caught:
        names.MACHINE.check("\x1b[31m" + "a" * 5000)
    assert "\x1b" not in caught.value.what
    assert len(caught.value.what) < 120
