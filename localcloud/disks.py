"""EBS volumes as real block devices: a sparse file in the cloud's folder behind a loop device of this machine.

Loop devices need root. Without, or on a machine that has none, a volume is attached in name only: the log says so, and
the instance finds no disk.
"""

import logging
import os
import shutil
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

from infra.errors import HostError
from infra.shell import LocalShell

FOLDER = "disks"
GIB = 2**30
_CONTROL = Path("/dev/loop-control")
log = logging.getLogger("localcloud")


@dataclass(frozen=True)
class Disk:
    """A volume as an instance sees it: a block device `node`, and on NVMe types a link to it that bears its id."""

    volume: str
    gib: int
    node: str
    link: str = ""


class Disks:
    """The volumes of one cloud that were ever attached; `folder` has a file for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        shutil.rmtree(folder, ignore_errors=True)

    def open(self, volume: str, gib: int) -> str | None:
        """The volume's loop device; None where there can be none."""
        with self._lock:
            file = self._file(volume)
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("wb") as made:
                    made.truncate(gib * GIB)
            return device_of(file) or _loop(file)

    def close(self, volume: str) -> None:
        """Let go of the loop device; the kernel frees it when nobody uses it any more."""
        with self._lock:
            detach(self._file(volume))

    def remove(self, volume: str) -> None:
        """Remove the volume's file, and all that was on it."""
        self.close(volume)
        self._file(volume).unlink(missing_ok=True)

    def _file(self, volume: str) -> Path:
        return self.folder / volume


def attached() -> dict[Path, str]:
    """The loop devices of this machine, by the file behind each."""
    try:
        said = LocalShell().run(["losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]).out
    except HostError:
        return {}
    rows = [line.split(" ", 1) for line in said.splitlines() if " " in line]
    return {Path(file): name for name, file in rows}


def device_of(file: Path) -> str | None:
    return attached().get(file)


def detach(file: Path) -> None:
    if device := device_of(file):
        LocalShell().run(["losetup", "--detach", device], check=False)


def _loop(file: Path) -> str | None:
    try:
        _make_nodes()
        return LocalShell().run(["losetup", "--find", "--show", str(file)]).out.strip()
    except (HostError, OSError) as error:
        log.warning("no loop device: the volume %s is attached in name only. %s", file.name, error)
        return None


def _make_nodes() -> None:
    """The next loop device has its file: in a machine that is a container nobody else makes them."""
    if not _CONTROL.exists():
        os.mknod(_CONTROL, stat.S_IFCHR | 0o660, os.makedev(10, 237))  # numbers: the kernel's devices.txt
    free = Path(LocalShell().run(["losetup", "--find"]).out.strip())
    if not free.exists():
        os.mknod(free, stat.S_IFBLK | 0o660, os.makedev(7, int(free.name.removeprefix("loop"))))
