"""A host: what it answers over SSH, its own end, and (`guarded`) the real guard with a container that it watches."""

import gzip
import io
import json
import re
import shlex
import signal
import tarfile
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from infra.errors import HostError
from infra.keys import new_pair
from infra.shell import Result, checked
from tests.simulate import trainings
from tests.simulate.baton import BATON, EPOCH, Group, Task
from tests.simulate.guards import ROOTS, Guard, files

FOLDER = Path(tempfile.gettempdir()) / "no-hosts"  # a simulation's own, once it plays
BOOT_S, READY_S = 25.0, 70.0
IDLE_LOOK_S = 120.0
STOP_S = 120.0  # TimeoutStopSec of the guard's unit
HOST_KEY = " ".join(new_pair("simulated").public.split()[:2])  # of all of them: no line is encrypted
ON_POWER_OFF: list[Callable[[str], None]] = []
BY_ID: dict[str, "Host"] = {}
BY_ADDRESS: dict[str, "Host"] = {}
SICK: list[bool] = []  # for each entry, the bootstrap of one more machine fails


class Host:
    """A machine's own side. `over`: called with its id when it powers itself off."""

    def __init__(self, name: str, address: str, over: Callable[[str], None]) -> None:
        self.id, self.address, self._over = name, address, over
        self.group = Group(f"host {name}", data={"host": self})
        self.began = BATON.now
        self.files: dict[str, bytes] = {}
        self.fails = bool(SICK and SICK.pop())  # its bootstrap
        self.alive = True
        self.timer = 0
        self.folder = FOLDER / name
        self.containers: dict[str, Any] = {}
        self.turn: Group | None = None
        self.guard: Guard | None = None
        self.watching: Task | None = None
        self.stopping = False
        BY_ID[name] = BY_ADDRESS[address] = self

    def path(self, there: str) -> Path:
        """Where a path of the host lies here."""
        return Path(f"{self.folder}{there}")

    def guarded(self) -> None:
        """Let its guard watch from now on."""
        if self.guard is None:
            self.path("/var/lib/provision/runs").mkdir(parents=True, exist_ok=True)
            self.guard = Guard(self.folder, lambda words: trainings.words_of(self, words))
            self.group.lazy = 8.0
            self.group.out = io.StringIO()
            guard = self.guard
            self.watching = BATON.spawn(self.group, lambda: guard.call("watch"))

    def boot(self) -> None:
        from localcloud.edge import user_data_of

        packed = user_data_of(self.id)
        if not packed:
            return
        text = gzip.decompress(packed).decode()
        written = {one["path"]: one["content"] for one in json.loads(text.partition("\n")[2])["write_files"]}
        self._settle(written["/opt/provision/settings"])
        BATON.spawn(self.group, lambda: self._tell(json.loads(written["/opt/provision/order.json"])))
        at = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
        if at:
            self.ends_at(at[0])
        idle = re.search(r"idle_seconds='?(\d+)", text)
        if idle and int(idle[1]):
            BATON.spawn(self.group, lambda: self._look_idle(float(idle[1])))

    def _tell(self, order: dict[str, str]) -> None:
        """Its host key, as guard/hostkey.py does, once it has booted and has its role."""
        from localcloud.edge import tell

        BATON.sleep(BOOT_S)
        while not tell(order, self.id, HOST_KEY):
            BATON.sleep(1.0)

    def _settle(self, settings: str) -> None:
        path = self.path("/opt/provision/settings")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(settings)

    @property
    def used(self) -> bool:
        """Whether a training runs, or is being saved."""
        unsaved = self.path("/run/provision/unfinished")
        trains = any(one.status == "running" for one in self.containers.values())
        return trains or (unsaved.exists() and unsaved.stat().st_size > 0)

    def _look_idle(self, patience: float) -> None:
        """As idle.sh does: a host without a training ends after so many seconds."""
        since = BATON.now + READY_S
        while BATON.now - since < patience:
            BATON.sleep(IDLE_LOOK_S)
            if self.used:
                since = BATON.now
        self.power_off()

    def ends_at(self, text: str) -> None:
        """Arm the deadline; the one before is off."""
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=timezone.utc).timestamp() - EPOCH
        self.timer += 1
        mine = self.timer

        def wait() -> None:
            BATON.sleep(max(0.0, moment - BATON.now))
            if self.timer == mine:
                self.power_off()

        BATON.spawn(self.group, wait)

    def power_off(self) -> None:
        """Its guard is stopped first, and may save for as long as its unit lets it."""
        if not self.stopping:
            self.stopping = True
            for seen in ON_POWER_OFF:
                seen(self.id)
            BATON.spawn(BATON.world, self._stop)

    def _stop(self) -> None:
        until, guard = BATON.now + STOP_S, self.watching
        handler = self.group.data.get("handlers", {}).get(signal.SIGTERM)
        if guard is not None and callable(handler):
            handler(signal.SIGTERM, None)
        while guard is not None and not guard.done and BATON.now < until and self.alive:
            BATON.sleep(1.0)
        if self.alive:
            self._over(self.id)
            self.kill()

    def kill(self) -> None:
        self.alive = False
        for one in self.containers.values():
            one.group.kill()
        self.group.kill()

    @property
    def up(self) -> bool:
        return self.alive and not self.stopping and BATON.now - self.began > BOOT_S

    @property
    def progress(self) -> str:
        if BATON.now - self.began < READY_S:
            return "docker\n"
        return "docker\nfailed: asked for by the simulation\n" if self.fails else "docker\nready\n"

    def answer(self, line: str, stdin: bytes | None) -> Result:
        """Do a command line as the host's shell would."""
        for pattern, act in VERBS:
            if found := re.fullmatch(pattern, line, re.DOTALL):
                return act(self, found, stdin)
        return Result(127, "", f"sh: the simulation knows no: {line[:300]}\n")


