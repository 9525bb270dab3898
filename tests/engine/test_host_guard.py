"""The guard as a program: how it comes to a host, and what its verbs do there."""

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from infra.host.guard import files, snapshots
from infra.shell import LocalShell, Result
from infra.ssh import SshShell
from provision.files import guard

PLAN = {"id": "r", "attempt": 1, "outputs": [], "snapshots": {"pattern": r"s/n_(?P<iteration>\d+)\.(?P<part>m)",
        "parts": ["m"]}}  # fmt: skip


class Host:
    """A folder that is a host, with a systemd that only notes what it is asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("bin", "run/provision", "opt/provision", "runs/r/s"):
            (root / folder).mkdir(parents=True)
        self.fake("sudo", 'exec "$@"')
        self.fake("systemctl", f'echo "$*" >> {root}/calls; case $* in *is-active*) [ ! -e {root}/broken ] ;; esac')

    def fake(self, name: str, body: str) -> None:
        (self.root / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.root / "bin" / name).chmod(0o755)

    def run(self, words: Sequence[str], check: bool = True, stdin: bytes | None = None) -> Result:
        at = [one.replace("/opt/", f"{self.root}/opt/").replace("/run/", f"{self.root}/run/") for one in words]
        env = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "PROVISION_RUNS": f"{self.root}/runs", "PROVISION_GUARD": f"{self.root}/guard",
        }  # fmt: skip
        return LocalShell().run(at, check=check, stdin=stdin, env=env)

    @property
    def restarts(self) -> int:
        return (self.root / "calls").read_text().splitlines().count("restart provision-guard")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def shell(host: Host) -> SshShell:
    return cast(SshShell, host)


def test_it_comes_once_and_again_where_it_differs_or_does_not_run(host: Host) -> None:
    for _ in range(2):
        guard.install(shell(host))
    assert host.restarts == 1
    (host.root / "opt/provision/guard/digest").write_text("another's")
    (host.root / "opt/provision/guard/old.py").touch()
    guard.install(shell(host))
    assert host.restarts == 2
    assert not (host.root / "opt/provision/guard/old.py").exists()
    assert sorted(path.name for path in (host.root / "opt/provision").iterdir()) == ["guard"]
    (host.root / "broken").touch()
    with pytest.raises(Exception, match="does not start"):
        guard.install(shell(host))
    assert host.restarts == 3


def test_a_guard_of_before_is_left_alone_while_it_watches_a_training(host: Host) -> None:
    (host.root / "opt/provision/guard").mkdir()
    host.fake("docker", "echo 0123")
    with pytest.raises(Exception, match="wait for its end"):
        guard.install(shell(host))
    assert list((host.root / "opt/provision/guard").iterdir()) == []
    host.fake("docker", "true")
    guard.install(shell(host))
    host.fake("docker", "echo 0123")
    (host.root / "opt/provision/guard/digest").write_text("another's")
    guard.install(shell(host))
    assert host.restarts == 2


def test_its_verbs_take_a_plan_files_and_a_stop(host: Host) -> None:
    (host.root / "runs/r/s/n_5.m").write_text("x")
    guard.install(shell(host))
    guard.plan(shell(host), "r", PLAN)
    plan: dict[str, Any] = json.loads((host.root / "guard/r/plan.json").read_text())
    assert {key: plan[key] for key in PLAN} == PLAN
    assert list(plan["there"]) == ["s/n_5.m"]
    guard.place(shell(host), "r", {"log/": "", "net.prototxt": "layer"})
    assert (host.root / "runs/r/net.prototxt").read_text() == "layer"
    guard.stop(shell(host), "r")
    assert (host.root / "guard/r/stop").exists()
    with pytest.raises(Exception, match="is no run"):
        guard.stop(shell(host), "../r")


def swap(folder: Path, secret: Path) -> None:
    """What a container may do, as fast as it can: files and folders for links and back."""
    os.chdir(folder)
    Path("folder").symlink_to(secret.parent)
    while True:
        Path("new").write_text("mine")
        Path("new").rename("s/n_7.m")
        Path("new").symlink_to(secret)
        Path("new").rename("s/n_7.m")
        Path("s").rename("away")
        Path("folder").rename("s")
        Path("s").rename("folder")
        Path("away").rename("s")


@contextlib.contextmanager
def container(uid: int, folder: Path, secret: Path) -> Iterator[None]:
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            swap(folder, secret)
        finally:
            os._exit(1)
    try:
        yield
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)  # it still does
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read what another must not")
def test_no_race_lets_the_guard_read_a_file_of_roots() -> None:
    got: set[bytes] = set()
    with tempfile.TemporaryDirectory() as base:
        root, work = Path(base), Path(base, "r")
        for folder in (root / "root", work / "s"):
            folder.mkdir(parents=True)
        secret = root / "root/n_7.m"
        secret.write_text("root's")
        os.chown(secret, 65534, 65534)  # nothing but the way to it tells it from the container's own
        secret.parent.chmod(0o700)
        root.chmod(0o755)
        for path in (work, work / "s"):
            os.chown(path, 65534, 65534)
        tries = 0
        with container(65534, work, secret):
            while tries < 5000 or b"mine" not in got:
                tries += 1
                with contextlib.suppress(OSError), files.opened(str(work), "s/n_7.m", 65534) as fd:
                    got.add(os.pread(fd, 99, 0))
    assert got <= {b"mine", b""}


def test_a_pattern_that_backtracks_for_ever_is_tried_apart() -> None:
    fits, whole = snapshots.apart(r"(a+)+b(?P<iteration>\d+)", ["a" * 60, "ab7"])
    assert (fits, whole) == ({"ab7": [7, None]}, True)
    assert snapshots.apart("(", ["a"]) == ({}, False)
