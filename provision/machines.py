"""Machines: bring one up, take one up again, log in.

`up` writes an intent record before its first side effect: a client that is killed anywhere leaves what the same
command again adopts (same token, same instance) and what `ls` and `down` find by tag.
"""

import dataclasses
import fcntl
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from infra.aws.ec2 import Ec2
from infra.aws.iam import Iam
from infra.aws.launch import Launcher
from infra.aws.session import Cloud, own_address
from infra.aws.types import Instance, InstanceType, Place, SpotRequest
from infra.errors import HostError, HostKeyError, UsageError
from infra.keys import login_key, new_pair, pin, write_private
from infra.ssh import Address, SshShell, wait_for_port
from provision import userdata
from provision.settings import home, state_home

Say = Callable[[str], None]
_SSH_WAIT_S = 300.0
_READY_WAIT_S = 900.0
_LOGIN_WAIT_S = 90.0
_TOKEN_LIFE_S = 900.0


def folder(cloud: Cloud, name: str) -> Path:
    """This laptop's notes on an instance: its intent and its known_hosts."""
    return state_home() / "instances" / cloud.name.replace(":", "-") / cloud.region / name


def living(cloud: Cloud, name: str, kind: str = "") -> Instance | None:
    """The machine of that name that is there already; UsageError where it is of another type than asked for."""
    alive = [one for one in Ec2(cloud).instances(name) if one.state in ("pending", "running")]
    if not alive:
        return None
    if kind and alive[-1].type != kind:
        raise UsageError(
            f"{name} is there already, and is a {alive[-1].type}, not a {kind}",
            f"give another --name, or end it first: provision down {name}",
        )
    return alive[-1]


def rejoin(cloud: Cloud, instance: Instance, say: Say) -> Instance:
    """Take up a machine that is there: wait until it is ready, and let SSH in from where this laptop is now."""
    say(f"{instance.name} is there already: {instance.id}, {instance.state}")
    Launcher(cloud).let_in(instance.resource, own_address(cloud))
    return ready(cloud, Ec2(cloud).wait_running(instance), say)


