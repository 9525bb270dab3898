"""The host's engine: nothing to do where one answers; on a bare machine it is installed and started."""

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from infra import baseimage, buildx
from infra.errors import EngineError
from infra.hostsetup import ensure_engine
from infra.shell import LocalShell, OnLine, Result, Words

pytestmark = pytest.mark.engine

# what a container needs to run an engine of its own, by name instead of --privileged
CAPS = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_ADMIN NET_RAW "
    "IPC_LOCK SYS_CHROOT SYS_PTRACE SYS_ADMIN SYS_NICE MKNOD AUDIT_WRITE SETFCAP SYSLOG"
)
OPEN = ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined")
REMOUNT = 'for d in /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$d"; done; mount -o remount,rw /sys/fs/cgroup; true'


class Inside:
    """A shell in a container, as some user."""

    def __init__(self, container: str, user: str = "root") -> None:
        self.where = container
        self.user = user

    def run(
        self,
        words: Words,
        *,
        check: bool = True,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> Result:
        head = ["docker", "exec", *(["--interactive"] if stdin else []), "--user", self.user]
        for key, value in (env or {}).items():
            head += ["--env", f"{key}={value}"]
        return LocalShell().run([*head, self.where, *words], check=check, stdin=stdin, timeout=timeout, on_line=on_line)

    def put(self, source: Path, target: str) -> None:
        LocalShell().run(["docker", "cp", str(source), f"{self.where}:{target}"])

    def get(self, source: str, target: Path) -> None:
        LocalShell().run(["docker", "cp", f"{self.where}:{source}", str(target)])


@pytest.fixture(scope="module")
def bare() -> Iterator[str]:
    """A bare Debian without systemd and without Docker, in which an engine can run."""
    baseimage.ensure("debian:bookworm")
    name = f"provision-test-host-{uuid.uuid4().hex[:8]}"
    words = [
        "docker",
        "run",
        "--detach",
        "--init",
        "--name",
        name,
        "--cgroupns=private",
        "--device-cgroup-rule",
        "a *:* rwm",
    ]
    words += [word for cap in CAPS.split() for word in ("--cap-add", cap)]
    words += [word for option in OPEN for word in ("--security-opt", option)]
    shell = LocalShell()
    try:
        shell.run([*words, "--volume", "/var/lib/docker", "debian:bookworm", "sleep", "infinity"])
        Inside(name).run(["sh", "-c", REMOUNT], check=False)
        yield name
    finally:
        shell.run(["docker", "rm", "--force", "--volumes", name], check=False)


def test_where_an_engine_answers_nothing_is_done() -> None:
    steps = ensure_engine(LocalShell(), buildx=False)
    assert steps == []


def test_who_is_not_root_is_told_what_to_do(bare: str) -> None:
    with pytest.raises(EngineError) as error:
        ensure_engine(Inside(bare, user="1000"))
    assert "no Docker engine" in error.value.what
    assert "as root" in error.value.mend
    assert error.value.exit_code == 11


@pytest.mark.long
def test_a_bare_machine_gets_an_engine_and_then_buildx_and_then_nothing(bare: str) -> None:
    shell = Inside(bare)
    steps = ensure_engine(shell, buildx=False)
    assert any("installing docker.io" in step for step in steps), steps
    assert not any("buildx" in step for step in steps), steps
    assert shell.run(["docker", "version", "--format", "{{.Server.Version}}"]).out.strip()
    assert _builds(shell, with_buildx=False)

    assert "installing docker-buildx" in ensure_engine(shell)
    assert buildx.has_buildx(shell)
    assert _builds(shell, with_buildx=True)

    assert ensure_engine(shell) == []


def test_the_socket_may_refuse_a_user(bare: str) -> None:
    ensure_engine(Inside(bare), buildx=False)
    with pytest.raises(EngineError) as error:
        ensure_engine(Inside(bare, user="1000"), buildx=False)
    assert "usermod -aG docker" in error.value.mend


def _builds(shell: Inside, *, with_buildx: bool) -> bool:
    from images.choose import choose
    from images.render import Context

    tag = f"test:{'buildx' if with_buildx else 'plain'}"
    text = f"FROM scratch\nCOPY Dockerfile /{tag[5:]}\n"
    context = Context(choose("caffe-debian"), (("Dockerfile", text),))
    words = buildx.build_words(tag, {"one": "two"}, buildx=with_buildx)
    shell.run(words, stdin=context.tar(), env=buildx.build_env(buildx=with_buildx))
    found = buildx.inspect(shell, tag)
    return found is not None and found.labels == {"one": "two"}
