"""Hosts at the cloud's edge: instances without containers, for tests that start hundreds of them (`start --edge`).

An instance is then moto's record of it and an SSH server of this process, at an address of its own in 127.0.0.0/8. Its
host key, its user and the key that lets that user in are those of the instance's real user data; a host key that is to
be made there is told in S3, as the machine's own program does. It answers the few commands that `edgehost` knows as a
host does that is prepared. There is no metadata service, no firewall and no deadline on such a host.
"""

import base64
import contextlib
import logging
import queue
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from infra.errors import CloudError
from localcloud.disks import Disk
from localcloud.edgehost import Access, Host, access_of
from localcloud.emulator import ACCOUNT
from localcloud.engine import Engine, Network

if TYPE_CHECKING:
    from localcloud.machines import Machine

HOST = "127.0.0.1"
SSH = 22
log = logging.getLogger("localcloud")


class Edge(Engine):
    """In the place of `engine.Engine`: the same methods, and no Docker. SSH answers `boot` s after a host's start."""

    def __init__(self, name: str, boot: float = 0.0) -> None:
        self.boot = boot
        self.prefix = f"127.{1 + zlib.crc32(name.encode()) % 254}"
        self.count = 0
        self.hosts: dict[str, Host] = {}
        self.lock = threading.Lock()
        self.ended: queue.Queue[tuple[str, int]] = queue.Queue()
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # a look whether the port is open is no error

    def network(self) -> Network:
        """CloudError where this process may not have port 22, or another has it on all addresses."""
        quicken()  # not before moto's switches are set, which it reads when it is imported
        with contextlib.closing(self._listen()):
            return Network(HOST, ip_network("127.0.0.0/8"))

    def image(self, say: Callable[[str], None]) -> str:
        return "none"

    def bare(self, say: Callable[[str], None]) -> str:
        return "none"

    def commit(self, name: str, ami: str) -> str:
        return ami

    def image_disk(self, ami: str) -> str:
        return ""

    def drop_image(self, ami: str, tag: str) -> None:
        """There is no image."""

    def sidecar(self, image: str, endpoint: str, secret: str) -> None:
        """There is no metadata service."""

    def create(self, instance_id: str, image: str, files: Mapping[str, str], preloaded: str = "") -> str:
        return instance_id

    def put(self, name: str, files: Mapping[str, str]) -> None:
        """There is nothing to write to."""

    def run(self, name: str, words: list[str]) -> None:
        """There is nothing to run in."""

    def plug(self, name: str, disk: Disk) -> None:
        """An attached volume is moto's record alone; so for the three that follow."""

    def unplug(self, name: str, disk: Disk) -> bool:
        return True

    def release(self, volume: str) -> None: ...

    def discard(self, volume: str) -> None: ...

    def start(self, name: str) -> str:
        """Begin to answer; the address. A host whose user data let nobody in is there and refuses connections."""
        with self.lock:
            listener = self._listen()
            host = self.hosts[name] = Host(listener)
        try:
            access = access_of(user_data_of(name))
            host.serve(access, self.boot)
            if "keys" in access.order:
                threading.Thread(target=self._tell, args=(name, access), daemon=True).start()
        except ValueError as error:
            log.warning("%s lets nobody in: %s", name, error)
            listener.close()
        return host.address

    def _tell(self, name: str, access: Access) -> None:
        """As guard/hostkey.py does: once the host has booted, and has a role that may."""
        time.sleep(self.boot)
        while name in self.hosts and not tell(access.order, name, f"ssh-ed25519 {access.host.get_base64()}"):
            time.sleep(0.05)

    def address(self, name: str) -> str:
        return self.hosts[name].address

    def running(self, name: str) -> bool:
        return name in self.hosts

    def stop(self, name: str, seconds: int = 30) -> None:
        self.kill(name)

    def kill(self, name: str) -> None:
        host = self.hosts.pop(name, None)
        if host:
            host.close()

    def remove(self, name: str) -> None:
        self.kill(name)

    def deaths(self) -> Iterator[tuple[str, int]]:
        """None: nothing on such a host can power it off."""
        while True:
            yield self.ended.get()

    def _listen(self) -> socket.socket:
        """A socket of the next address that is free; it does not listen yet."""
        for _ in range(1000):
            self.count += 1
            high, low = divmod(self.count, 250)
            try:
                return _bound(f"{self.prefix}.{high % 250}.{low + 1}")
            except PermissionError as error:
                raise CloudError(
                    f"hosts at the edge need port {SSH}: {error}",
                    "run it as root, or in `unshare --net --map-root-user`",
                ) from error
            except OSError:  # another cloud of this machine has it
                continue
        raise CloudError(
            f"hosts at the edge need port {SSH}, and something of this machine listens there on all addresses",
            "run it in a network of its own: unshare --net --map-root-user",
        )


def _bound(address: str) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address, SSH))
    except OSError:
        made.close()
        raise
    return made


def quicken() -> None:
    """Let moto learn once what it learns anew for each call: its own folders, while nobody else is answered, and the
    names of a service's methods. Together they are half of what a call costs."""
    from functools import cache

    from moto import backends
    from moto.core import responses

    known = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: known
    responses.method_names_from_class = cache(responses.method_names_from_class)


def forget(machines: "dict[str, Machine]") -> int:
    """Drop terminated instances and their spot requests, as AWS does within the hour; how many.

    After hundreds of them every list would be long.
    """
    from moto.ec2.models import ec2_backends

    gone = [instance_id for instance_id, machine in list(machines.items()) if machine.state == "terminated"]
    for backend in (backend for regions in ec2_backends.values() for backend in regions.values()):
        for key, reservation in list(backend.reservations.items()):
            if all(instance.id in gone for instance in reservation.instances):
                del backend.reservations[key]
        for key, request in list(backend.spot_instance_requests.items()):
            if request.state not in ("open", "active"):
                del backend.spot_instance_requests[key]
    for instance_id in gone:
        del machines[instance_id]
    return len(gone)


def tell(order: Mapping[str, str], instance_id: str, public: str) -> bool:
    """Write the host's public key where its order says; False while the instance has no role that may: one of whose
    policies names that place."""
    from moto.s3.models import s3_backends

    instance = _instance(instance_id)
    given = instance and instance.ec2_backend.iam_instance_profile_associations.get(instance_id)
    roles = given.iam_instance_profile.roles if given else []
    if not any(order["keys"] in text for role in roles for text in role.policies.values()):
        return False
    s3_backends[ACCOUNT]["aws"].put_object(order["bucket"], order["keys"] + instance_id, public.encode())
    return True


def user_data_of(instance_id: str) -> bytes:
    """What the instance was launched with; nothing is as good as empty."""
    instance = _instance(instance_id)
    return base64.b64decode(instance.user_data.as_bytes()) if instance is not None and instance.user_data else b""


def _instance(instance_id: str) -> Any:
    """moto's record of it; None where there is none."""
    from moto.ec2.models import ec2_backends

    backends = [backend for regions in ec2_backends.values() for backend in regions.values()]
    return next((found for backend in backends if (found := backend.get_instance_by_id(instance_id))), None)
