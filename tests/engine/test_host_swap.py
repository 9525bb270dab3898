"""Swap on the host's disk, with the real kernel: for a moment this machine has it."""

import pytest

from tests.engine.host_kit import machine

pytestmark = [pytest.mark.engine, pytest.mark.long]


def test_swap_is_made_once_and_taken_away() -> None:
    options = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined")
    with machine("debian:bookworm", *options, "--volume=/var") as host:
        try:
            assert "too few for 9999999 GB" in host.script("swap.sh", "9999999").err
            first = host.script("swap.sh", "1")
            if first.code == 4:
                assert not host.sh("ls /var/provision.swap; grep provision /etc/fstab").out
                pytest.skip(first.err.strip())
            assert first.out == "1 GB of swap\n", first.err
            assert host.sh("grep -c '^/var/provision.swap .*1048572' /proc/swaps").out == "1\n"
            assert host.sh("stat -c %a /var/provision.swap").out == "600\n"
            assert host.script("swap.sh", "1").out == "1 GB of swap are there\n"
            assert host.sh("cat /etc/fstab").out.count("/var/provision.swap none swap") == 1
        finally:
            gone = host.script("swap.sh", "0")
        assert gone.out == "no swap of ours\n"
        assert not host.sh("ls /var/provision.swap; grep provision /etc/fstab /proc/swaps").out