@contextmanager
def locked(cloud: Cloud, name: str) -> Iterator[None]:
    """One launch of a name at a time on this laptop: two trainings may lose the same machine at once."""
    place = folder(cloud, name).parent
    place.mkdir(parents=True, exist_ok=True)
    with (place / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(cloud: Cloud, request: SpotRequest, say: Say) -> Instance:
    """Rent the machine and make it ready; a launch that an earlier, killed `up` began is taken over.

    Whatever ends this early (an error, Ctrl-C) has to end the machine as well: that is the caller's `down`.
    """
    ec2 = Ec2(cloud)
    request = _intent(cloud, request)
    instance = _launch(cloud, request, say)
    _pin(cloud, request, instance)
    say(f"{instance.id} launched in {instance.zone}; it ends by itself at {_clock(instance.deadline)}")
    return ready(cloud, ec2.wait_running(instance), say)


def _launch(cloud: Cloud, request: SpotRequest, say: Say) -> Instance:
    launcher = Launcher(cloud)
    say("security group and role")
    with ThreadPoolExecutor(2) as pool:
        group = pool.submit(launcher.ensure_group, request)
        role = pool.submit(Iam(cloud).ensure_role, request.resource, {"provision:name": request.name})
        role.result()
        group_id = group.result()
    say(f"asking for {request.market} {request.instance_type.name}")
    text = (folder(cloud, request.name) / "user-data").read_bytes()
    return launcher.launch(request, text, group_id, request.resource)


def _intent(cloud: Cloud, request: SpotRequest) -> SpotRequest:
    """Write down what is about to be asked for; or, after a crash, take up the request that was."""
    place = folder(cloud, request.name)
    if old := _earlier(place, request):
        return dataclasses.replace(old, address=request.address)
    _, public = login_key(home())
    host = new_pair(request.name)
    pin(place / "known_hosts", request.token, host.public)
    deadline = datetime.fromisoformat(request.tags["provision:deadline"])
    _write_bytes(place / "user-data", userdata.render(deadline, public, host))
    note = {"time": time.time(), "request": dataclasses.asdict(request)}
    write_private(place / "intent.json", json.dumps(note))
    return request


def _earlier(place: Path, request: SpotRequest) -> SpotRequest | None:
    """The noted request, where it asks for the same and is young enough for EC2 to know its token."""
    noted = place / "intent.json"
    if not noted.exists():
        return None
    note = json.loads(noted.read_text())
    old = note["request"]
    same = old["instance_type"]["name"] == request.instance_type.name and old["market"] == request.market
    if not same or time.time() - note["time"] > _TOKEN_LIFE_S:
        return None
    kind = InstanceType(**old.pop("instance_type"))
    places = tuple(Place(**one) for one in old.pop("places"))
    return SpotRequest(instance_type=kind, places=places, **old)


def _write_bytes(path: Path, data: bytes) -> None:
    write_private(path, "")
    path.write_bytes(data)


def _pin(cloud: Cloud, request: SpotRequest, instance: Instance) -> None:
    """From now on the host key goes by the instance's id; the private half is forgotten here."""
    place = folder(cloud, request.name)
    key = (place / "known_hosts").read_text().split(maxsplit=1)[1]
    pin(place / "known_hosts", instance.id, key)
    (place / "user-data").unlink(missing_ok=True)
    (place / "intent.json").unlink(missing_ok=True)


def ready(cloud: Cloud, instance: Instance, say: Say) -> Instance:
    """Wait until the host's bootstrap says ready, showing its progress; HostError with its log's end if it failed."""
    say(f"running at {instance.address}; waiting for SSH")
    if not wait_for_port(str(instance.address), 22, _SSH_WAIT_S):
        raise HostError(
            f"{instance.name} does not answer on port 22",
            "SSH is let in only from the address that called `up`",
        )
    with _first_login(cloud, instance) as host:
        _follow_bootstrap(host, say)
    return instance


def _first_login(cloud: Cloud, instance: Instance) -> SshShell:
    """sshd may listen before the user is there, and restarts once while cloud-init works. A wrong host key is final."""
    until = time.monotonic() + _LOGIN_WAIT_S
    while True:
        host = shell(cloud, instance)
        try:
            host.run(["true"])
            return host
        except HostKeyError:
            raise
        except HostError:
            host.close()
            if time.monotonic() > until:
                raise
        time.sleep(1.0)


def _follow_bootstrap(host: SshShell, say: Say) -> None:
    shown = 0
    until = time.monotonic() + _READY_WAIT_S
    while time.monotonic() < until:
        lines = _progress(host)
        for text in lines[shown:]:
            say(f"  host: {text}")
        shown = len(lines)
        if lines and lines[-1] == "ready":
            return
        if lines and lines[-1].startswith("failed"):
            log = host.run(["tail", "-n", "15", "/var/log/cloud-init-output.log"], check=False).out
            raise HostError(f"{host.where} could not be prepared ({lines[-1]})\n{log}", "mend it and run `up` again")
        time.sleep(0.5)
    raise HostError(f"{host.where} was not ready within {_READY_WAIT_S:g} s", f"provision down {host.where}")


def _progress(host: SshShell) -> list[str]:
    """The bootstrap's lines; none while sshd restarts."""
    try:
        return host.run(["cat", "/run/provision/progress"], check=False).out.splitlines()
    except HostKeyError:
        raise
    except HostError:
        return []


def address(cloud: Cloud, instance: Instance) -> Address:
    """How to log in there."""
    place = folder(cloud, instance.name)
    _adopt_pin(place, instance)
    if not (place / "known_hosts").exists() or instance.id not in (place / "known_hosts").read_text():
        raise HostError(
            f"this laptop does not know the host key of {instance.name}",
            "SSH works from the laptop that started it; logs, fetch and resume work from any",
        )
    key, _ = login_key(home())
    return Address(str(instance.address), userdata.USER, key, place / "known_hosts", instance.id)


def _adopt_pin(place: Path, instance: Instance) -> None:
    """An `up` that was killed between launch and pin left the key under its token."""
    noted = place / "intent.json"
    if not noted.exists():
        return
    token = json.loads(noted.read_text())["request"]["token"]
    if instance.resource.endswith(token[:8]):
        key = (place / "known_hosts").read_text().split(maxsplit=1)[1]
        pin(place / "known_hosts", instance.id, key)
        (place / "user-data").unlink(missing_ok=True)
        noted.unlink()


def shell(cloud: Cloud, instance: Instance) -> SshShell:
    return SshShell(address(cloud, instance), instance.name)


def find(cloud: Cloud, name: str) -> Instance:
    """The running instance of that name."""
    instance = Ec2(cloud).instance(name)
    if instance.state != "running":
        raise HostError(f"{name} is {instance.state}", "wait until it runs (provision ls), or end it: provision down")
    return instance


def _clock(at: datetime | None) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M %Z") if at else "?"
