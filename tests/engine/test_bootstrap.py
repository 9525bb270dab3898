"""Which disk becomes /data: the bootstrap's own lines, run with stand-ins for lsblk, mkfs and mount that note calls."""

from pathlib import Path

import pytest

from infra.shell import LocalShell

SCRIPT = Path(__file__).parent.parent.parent / "infra" / "host" / "bootstrap.sh"
MODEL = "Amazon EC2 NVMe Instance Storage"
# what `lsblk -dpno NAME,MODEL` prints on a g4dn.12xlarge: the root disk is EBS, the others are the instance's own
DISKS = f"/dev/nvme0n1 Amazon Elastic Block Store\n/dev/nvme1n1 {MODEL}\n/dev/nvme2n1 {MODEL}"


def storage(tmp_path: Path, disks: str, in_use: str = "", mounted: str = "", mkfs: int = 0) -> tuple[list[str], str]:
    """Calls that were made, and what was said."""
    fakes = {
        "lsblk": f"case \"$*\" in\n-dpno*) printf '%s\\n' '{disks}';;\n-dno*) printf '%s\\n' '{disks}';;\n"
        f'*) for last; do :; done; printf \'%s \' "$last"; case " {in_use} " in *" $last "*) echo /mnt;; esac;;\nesac',
        "mkfs.ext4": f'for last; do :; done; echo "mkfs $last" >> {tmp_path}/calls; exit {mkfs}',
        "mount": f'echo "mount $*" >> {tmp_path}/calls',
        "mountpoint": f'case " {mounted} " in *" $2 "*) exit 0;; *) exit 1;; esac',
    }
    for name, body in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    text = SCRIPT.read_text()
    part = text[text.index('doing="instance storage"') : text.index("chown root:root")]
    line = f'set -eu; PATH={tmp_path}:$PATH; say() {{ echo "$*"; }}\n{part}\necho done'
    said = LocalShell().run(["sh", "-c", line]).out
    assert said.endswith("done\n")  # never fatal
    calls = tmp_path / "calls"
    return (calls.read_text().splitlines() if calls.exists() else []), said.removesuffix("done\n").strip()


def test_the_first_unused_own_disk_is_taken(tmp_path: Path) -> None:
    calls, said = storage(tmp_path, DISKS)
    assert calls == ["mkfs /dev/nvme1n1", "mount -o noatime /dev/nvme1n1 /data"]
    assert said == "instance storage: /dev/nvme1n1 on /data"


def test_a_disk_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    calls, _ = storage(tmp_path, DISKS, in_use="/dev/nvme1n1")
    assert calls == ["mkfs /dev/nvme2n1", "mount -o noatime /dev/nvme2n1 /data"]


def test_what_the_machine_image_mounted_is_used_as_it_is(tmp_path: Path) -> None:
    calls, said = storage(tmp_path, DISKS, mounted="/opt/dlami/nvme")
    assert calls == ["mount --bind /opt/dlami/nvme /data"]
    assert said == "instance storage: /opt/dlami/nvme on /data"


@pytest.mark.parametrize(
    ("disks", "mkfs", "said"),
    [
        ("/dev/nvme0n1 Amazon Elastic Block Store", 0, ""),
        (DISKS, 1, "instance storage: none usable"),
    ],
)
def test_without_one_data_lies_on_the_root_disk(tmp_path: Path, disks: str, mkfs: int, said: str) -> None:
    calls, heard = storage(tmp_path, disks, mkfs=mkfs)
    assert not [call for call in calls if call.startswith("mount")]
    assert heard == said


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    assert storage(tmp_path, DISKS, mounted="/data") == ([], "")
