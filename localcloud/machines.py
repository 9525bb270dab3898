"""Instances as containers. moto keeps each instance's record; this makes it true.

Every change of state is made by a worker thread, so that API calls return at once, as AWS's do: RunInstances
answers `pending`, and the instance runs when its container does. One lock for each machine keeps a terminate
from overtaking a launch. A container that ends by itself (power-off, reboot, a crash) is noticed from Docker's
events.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from moto.ec2.models.instances import Instance, StateReason

from localcloud import firewall, hardware
from localcloud.disks import Disk
from localcloud.engine import HERE, TOOLS, Engine
from localcloud.images import Images

STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
GONE = ("shutting-down", "terminated")
REBOOT = 129  # the exit code of a container whose init asked the kernel for a restart (SIGHUP)
USER = "Client.UserInitiatedShutdown: User initiated shutdown"
INSIDE = "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
SPOT = "Server.SpotInstanceTermination: Spot instance termination"
BROKEN = "Server.InternalError: Internal error on launch"

# Kept before `ec2` puts ours in their place: they write down the end of what ours begin.
MOTO_TERMINATE, MOTO_STOP = Instance.terminate, Instance.stop
log = logging.getLogger("localcloud")


@dataclass(frozen=True)
class Interruption:
    """AWS will take the machine back; `at` as the metadata service writes it (UTC)."""

    at: str
    code: str


@dataclass
class Machine:
    """The live side of one instance; `instance` is moto's record of it."""

    instance: Any
    container: str = ""
    address: str | None = None
    rules: str = ""
    interruption: Interruption | None = None
    disks: dict[str, Disk] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def state(self) -> str:
        return str(self.instance.state)


