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
    """What systemd itself says: the first end that is armed, which is the one that counts."""
    return ends(host)[0]


def ends(host: Machine) -> list[str]:
    """All ends that are armed, the first one first, each once."""
    said = host.sh("systemctl list-units --plain --no-legend --state=active 'provision-deadline*.timer'").out
    shown = [f"systemctl show -p NextElapseUSecRealtime --value {line.split()[0]}" for line in said.splitlines()]
    return sorted({host.sh(f'date -ud "$({show})" {FORM}').out.strip() for show in shown})


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


LATER, SOONER = "2040-11-22 18:40:00 UTC", "2040-11-20 18:40:00 UTC"


def test_killed_anywhere_extend_leaves_an_end_armed_and_none_too_early(host: Machine) -> None:
    host.script("deadline.sh", LAUNCHED)
    for at, first in ((LATER, LAUNCHED), (SOONER, SOONER)):
        for program in ("systemd-run", "sed", "mv"):
            host.fake(program, "kill -9 $PPID")
            host.script("extend.sh", at)
            host.sh(f"rm /usr/local/bin/{program}")
            assert armed(host) in (LAUNCHED, first), program
            assert set(ends(host)) <= {LAUNCHED, at}
        assert host.script("extend.sh", at).ok  # the same command again
        assert ends(host) == [at]
        assert host.script("extend.sh", LAUNCHED).ok
        assert ends(host) == [LAUNCHED]


def test_what_a_running_container_may_reach_survives_extend(host: Machine) -> None:
    """A device that was let in behind systemd's back, as NVIDIA's hook lets in GPUs, is lost when systemd reads its
    units anew: so `extend` must not let it."""
    assert host.script("deadline.sh", LAUNCHED).ok
    assert host.sh("systemd-run -q --unit box --property=DevicePolicy=closed sleep 1000").ok
    rules = "/sys/fs/cgroup/devices/system.slice/box.service/devices"
    if not host.sh(f"echo 'c 195:* rwm' > {rules}.allow").ok:
        pytest.skip("no list of a cgroup's devices here: cgroup v2 keeps them in a program")
    look = f"grep -c 'c 195:\\* rwm' {rules}.list"
    assert host.sh(look).out == "1\n"
    for at in (LATER, SOONER):
        assert host.script("extend.sh", at).ok
        assert host.sh(look).out == "1\n"
    host.sh("systemctl daemon-reload")
    host.sh("sleep 1")
    assert host.sh(look).out == "0\n", "else this test shows nothing"


def test_a_machine_that_never_becomes_ready_ends_and_one_that_is_does_not(host: Machine) -> None:
    host.script("deadline.sh", LAUNCHED)
    when = "systemctl show -p TimersMonotonic --value provision-unready.timer"
    assert "OnStartupUSec=45min" in host.sh(when).out
    assert host.sh("systemctl is-active provision-unready.timer").out == "active\n"
    host.write("/var/lib/provision/ready", "")
    host.sh("systemctl start provision-unready.service")
    assert not host.ends_within(5)
    host.sh("rm /var/lib/provision/ready; systemctl start provision-unready.service")
    assert host.ends_within(30)


def bootstrapped(host: Machine, engine: str) -> str:
    """The last line of the progress of a bootstrap, with that program as Docker's installer."""
    host.write("/opt/provision/settings", "gpus=0\ndriver=''\nidle_seconds=0\nkept=0\n")
    host.fake("docker", 'case "$1" in info) echo cgroupfs;; esac')
    host.fake("usermod", "true")
    host.fake("python3", "true")
    host.write("/opt/provision/engine.sh", engine)
    put(host, "idle.sh", "provision-idle.service")
    host.write("/etc/systemd/system/provision-idle.timer", script("provision-idle.timer").replace("EVERY", "60s"))
    host.write("/etc/systemd/system/provision-guard.service", script("provision-guard.service"))
    host.script("bootstrap.sh")
    return host.sh("tail -n 1 /run/provision/progress").out


def test_a_machine_is_ready_only_with_an_end_and_waits_for_a_guard(host: Machine) -> None:
    assert bootstrapped(host, "true") == "failed: no end of this machine is armed\n"
    host.script("deadline.sh", LAUNCHED)
    assert bootstrapped(host, "true") == "ready\n"
    assert host.sh("systemctl is-active provision-idle.timer").out == "active\n"
    assert host.sh("systemctl is-enabled provision-guard").out == "enabled\n"


def test_a_bootstrap_that_failed_ends_its_machine_and_whoever_moves_the_end_has_it_kept(host: Machine) -> None:
    host.script("deadline.sh", LAUNCHED)
    said = bootstrapped(host, "echo engine: no network >&2; exit 21")
    assert said == "failed: engine: no network\n"
    assert "OnActiveUSec=10min" in host.sh("systemctl show -p TimersMonotonic --value provision-failed.timer").out
    assert host.script("extend.sh", SOONER).ok
    for timer in ("provision-failed", "provision-unready"):
        assert host.sh(f"systemctl is-active {timer}.timer").out == "inactive\n"


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
