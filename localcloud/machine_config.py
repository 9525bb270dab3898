"""What makes a container a machine, with systemd and a Docker engine of its own.

It gets named capabilities, never --privileged: the machine that we run on may be a container itself.
"""

from collections.abc import Mapping
from typing import Any

import docker

CAPABILITIES = [
    "AUDIT_CONTROL", "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER",
    "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE",
    "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT",
    "SYS_NICE", "SYS_PTRACE", "SYS_TTY_CONFIG", "SYSLOG",
]  # fmt: skip


def machine_config(
    api: docker.APIClient, network: str, volume: str, binds: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Any]:
    """What makes a container a machine: its disk, a network, and what systemd and an engine of its own need."""
    config: dict[str, Any] = api.create_host_config(
        network_mode=network,
        binds={volume: {"bind": "/var/lib/docker", "mode": "rw"}, **(binds or {})},
        tmpfs={"/run": "exec,mode=755", "/run/lock": "", "/tmp": "exec,mode=1777"},
        cap_add=CAPABILITIES,
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        device_cgroup_rules=["a *:* rwm"],
        cgroupns="private",
    )
    # `systempaths=unconfined` is the command line's word for this:
    return {**config, "MaskedPaths": [], "ReadonlyPaths": []}
