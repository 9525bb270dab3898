"""The edge cloud in this process: moto, our front of it, machines whose hosts are simulated; and what there is."""

import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from localcloud import emulator
from localcloud.edge import Edge, quicken
from localcloud.engine import Network
from tests.simulate import hosts, wire
from tests.simulate.baton import BATON, EPOCH

SCHEDULES_EVERY_S = 40.0  # AWS may be up to a minute late
PENDING_S = 8.0
OURS = "provision:name"


class Hosts(Edge):
    """Machines are `hosts.Host`s. They end by themselves at their deadline."""

    def __init__(self) -> None:
        super().__init__("sim")
        self.there: dict[str, hosts.Host] = {}

    def network(self) -> Network:
        quicken()
        return Network("127.0.0.1", ip_network("127.0.0.0/8"))

    def start(self, name: str) -> str:
        self.count += 1
        host = self.there[name] = hosts.Host(name, f"10.0.{self.count // 200}.{self.count % 200 + 1}", self.over)
        host.boot()
        return host.address

    def over(self, name: str) -> None:
        """A host has powered itself off."""
        if self.there.pop(name, None):
            self.ended.put((name, 0))

    def address(self, name: str) -> str:
        return self.there[name].address

    def running(self, name: str) -> bool:
        return name in self.there

    def kill(self, name: str) -> None:
        host = self.there.pop(name, None)
        if host:
            host.kill()


class World:
    """All that a simulation's end is judged by, read from the emulator's memory."""

    def __init__(self, folder: Path) -> None:
        emulator.prepare(folder)
        _trust_all()
        moto = emulator.application()
        from localcloud import ec2, scheduler
        from localcloud.machines import Machines
        from localcloud.wsgi import Front

        scheduler.EVERY = SCHEDULES_EVERY_S
        self.engine = Hosts()
        network = self.engine.network()
        self.machines = Machines(self.engine, "none", PENDING_S)
        ec2.install(self.machines)
        self.front = Front("sim", "secret", network, moto, self.machines, lambda: None)
        self.keys = emulator.administrator()
        self.lives: dict[str, list[float]] = {}  # instance → when it began, and when it ended
        self._note_lives()
        wire.WIRE.app = self.front._amazon
        wire.WIRE.metadata = self._metadata

    def _note_lives(self) -> None:
        from localcloud import machines

        real = machines.set_state

        def noted(instance: Any, state: str, reason: str = "") -> None:
            life = self.lives.setdefault(instance.id, [BATON.now])
            if state in machines.GONE and len(life) == 1:
                life.append(BATON.now)
            real(instance, state, reason)

        machines.set_state = noted

    def cost(self, instance: Any) -> float:
        """What the instance has cost by the market's real prices, in US dollars; disks by their usual price."""
        from localcloud import hardware

        life = self.lives[instance.id]
        at, end, total = life[0], life[1] if len(life) > 1 else BATON.now, 0.0
        while at < end:
            step = min(60.0, end - at)
            moment = datetime.fromtimestamp(EPOCH + at, timezone.utc)
            spot = instance.lifecycle == "spot"
            kind, zone = instance.instance_type, instance.placement.zone
            total += step / 3600 * (hardware.spot_price(kind, zone, moment) if spot else hardware.on_demand(kind))
            at += step
        return total + (end - life[0]) / 3600 * float(tags_of(instance).get("provision:disk", "0")) * 0.08 / 730

    def _metadata(self, method: str, path: str) -> tuple[int, bytes]:
        from localcloud import metadata

        host = BATON.current.group.data.get("host")
        machine = self.machines.by_id.get(host.id) if host else None
        if machine is None:
            return 503, b""
        return (200, b"token") if method == "PUT" else metadata.answer(machine, path)

    def record(self) -> dict[str, str]:
        """What `provision local start` would print."""
        return {
            "endpoint": wire.ENDPOINT, "checkip": f"{wire.ENDPOINT}/_local/checkip", "region": emulator.REGION,
            "access_key": self.keys.access_key, "secret_key": self.keys.secret_key,
        }  # fmt: skip

    def living(self) -> list[Any]:
        """moto's records of instances that are billed: those that are pending or run."""
        return [one.instance for one in self.machines.by_id.values() if one.state in ("pending", "running")]

    def kept(self) -> dict[str, str]:
        """Volumes that stay until somebody deletes them by name: id → that name."""
        from moto.ec2.models import ec2_backends

        from infra.aws.volumes import KEEP

        volumes = ec2_backends[emulator.ACCOUNT][emulator.REGION].volumes.values()
        return {one.id: tags_of(one)[KEEP] for one in volumes if tags_of(one).get(KEEP)}

    def disks(self) -> tuple[set[str], set[str]]:
        """Ids of the volumes that living machines have: those that outlive them, and those that go with them."""
        found = [disk for one in self.living() for _, disk in one.get_block_device_mapping]
        staying = {disk.volume_id for disk in found if not disk.delete_on_termination}
        return staying, {disk.volume_id for disk in found} - staying

    def things(self) -> dict[str, list[str]]:
        """Names of all that there is, by kind, as the account's owner would see it."""
        found = dict(self._things())
        return {kind: sorted(names) for kind, names in found.items() if names}

    def _things(self) -> Iterator[tuple[str, list[str]]]:
        from moto.ec2.models import ec2_backends
        from moto.iam.models import iam_backends
        from moto.scheduler.models import scheduler_backends

        yield "machines", [one.id for one in self.living()]
        ec2 = ec2_backends[emulator.ACCOUNT][emulator.REGION]
        yield "volumes", list(ec2.volumes)
        yield "interfaces", list(ec2.enis)
        yield "groups", [one.name for all_of in ec2.groups.values() for one in all_of.values() if one.name != "default"]
        yield "templates", [one.name for one in ec2.launch_templates.values()]
        yield "addresses", list(ec2.addresses)
        yield (
            "spot requests",
            [one.id for one in ec2.spot_instance_requests.values() if one.state in ("open", "active")],
        )
        iam = iam_backends[emulator.ACCOUNT]["aws"]
        yield "roles", [one.name for one in iam.roles.values() if one.path.startswith("/provision/")]
        yield "profiles", [one.name for one in iam.instance_profiles.values() if one.path.startswith("/provision/")]
        groups = scheduler_backends[emulator.ACCOUNT][emulator.REGION].schedule_groups.values()
        yield "schedules", [name for group in groups for name in group.schedules]


def tags_of(instance: Any) -> Mapping[str, str]:
    return {tag["key"]: tag["value"] for tag in instance.get_tags()}


def _trust_all() -> None:
    """Signatures are not looked at: that is half of what a call costs, and no schedule is about it."""
    import os

    os.environ.pop("INITIAL_NO_AUTH_ACTION_COUNT", None)


def seeded(seed: int) -> None:
    """All that is random in this process follows from the seed."""
    chosen = random.Random(f"ids {seed}")
    random.seed(seed)
    BATON.random.seed(f"baton {seed}")

    def unique() -> uuid.UUID:
        return uuid.UUID(int=chosen.getrandbits(128), version=4)

    import secrets

    from moto.moto_api._internal import mock_random

    mock_random.seed(seed)
    uuid.uuid4 = unique
    secrets.token_hex = lambda count=32: chosen.randbytes(count).hex()  # type: ignore[assignment]
    secrets.token_urlsafe = lambda count=32: chosen.randbytes(count).hex()  # type: ignore[assignment]