class Machines:
    """All instances of the cloud. `pending` is how long (seconds) a launch takes at least, `boot` how long until the
    machine's own system starts."""

    def __init__(self, engine: Engine, image: str, pending: float, boot: float = 0.0) -> None:
        self.engine, self.images, self.pending, self.boot = engine, Images(engine, image), pending, boot
        self.by_id: dict[str, Machine] = {}
        self.pool = ThreadPoolExecutor(16, "machine")
        self.closed = False
        threading.Thread(target=self._watch, daemon=True, name="deaths").start()

    def at(self, address: str) -> Machine | None:
        """The machine that has this address."""
        return next((machine for machine in list(self.by_id.values()) if machine.address == address), None)

    def launch(self, instance: Any, disks: dict[str, Disk]) -> None:
        """Begin to make the instance's container; `disks` are by the ids of their volumes."""
        machine = self.by_id[instance.id] = Machine(instance, disks=disks)
        set_state(instance, "pending")
        self.later(self._launch, machine)

    def terminate(self, instance: Any, reason: str = USER) -> None:
        machine = self.by_id[instance.id]
        if machine.state not in GONE:
            set_state(instance, "shutting-down", reason)
            self.later(self._terminate, machine, reason)

    def stop(self, instance: Any, reason: str = USER) -> None:
        machine = self.by_id[instance.id]
        if machine.state in ("pending", "running"):
            set_state(instance, "stopping", reason)
            self.later(self._stop, machine, reason)

    def start(self, instance: Any) -> None:
        set_state(instance, "pending")
        self.later(self._start, self.by_id[instance.id], time.monotonic())

    def reboot(self, instance: Any) -> None:
        self.later(self._reboot, self.by_id[instance.id])

    def interrupt(self, instance_id: str, notice: float, code: str) -> Interruption:
        """Announce that the machine will be taken in `notice` seconds, and then take it."""
        machine = self.by_id[instance_id]
        at = datetime.now(timezone.utc) + timedelta(seconds=notice)
        machine.interruption = Interruption(at.strftime("%Y-%m-%dT%H:%M:%SZ"), code)
        timer = threading.Timer(notice, self._take, (machine,))
        timer.daemon = True
        timer.start()
        return machine.interruption

    def refresh_rules(self) -> None:
        """Bring the security groups of all running machines up to date."""
        for machine in list(self.by_id.values()):
            if machine.state == "running":
                self.later(self._apply_rules, machine)

    def close(self) -> None:
        """The cloud ends: all containers and disks go, also those of launches on their way."""
        self.closed = True
        self.pool.shutdown()
        left = [machine.container for machine in self.by_id.values() if machine.container]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(self.engine.remove, left))

    def later(self, work: Callable[..., None], machine: Machine, *args: Any) -> None:
        """Do `work(machine, *args)` in a thread of the pool, alone with this machine; errors go to the log."""

        def guarded() -> None:
            try:
                with machine.lock:
                    if not self.closed:
                        work(machine, *args)
            except Exception:
                log.exception("%s: %s failed", machine.instance.id, work.__name__)

        if not self.closed:
            self.pool.submit(guarded)

    def _launch(self, machine: Machine) -> None:
        begun = time.monotonic()
        instance = machine.instance
        if machine.state != "pending":
            return
        try:
            gpus = hardware.gpus_of(instance.instance_type, instance.id)
            files = {"gpus": "".join(f"{gpu.line()}\n" for gpu in gpus), "firewall": ""}
            image, preloaded = self.images.tag(instance.image_id), self.images.preloaded(instance.image_id)
            machine.container = self.engine.create(instance.id, image, files, preloaded)
            time.sleep(max(0.0, begun + self.boot - time.monotonic()))
            self._start(machine, begun)
        except Exception:
            self._terminate(machine, BROKEN)
            raise

    def _start(self, machine: Machine, begun: float) -> None:
        if machine.state != "pending":
            return
        machine.rules = self._rules(machine)
        self.engine.put(machine.container, {"firewall": machine.rules})
        self._power_on(machine)
        time.sleep(max(0.0, begun + self.pending - time.monotonic()))
        if machine.state == "pending":
            set_address(machine.instance, machine.address)
            set_state(machine.instance, "running")
            self.refresh_rules()  # other groups may name this one's

    def _terminate(self, machine: Machine, reason: str) -> None:
        if machine.state == "terminated":
            return
        machine.address = None
        if machine.container:
            self.engine.remove(machine.container)
        for volume in machine.disks:
            self.engine.release(volume)
        set_address(machine.instance, None)
        MOTO_TERMINATE(machine.instance)
        set_state(machine.instance, "terminated", reason)
        _close_request(machine)

    def _stop(self, machine: Machine, reason: str) -> None:
        if machine.state != "stopping":
            return
        self.engine.stop(machine.container)
        machine.address = None
        MOTO_STOP(machine.instance)
        set_address(machine.instance, None)
        set_state(machine.instance, "stopped", reason)

    def _reboot(self, machine: Machine) -> None:
        if machine.state == "running":
            self.engine.stop(machine.container)
            self._back(machine)

    def _back(self, machine: Machine) -> None:
        """Start again after a reboot; the state stays `running`."""
        self.engine.put(machine.container, {"firewall": self._rules(machine)})
        self._power_on(machine)
        set_address(machine.instance, machine.address)

    def _power_on(self, machine: Machine) -> None:
        machine.address = self.engine.start(machine.container)
        for disk in list(machine.disks.values()):
            self.engine.plug(machine.container, disk)

    def _take(self, machine: Machine) -> None:
        if machine.state not in GONE:
            set_state(machine.instance, "shutting-down", SPOT)
            self.engine.kill(machine.container)
            self.later(self._terminate, machine, SPOT)

    def _watch(self) -> None:
        while not self.closed:
            try:
                for instance_id, code in self.engine.deaths():
                    if instance_id in self.by_id:
                        self.later(self._died, self.by_id[instance_id], code)
            except Exception:
                log.exception("Docker's events were lost; asking again")
                time.sleep(1)

    def _died(self, machine: Machine, code: int) -> None:
        """A container ended. Ours to handle only if nobody asked for it."""
        if machine.state != "running" or self.engine.running(machine.container):
            return
        if code == REBOOT:
            self._back(machine)
        elif machine.instance.instance_initiated_shutdown_behavior == "terminate":
            set_state(machine.instance, "shutting-down", INSIDE)
            self._terminate(machine, INSIDE)
        else:
            set_state(machine.instance, "stopping", INSIDE)
            self._stop(machine, INSIDE)

    def _apply_rules(self, machine: Machine) -> None:
        rules = self._rules(machine)
        if machine.state == "running" and rules != machine.rules:
            self.engine.put(machine.container, {"firewall": rules})
            self.engine.run(machine.container, [f"{TOOLS}/firewall", f"{HERE}/firewall"])
            machine.rules = rules

    def _rules(self, machine: Machine) -> str:
        return firewall.lines(firewall.groups_of(machine.instance), self._members)

    def _members(self, group: str) -> list[str]:
        """The addresses of the machines in a security group."""
        return [
            machine.address
            for machine in list(self.by_id.values())
            if machine.address and any(its.id == group for its in firewall.groups_of(machine.instance))
        ]


def set_state(instance: Any, state: str, reason: str = "") -> None:
    """Write the state down in moto's record, and AWS's words for why."""
    instance._state.name, instance._state.code = state, STATES[state]
    instance.state_reason = StateReason(reason, reason.split(":")[0])


def set_address(instance: Any, address: str | None) -> None:
    """The instance's address, private and public alike: the one on the bridge."""
    instance.local_address = address
    nic = instance.nics.get(0)
    if nic is not None:
        nic.public_ip = address
        if address:
            nic.private_ip_address = address
            nic.private_ip_addresses = [{"Primary": True, "PrivateIpAddress": address}]


def _close_request(machine: Machine) -> None:
    request = getattr(machine.instance, "spot_request", None)
    if request is not None:
        coming = machine.interruption
        code = f"instance-terminated-{coming.code}" if coming else "instance-terminated-by-user"
        request.close(code)