def _extend(host: Host, found: re.Match[str], _: bytes | None) -> Result:
    at = shlex.split(found[1])[0]
    host.ends_at(at)
    return Result(0, f"ends at {at}\n")


def _said(text: str) -> Callable[..., Result]:
    return lambda *_: Result(0, text)


def _install(host: Host, _: re.Match[str], stdin: bytes | None) -> Result:
    """The guard comes over SSH: all that the real one imports has to be in what came."""
    with tarfile.open(fileobj=io.BytesIO(stdin or b"")) as tar:
        came = {Path(name).stem for name in tar.getnames()}
    if missing := sorted(path.stem for path in files() if path.stem not in came):
        return Result(1, "", f"the guard does not start: {missing}\n")
    host.guarded()
    return Result(0)


def _make(host: Host, found: re.Match[str], _: bytes | None) -> Result:
    for there in shlex.split(found[1]):
        host.path(there).mkdir(parents=True, exist_ok=True)
    return Result(0)


def _write(host: Host, found: re.Match[str], stdin: bytes | None) -> Result:
    path = host.path(shlex.split(found[1])[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(stdin or b"")
    part.replace(path)
    return Result(0)


def _touch(host: Host, found: re.Match[str], _: bytes | None) -> Result:
    host.path(found[1]).touch()
    return Result(0)


def _forget(host: Host, found: re.Match[str], _: bytes | None) -> Result:
    for there in shlex.split(found[1]):
        host.path(there).unlink(missing_ok=True)
    return Result(0)


def _guard(host: Host, found: re.Match[str], stdin: bytes | None) -> Result:
    """A verb of the guard, by sudo: its folders are the host's."""
    words = [f"{host.folder}{word}" if word.startswith(ROOTS) else word for word in shlex.split(found[1])]
    if host.guard is None:
        return Result(2, "", "python3: can't open file '/opt/provision/guard'\n")
    group = BATON.current.group
    group.data["host"] = host  # whose metadata it asks
    try:
        host.guard.call(*words, stdin=stdin or b"")
    except SystemExit as end:
        return Result(0 if end.code in (None, 0) else 1, "", str(end.code or ""))
    except Exception as error:
        return Result(1, "", repr(error))
    finally:
        group.data.pop("host", None)
    return Result(0)


Verb = Callable[[Host, re.Match[str], bytes | None], Result]
VERBS: list[tuple[str, Verb]] = [
    (r"true", _said("")),
    (r"cat /run/provision/progress", lambda host, *_: Result(0, host.progress)),
    (r"sudo cat /var/log/cloud-init-output.log", _said("the log\n")),
    (r"sudo sh -c '.*' extend\.sh ('[^']*')", _extend),
    (r"sudo sh -c '.*' mount\.sh (\S+) (\S+) (\S+)", _said("mounted\n")),
    (r"sudo sh -ec '.*provision-guard.*' sh (\S+)", _install),
    (r"sh -c '\s*echo \"uid.*", _said(trainings.FACTS)),
    (r"mkdir -p (.*)", _make),
    (r"rm -f (.*)", _forget),
    (r"touch (\S+)", _touch),
    (r"sh -c '.*cat > .*' sh (\S+)", _write),
    (r"sudo python3 /opt/provision/guard (.*)", _guard),
    (r"(?:sudo )?(?:chown|systemd-run|chmod) .*", _said("")),
]


class Shell:
    """In the place of `infra.ssh.SshShell`."""

    def __init__(self, address: Any, name: str = "") -> None:
        self.address, self.where = address, name
        there = str(address.host)  # with `--via ssm` the instance's id
        self.host = BY_ADDRESS.get(there) or BY_ID.get(there)

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None: ...

    def run(self, words: Any, *, check: bool = True, stdin: bytes | None = None, **_: Any) -> Result:
        self._travel()
        assert self.host is not None
        line = " ".join(shlex.quote(str(word)) for word in words)
        result = self.host.answer(line, stdin)
        self._travel()
        return checked(result, words, self.where, check)

    def feed(self, words: Any, chunks: Any, **_: Any) -> Result:
        return self.run(words, stdin=b"".join(chunks))

    def put(self, source: Path, target: str) -> None:
        self._travel()
        assert self.host is not None
        self.host.files[target] = source.read_bytes()

    def _travel(self) -> None:
        """There or back, over a line that may be down. HostError where nobody answers."""
        BATON.check()
        BATON.sleep(0.05 + 0.1 * BATON.random.random())
        client = BATON.current.group.data.get("client")
        if self.host is None or not self.host.up or (client and client.offline):
            BATON.sleep(5.0)
            raise HostError(f"cannot log in to {self.where}: no route", "check that it runs: provision ls")


def port_answers(address: str, _: int, timeout: float) -> bool:
    """In the place of `infra.tunnel.wait_for_port`."""
    until = BATON.now + timeout
    while True:
        host = BY_ADDRESS.get(address)
        if host is not None and host.up:
            return True
        if BATON.now >= until:
            return False
        BATON.sleep(1.0)
