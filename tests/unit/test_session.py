"""From flags to the cloud, and back: a command that is proposed carries the flags that lead to the same place."""

import dataclasses
from pathlib import Path

import pytest

from provision import clouds
from provision.clouds import session


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({}, "provision down lab"),
        ({"cloud": "aws", "region": "us-east-1"}, "provision down lab"),
        ({"region": "eu-west-1"}, "provision down lab --region eu-west-1"),
    ],
)
def test_a_hint_carries_the_flags_that_differ_from_the_settings(flags: dict[str, str], words: str) -> None:
    assert session(**flags).hint("down lab") == words


def test_what_the_settings_say_needs_no_flag(tmp_path: Path) -> None:
    (tmp_path / "provision.yaml").write_text("region: eu-west-1\n")
    assert session().hint("ls") == "provision ls"
    assert session(region="us-east-1").hint("ls") == "provision ls --region us-east-1"


def test_a_machine_elsewhere_takes_the_session_along() -> None:
    here = session()
    there = here.at(dataclasses.replace(here.cloud, region="eu-west-1"))
    assert (there.cloud.region, there.settings.region) == ("eu-west-1", "eu-west-1")
    assert there.hint("ls") == "provision ls --region eu-west-1"


def test_a_local_cloud_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = '{"endpoint": "http://x", "checkip": "http://y", "access_key": "k", "secret_key": "s"}'
    monkeypatch.setattr(clouds, "local", lambda *words: clouds.Result(0, answer, ""))
    assert session(cloud="local:two").hint("down lab") == "provision down lab --cloud local:two"
