"""Data volumes on the host, with a loop device for the disk."""

from collections.abc import Iterator

import pytest

from tests.engine.host_kit import Machine, booted

pytestmark = pytest.mark.engine

SETUP = """
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
truncate -s 64M /root/disk; loop=$(losetup -f) && n=${loop#/dev/loop}
[ -b $loop ] || mknod $loop b 7 $n
losetup $loop /root/disk && mknod /dev/sdf b 7 $n && echo $loop
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    with booted() as made:
        loop = made.sh(SETUP)
        if not loop.ok:
            pytest.skip(f"no loop device can be had here: {loop.err.strip()}")
        try:
            yield made
        finally:
            made.sh(f"umount /volumes/*; losetup -d {loop.out.strip()}")


def mount(host: Machine, device: str = "/dev/sdf", name: str = "data") -> tuple[int, str]:
    result = host.script("mount.sh", "vol-0123abcd", device, name)
    return result.code, (result.out + result.err).strip().splitlines()[-1]


def test_a_blank_disk_gets_a_file_system_once_and_keeps_its_files(host: Machine) -> None:
    assert mount(host) == (0, "volume data: at /volumes/data (new file system)")
    assert host.sh("stat -c %U /volumes/data; touch /volumes/data/kept").out == "provision\n"
    assert mount(host) == (0, "volume data: at /volumes/data already")
    host.sh("umount /volumes/data")
    assert mount(host) == (0, "volume data: at /volumes/data")
    assert host.sh("test -e /volumes/data/kept").ok
    assert host.sh("grep -c /volumes/data.*nofail /etc/fstab").out == "1\n"


def test_a_disk_is_found_by_the_volumes_id_before_the_devices_name(host: Machine) -> None:
    host.sh("umount /volumes/data; mkdir -p /dev/disk/by-id")
    link = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123abcd"
    host.sh(f"ln -s /dev/sdf {link}")
    try:
        assert mount(host, device="/dev/sdz") == (0, "volume data: at /volumes/data")
    finally:
        host.sh(f"rm {link}")


def test_a_disk_that_holds_something_else_is_left_as_it_is(host: Machine) -> None:
    host.sh("umount /volumes/data; mkswap /dev/sdf")
    assert mount(host) == (1, "volume data: /dev/sdf cannot be mounted")
    assert host.sh("blkid -p -s TYPE -o value /dev/sdf").out == "swap\n"


def test_a_disk_that_never_comes_is_said_so(host: Machine) -> None:
    host.fake("sleep", "true")
    assert mount(host, device="/dev/sdy") == (1, "volume data: no disk for vol-0123abcd (/dev/sdy) after 60 s")
