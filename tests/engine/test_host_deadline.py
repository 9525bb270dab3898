"""The deadline and the idle count with a real systemd, in machines that have no network at all."""

from collections.abc import Iterator

import pytest

from infra.host import script
from infra.shell import LocalShell
from tests.engine.host_kit import Machine, booted, put, wait_for_systemd

pytestmark = pytest.mark.engine

LAUNCHED = "2040-11-21 18:40:00 UTC"
FORM = "'+%F %T UTC'"


@pytest.fixture
def host() -> Iterator[Machine]:
    with booted() as made:
        yield made


def armed(host: Machine) -> str:
    """What systemd itself says."""
    ask = "systemctl show -p NextElapseUSecRealtime --value provision-deadline.timer"
    return host.sh(f'systemctl is-active -q provision-deadline.timer && date -ud "$({ask})" {FORM}').out.strip()


def test_it_is_armed_moved_and_stays_so_over_a_reboot(host: Machine) -> None:
    assert host.script("deadline.sh", LAUNCHED).ok
    assert armed(host) == LAUNCHED
    assert host.script("extend.sh", "2040-11-21 22:40 +0200").out == "ends at 2040-11-21 20:40:00 UTC\n"
    assert host.script("extend.sh", "2040-11-21 20:40:00 UTC").ok  # again
    assert armed(host) == "2040-11-21 20:40:00 UTC"

    host.script("deadline.sh", LAUNCHED)  # cloud-init may do it again
    assert armed(host) == "2040-11-21 20:40:00 UTC"

    LocalShell().run(["docker", "restart", host.where])
    wait_for_systemd(host)
    assert armed(host) == "2040-11-21 20:40:00 UTC"

    host.script("deadline.sh", "2041-01-01 00:00:00 UTC")  # a machine made of this one's image
    assert armed(host) == "2041-01-01 00:00:00 UTC"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("2026-01-01 00:00:00 UTC", "2026-01-01 00:00:00 UTC has passed"),
        ("tomorro", "not a time: tomorro"),
        ("", "not a"),
    ],
)
def test_what_is_no_time_to_come_changes_nothing(host: Machine, word: str, said: str) -> None:
    host.script("deadline.sh", LAUNCHED)
    result = host.script("extend.sh", word)
    assert (result.code, said in result.err) == (2, True)
    assert armed(host) == LAUNCHED


def test_at_the_time_it_powers_off(host: Machine) -> None:
    host.script("deadline.sh", LAUNCHED)
    soon = host.sh(f"date -ud '+4 sec' {FORM}").out.strip()
    assert host.script("extend.sh", soon).out == f"ends at {soon}\n"
    assert host.ends_within(30)


def test_a_time_that_has_passed_before_it_was_armed_ends_it_at_once(host: Machine) -> None:
    host.script("deadline.sh", "2026-01-01 00:00:00 UTC")
    assert host.ends_within(30)


def test_an_idle_machine_powers_off_and_one_in_use_does_not(host: Machine) -> None:
    host.script("deadline.sh", LAUNCHED)
    put(host, "idle.sh", "provision-idle.service")
    host.write("/etc/systemd/system/provision-idle.timer", script("provision-idle.timer").replace("EVERY", "1s"))
    host.write("/opt/provision/settings", "gpus=0\ndriver=''\nidle_seconds=4\n")
    host.fake("docker", "echo 0123456789ab")
    host.write("/var/lib/provision/ready", "")
    assert host.sh("systemctl daemon-reload; systemctl enable -q --now provision-idle.timer").ok
    assert not host.ends_within(9)
    assert host.sh("cat /run/provision/idle").out == "in use: a training runs\n"
    host.fake("docker", "true")
    assert host.ends_within(30)
