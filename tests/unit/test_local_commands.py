"""`provision local …` means the local cloud that all other commands mean, unless it is named."""

from collections.abc import Sequence

import pytest

from infra.shell import Result
from provision import clouds
from provision.cli import run


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> list[list[str]]:
    """What the local cloud's own program is asked."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    heard: list[list[str]] = []

    def local(*words: str, check: bool = True) -> Result:
        heard.append(list(words))
        return Result(0, '{"endpoint": "http://127.0.0.1:1", "instances": []}', "")

    monkeypatch.setattr(clouds, "local", local)
    return heard


WORDS = (["interrupt", "i-0123456789abcdef0"], ["status"], ["stop"], ["start"])


@pytest.mark.parametrize(("cloud", "name"), [
    ("local:demo", "demo"), ("local", "default"), ("aws", "default"), (None, "default"),
])  # fmt: skip
@pytest.mark.parametrize("words", WORDS, ids=[words[0] for words in WORDS])
def test_the_local_cloud_is_the_one_of_the_settings(
    said: list[list[str]], monkeypatch: pytest.MonkeyPatch, words: Sequence[str], cloud: str | None, name: str
) -> None:
    if cloud is None:
        monkeypatch.delenv("PROVISION_CLOUD", raising=False)
    else:
        monkeypatch.setenv("PROVISION_CLOUD", cloud)
    assert run(["local", *words]) == 0
    assert said[-1][said[-1].index("--name") + 1] == name
    assert run(["local", *words, "--name", "other"]) == 0
    assert said[-1][said[-1].index("--name") + 1] == "other"


def test_an_instance_that_is_not_there_names_the_cloud_to_look_at(
    said: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROVISION_CLOUD", "local:demo")
    assert run(["local", "interrupt", "i-0123456789abcdef0", "--dry-run"]) != 0
    err = capsys.readouterr().err
    assert "the local cloud demo has no instance" in err and "provision local status --name demo" in err
