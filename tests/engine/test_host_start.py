"""What a machine does first with its bundle, in a folder of its own, with stand-ins for what it calls."""

import os
from pathlib import Path

import pytest

from infra.host import script
from infra.shell import LocalShell

NOTE = 'echo "{} $*" >> {}/calls'


class Host:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("guard.service", "attempt.service", "idle.service", "idle.timer"):
            self.text(f"opt/provision/units/provision-{name}", script(f"provision-{name}"))
        (root / "etc/systemd/system").mkdir(parents=True)
        self.fake("python3", NOTE.format("python3", root))
        self.fake("systemctl", NOTE.format("systemctl", root))

    def text(self, path: str, text: str) -> Path:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)
        return self.root / path

    def fake(self, name: str, body: str) -> None:
        self.text(f"bin/{name}", f"#!/bin/sh\n{body}\n").chmod(0o755)

    def start(self, bootstrap: int = 0, **settings: str) -> int:
        """Its exit code, where the bootstrap ends with that one."""
        known = {"idle_every": "15s", "kept": "0", "via": "ssh", **settings}
        self.text("opt/provision/settings", "".join(f"{name}={value}\n" for name, value in known.items()))
        # it ends after what was begun beside it, where something is; of a kept machine the guard tells the key
        calls = self.root / "calls"
        waits = f'until grep -qs "guard key" {calls}; do sleep 0.01; done; ' if known["kept"] == "0" else ""
        self.text("opt/provision/bootstrap.sh", f"{waits}echo bootstrap >> {calls}; exit {bootstrap}\n")
        text = script("start.sh")
        for folder in ("/opt/provision", "/etc/systemd/system"):
            text = text.replace(folder, f"{self.root}{folder}")
        path = {"PATH": f"{self.root}/bin:{os.environ['PATH']}"}
        return LocalShell().run(["sh", "-c", text], check=False, env=path).code

    @property
    def calls(self) -> list[str]:
        return (self.root / "calls").read_text().splitlines()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_it_puts_the_units_to_their_place_and_tells_the_host_key_beside_the_bootstrap(host: Host) -> None:
    assert host.start() == 0
    assert host.calls == [f"python3 {host.root}/opt/provision/guard key", "bootstrap"]
    units = host.root / "etc/systemd/system"
    assert {unit.name.removeprefix("provision-") for unit in units.iterdir()} == {
        "guard.service", "attempt.service", "idle.service", "idle.timer",
    }  # fmt: skip
    assert "OnUnitActiveSec=15s\n" in (units / "provision-idle.timer").read_text()
    assert (units / "provision-guard.service").read_text() == script("provision-guard.service")


@pytest.mark.parametrize(("kept", "code"), [("0", 0), ("1", 1)])
def test_a_bootstrap_that_failed_ends_only_a_machine_at_which_nobody_looks(host: Host, kept: str, code: int) -> None:
    """Its user data powers it off where this fails (user_data._BEGIN)."""
    assert host.start(bootstrap=3, kept=kept) == code
    assert host.start(bootstrap=0, kept=kept) == 0


@pytest.mark.parametrize("unit", ["amazon-ssm-agent", "snap.amazon-ssm-agent.amazon-ssm-agent", "none"])
def test_session_managers_agent_starts_anew_where_it_is_the_way_in(host: Host, unit: str) -> None:
    host.fake(
        "systemctl", f'{NOTE.format("systemctl", host.root)}\ncase "$*" in *" {unit}.service") ;; *) exit 5;; esac'
    )
    assert host.start() == 0
    assert not [call for call in host.calls if "ssm" in call]
    assert host.start(via="ssm") == 0
    asked = [call.split()[-1] for call in host.calls if "ssm" in call]
    both = ["amazon-ssm-agent.service", "snap.amazon-ssm-agent.amazon-ssm-agent.service"]
    assert asked == (both[:1] if unit == "amazon-ssm-agent" else both)
    assert all("--no-block restart" in call for call in host.calls if "ssm" in call)
