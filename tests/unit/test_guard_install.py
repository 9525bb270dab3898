"""How the guard comes to a host, and what the laptop asks of it there."""

import io
import json
import re
import tarfile
from collections.abc import Sequence
from typing import Any, cast

import pytest

from infra.host import guard_modules, script
from infra.shell import Result
from infra.ssh import SshShell
from provision.files import guard


class Host:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.said: list[tuple[list[str], bytes]] = []

    def run(self, words: Sequence[str], stdin: bytes = b"", **_: Any) -> Result:
        self.said.append((list(words), stdin))
        return Result(0)


@pytest.fixture
def host() -> Host:
    return Host()


def shell(host: Host) -> SshShell:
    return cast(SshShell, host)


def test_a_host_gets_the_whole_guard_as_root_and_what_it_has_already_is_left_alone(host: Host) -> None:
    guard.install(shell(host))
    guard.install(shell(host))
    [(words, packed), second] = host.said
    assert second[0] == words
    assert words[:3] == ["sudo", "sh", "-ec"]
    assert re.fullmatch("[0-9a-f]{64}", words[-1])
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        there = {f"guard/{name}": tar.extractfile(name).read().decode() for name in tar.getnames()}  # type: ignore[union-attr]
    assert there == {name: script(name) for name in guard_modules()}


def test_no_script_here_lets_systemd_read_its_units_anew() -> None:
    """Under a training that takes its GPUs away: `enable` does it, too."""
    assert not re.search(r"daemon-reload|systemctl.*(enable|disable|mask)", guard._INSTALL)


def test_what_the_guard_is_told_goes_over_stdin(host: Host) -> None:
    guard.plan(shell(host), "r", {"id": "r"})
    guard.place(shell(host), "r", {"log/": ""})
    guard.stop(shell(host), "r")
    python = ["sudo", "python3", "/opt/provision/guard"]
    assert host.said == [
        ([*python, "plan", "r"], json.dumps({"id": "r"}).encode()),
        ([*python, "place", "r"], json.dumps({"log/": ""}).encode()),
        ([*python, "stop", "r"], b""),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "NoNewPrivileges=yes", "ProtectSystem=strict", "ReadWritePaths=/var/lib/provision", "PrivateTmp=yes",
        "ProtectHome=yes", "OOMScoreAdjust=-900", "ConditionPathExists=/opt/provision/guard/__main__.py",
    ],
)  # fmt: skip
def test_its_unit_may_write_only_where_it_has_to_and_is_the_last_to_be_killed(line: str) -> None:
    assert line in script("provision-guard.service").splitlines()
