"""The only module of the local cloud that talks to Docker: the network, the machine image, the containers.

Everything made carries the label `provision.local=<cloud>`, so that it can be found when the daemon is dead.
"""

import contextlib
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

import docker
import docker.errors

from infra.errors import EngineError, ImageError
from localcloud import preload
from localcloud.disks import FOLDER, Disk, Disks
from localcloud.machine_config import machine_config

CLOUD, INSTANCE, STATE = "provision.local", "provision.instance", "provision.state"
AMI = Path(__file__).with_name("ami")
BASE = "debian:bookworm"
HERE = "/etc/provision-local"  # inside an instance: what its hardware and its network would know
TOOLS = "/usr/local/lib/provision-local"

PLUG = """[ -b "$1" ] || mknod "$1" b "$2" "$3"
[ -z "$4" ] || { mkdir -p /dev/disk/by-id && ln -sf "$1" "$4"; }"""
UNPLUG = """! grep -q "^$1 " /proc/mounts && rm -f "$1" ${2:+"$2"}"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Network:
    """The instances' network; `gateway` is the host's own address on it."""

    gateway: str
    subnet: IPv4Network | IPv6Network

    def source_of(self, caller: str) -> str:
        """The address that an instance would see `caller` with.

        Docker masquerades what the host sends to its own gateway address, so a caller of the host shows
        another of the host's addresses to us; to an instance it would come from the gateway.
        """
        return caller if ip_address(caller) in self.subnet else self.gateway


class Engine:
    """The local Docker engine, for the cloud `name` whose folder is `state`."""

    def __init__(self, name: str, state: Path) -> None:
        self.name = name
        self.labels = {CLOUD: name, STATE: str(state)}
        self.api = client()
        self.disks = Disks(state / FOLDER)
        self.network_name = self._named("net")

    def network(self) -> Network:
        """Make the instances' network."""
        self.api.create_network(self.network_name, driver="bridge", labels=self.labels)
        config = self.api.inspect_network(self.network_name)["IPAM"]["Config"][0]
        return Network(config["Gateway"].split("/")[0], ip_network(config["Subnet"]))

    def image(self, say: Say) -> str:
        """The full machine image's tag; built when the files in `ami/` have changed."""
        return self._image("full", say)

    def bare(self, say: Say) -> str:
        """The tag of the machine image without Docker and NVIDIA's tools: the full one's lower layers."""
        return self._image("bare", say)

    def _image(self, stage: str, say: Say) -> str:
        tag = f"provision-local-ami:{fingerprint(AMI)}" + ("" if stage == "full" else f"-{stage}")
        if not self.api.images(tag):
            say(f"building the machine image {tag} (once, about half a minute)")
            _ensure_base(say)
            build(self.api, AMI, stage, tag, say)
        return tag

    def commit(self, name: str, ami: str) -> str:
        """A machine image of the instance's container as it is, with a copy of its disk (`image_disk`); its tag. It
        bears the container's labels."""
        tag = f"provision-local-{self.name}:{ami}"
        with self._paused(name):
            self.api.commit(name, repository=f"provision-local-{self.name}", tag=ami)
            self.api.create_volume(self.image_disk(ami), labels=self.labels)
            preload.copy(self.api, self.labels, tag, name, self.image_disk(ami))
        return tag

    def image_disk(self, ami: str) -> str:
        """The volume that a disk of that machine image is a copy of."""
        return self._named(ami)

    @contextlib.contextmanager
    def _paused(self, name: str) -> Iterator[None]:
        """Nothing in the container writes meanwhile."""
        runs = self.running(name)
        if runs:
            self.api.pause(name)
        try:
            yield
        finally:
            if runs:
                self.api.unpause(name)

    def drop_image(self, ami: str, tag: str) -> None:
        remove_image(self.api, tag)
        remove_volume(self.api, self.image_disk(ami))

    def plug(self, name: str, disk: Disk) -> None:
        """Make the volume a block device of the running container; nothing where it is one already."""
        device = self.disks.open(disk.volume, disk.gib)
        if device:
            number = Path(device).stat().st_rdev
            words = [disk.node, str(os.major(number)), str(os.minor(number)), disk.link]
            self.run(name, ["sh", "-c", PLUG, "plug", *words])

    def unplug(self, name: str, disk: Disk) -> bool:
        """Take the block device away; False while it is mounted."""
        try:
            self.run(name, ["sh", "-c", UNPLUG, "unplug", disk.node, disk.link])
        except EngineError:
            return False
        self.release(disk.volume)
        return True

    def release(self, volume: str) -> None:
        """Let go of a volume that no instance has any more."""
        self.disks.close(volume)

    def discard(self, volume: str) -> None:
        """Delete the volume."""
        self.disks.remove(volume)

    def sidecar(self, image: str, endpoint: str, secret: str) -> None:
        """The metadata service: a container that owns 169.254.169.254 on the network."""
        config = self.api.create_host_config(
            cap_add=["NET_ADMIN"], network_mode=self.network_name, restart_policy={"Name": "on-failure"}
        )
        made = self.api.create_container(
            image,
            command=["python3", f"{TOOLS}/imds.py"],
            name=self._named("metadata"),
            environment={"DAEMON": endpoint, "SECRET": secret},
            labels=self.labels,
            host_config=config,
            stop_signal="SIGKILL",
        )
        self.api.start(made)

    def create(self, instance_id: str, image: str, files: Mapping[str, str], preloaded: str = "") -> str:
        """A new instance's container and its disk, not yet started; the container's name. `preloaded`: whose copy the
        disk is."""
        name = self._named(instance_id)
        labels = {**self.labels, INSTANCE: instance_id}
        self.api.create_volume(name, labels=labels)
        if preloaded:
            preload.copy(self.api, self.labels, image, preloaded, name)
        self.api.create_container(
            image,
            name=name,
            hostname=instance_id,
            labels=labels,
            volumes=["/var/lib/docker"],
            host_config=machine_config(self.api, self.network_name, name),
        )
        self.put(name, files)
        return name

    def put(self, name: str, files: Mapping[str, str]) -> None:
        """Write small text files into the container's folder of hardware facts, running or not."""
        self.api.put_archive(name, HERE, _tar(files))

    def run(self, name: str, words: list[str]) -> None:
        """Run words in a running container. EngineError when they fail."""
        made: str = self.api.exec_create(name, words)["Id"]
        out = self.api.exec_start(made)
        if self.api.exec_inspect(made)["ExitCode"]:
            raise EngineError(f"{' '.join(words)} failed in {name}: {out.decode(errors='replace').strip()}")

    def start(self, name: str) -> str:
        """Start the container; its address on the network."""
        self.api.start(name)
        return self.address(name)

    def address(self, name: str) -> str:
        networks = self.api.inspect_container(name)["NetworkSettings"]["Networks"]
        return str(networks[self.network_name]["IPAddress"])

    def running(self, name: str) -> bool:
        try:
            return bool(self.api.inspect_container(name)["State"]["Running"])
        except docker.errors.NotFound:
            return False

    def stop(self, name: str, seconds: int = 30) -> None:
        self.api.stop(name, timeout=seconds)

    def kill(self, name: str) -> None:
        """Stop the container at once, as when a hypervisor takes the machine away."""
        try:
            self.api.kill(name)
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409):  # gone, or not running
                raise

    def remove(self, name: str) -> None:
        """Remove the container and its disk, whatever their state."""
        remove_container(self.api, name)
        remove_volume(self.api, name)

    def deaths(self) -> Iterator[tuple[str, int]]:
        """Instance id and exit code of each container of ours that ends, as it happens."""
        events = client(timeout=None).events(
            decode=True, filters={"type": "container", "event": "die", "label": f"{CLOUD}={self.name}"}
        )
        for event in events:
            facts = event["Actor"]["Attributes"]
            if INSTANCE in facts:
                yield facts[INSTANCE], int(facts.get("exitCode", 0))

    def _named(self, what: str) -> str:
        return f"provision-local-{self.name}-{what}"


def client(timeout: int | None = 120) -> docker.APIClient:
    """A connection to the local engine. EngineError when none answers."""
    try:
        found = docker.from_env(version="auto", timeout=timeout)  # type: ignore[arg-type]
    except docker.errors.DockerException as error:
        mend = "start it (`sudo systemctl start docker`), or add yourself to the docker group and log in again"
        raise EngineError(f"no Docker engine answers: {error}", mend) from error
    return found.api


def remove_container(api: docker.APIClient, name: str) -> None:
    """Remove it by force, and return when it is gone."""
    try:
        api.remove_container(name, force=True, v=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != 409:  # someone else is removing it at this moment
            raise
        with contextlib.suppress(docker.errors.NotFound):
            api.wait(name, condition="removed")


def remove_volume(api: docker.APIClient, name: str) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        api.remove_volume(name, force=True)


def remove_image(api: docker.APIClient, tag: str) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        api.remove_image(tag, force=True)


def fingerprint(folder: Path) -> str:
    """12 hex digits that change with any file in the folder."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            total.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:12]


def build(api: docker.APIClient, folder: Path, stage: str, tag: str, say: Say) -> None:
    """Build a stage with the engine's own builder, which each engine has. ImageError with what it said."""
    said: list[str] = []
    for step in api.build(path=str(folder), target=stage, tag=tag, rm=True, forcerm=True, decode=True):
        if "error" in step:
            raise ImageError(f"the machine image could not be built: {step['error'].strip()}\n" + "\n".join(said[-12:]))
        for line in step.get("stream", "").splitlines():
            said.append(line)
            if line.startswith("Step "):
                say(line[:100])


def _ensure_base(say: Say) -> None:
    from infra import baseimage

    baseimage.ensure(BASE, on_line=say)


def _tar(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
