"""User data: what makes a blank machine ours at its first boot, as cloud-init's own configuration.

Order matters. `bootcmd` arms the deadline before anything is installed; `users` and `ssh_keys` let us in with a
host key that we know; `write_files` brings the scripts; `runcmd` prepares the host. It is rendered whole and
gzipped: EC2 takes at most 16 KiB. The host's private key is in it: whoever may read this account's
user data may also end its machines. It opens nothing but this one machine.

That of a machine that starts itself, and its run with it (`render_kept`), has no secret in it: cloud-init makes the
host key there. It is told its order and given a stub, which fetches all else (provision.files.bundle) from S3.

NVIDIA's container toolkit comes from NVIDIA's repository; PROVISION_TOOLKIT_REPOSITORY names a mirror of it, with
PROVISION_TOOLKIT_KEY (a fingerprint) where that is signed by another key.
"""

import gzip
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from infra.aws.types import SpotRequest
from infra.errors import CloudError
from infra.host import script
from infra.keys import KeyPair

USER = "provision"
LIMIT = 16 * 1024
KEPT_LIMIT = 4 * 1024
# https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html
TOOLKIT_REPOSITORY = "https://nvidia.github.io/libnvidia-container"
TOOLKIT_KEY = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
_LOOK_S = 60  # how often the host looks whether it is in use
_SCRIPTS = ("engine.sh", "nvidia.sh", "bootstrap.sh", "idle.sh")  # what the laptop calls comes along with the call
# a machine that failed is of no use; the guard has the time to tell its keeper why
_BEGIN = "python3 /opt/provision/stub.py || { sleep 60; systemctl start --no-block provision-deadline.service; }"
_UNITS = ("provision-guard.service", "provision-idle.service")


def render(request: SpotRequest, deadline: datetime, login_key: str, host_key: KeyPair) -> bytes:
    """Gzipped cloud-config, at most 16 KiB. The deadline is in UTC."""
    packed = _packed(_config(request, deadline, login_key, host_key))
    if len(packed) > LIMIT:
        raise CloudError(f"the user data has {len(packed)} bytes; EC2 takes {LIMIT}")
    return packed


def render_kept(request: SpotRequest, ends: datetime, login_key: str, order: Mapping[str, object]) -> bytes:
    """Gzipped cloud-config of a machine that starts itself, at most 4 KiB; it powers off at `ends`, in UTC.

    `order` is what its guard goes by (infra/host/guard/order.py): the run, its place in S3, the sums of the bundle and
    of the capsule.
    """
    packed = _packed(_kept_config(request, ends, login_key, order))
    if len(packed) > KEPT_LIMIT:
        raise CloudError(f"the user data has {len(packed)} bytes; a machine that starts itself has {KEPT_LIMIT}")
    return packed


def _packed(config: Mapping[str, Any]) -> bytes:
    text = "#cloud-config\n" + json.dumps(config, separators=(",", ":"))
    return gzip.compress(text.encode(), 9, mtime=0)


def _kept_config(request: SpotRequest, ends: datetime, login_key: str, order: Mapping[str, object]) -> dict[str, Any]:
    own = replace(request, own_run=True)
    return {
        "bootcmd": [_deadline(ends)],
        "locale": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": ["ed25519"],
        "ssh_pwauth": False,
        "users": [_user(login_key)],
        "write_files": [
            _file("/opt/provision/settings", f"{_settings(own)}idle_every={_every(own)}\n"),
            _file("/opt/provision/order.json", json.dumps(order, separators=(",", ":"))),
            _file("/opt/provision/stub.py", script("stub.py")),
        ],
        "runcmd": [["sh", "-c", _BEGIN]],
    }


def _deadline(at: datetime) -> list[str]:
    said = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return ["cloud-init-per", "instance", "deadline", "sh", "-c", script("deadline.sh"), "deadline", said]


def _user(login_key: str) -> dict[str, Any]:
    return {
        "name": USER,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "lock_passwd": True,
        "ssh_authorized_keys": [login_key],
    }


def _config(request: SpotRequest, deadline: datetime, login_key: str, host_key: KeyPair) -> dict[str, Any]:
    return {
        "bootcmd": [_deadline(deadline), *([_agent()] if request.via == "ssm" else [])],
        "locale": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": str(host_key.private), "ed25519_public": host_key.public},
        "ssh_pwauth": False,
        "users": [_user(login_key)],
        "write_files": [
            _file("/opt/provision/settings", _settings(request)),
            *(_file(f"/opt/provision/{name}", script(name)) for name in _SCRIPTS),
            *(_file(f"/etc/systemd/system/{name}", script(name)) for name in _UNITS),
            _file("/etc/systemd/system/provision-idle.timer", _idle_timer(request)),
        ],
        "runcmd": [["sh", "/opt/provision/bootstrap.sh"]],
    }


def _agent() -> list[str]:
    """Session Manager's agent is seen to beside the boot, which does not wait for it."""
    return ["systemd-run", "--no-block", "--unit", "provision-agent", "sh", "-c", script("agent.sh")]


def _settings(request: SpotRequest) -> str:
    """What the scripts have to know of this machine, as shell's and systemd's `name=value`."""
    known = {
        "gpus": min((offer.type.gpus for offer in request.offers), default=0),
        "driver": request.tags.get("provision:driver", ""),
        "toolkit_repository": os.environ.get("PROVISION_TOOLKIT_REPOSITORY", TOOLKIT_REPOSITORY).rstrip("/"),
        "toolkit_key": os.environ.get("PROVISION_TOOLKIT_KEY", TOOLKIT_KEY),
        "idle_seconds": round(request.idle_minutes * 60),
        "power_off_after": int(request.own_run),
    }
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in known.items())


def _idle_timer(request: SpotRequest) -> str:
    return script("provision-idle.timer").replace("EVERY", _every(request))


def _every(request: SpotRequest) -> str:
    """It looks every minute; more often where less than four minutes count."""
    seconds = min(_LOOK_S, max(1, round(request.idle_minutes * 60 / 4))) if request.idle_minutes else _LOOK_S
    return f"{seconds}s"


def _file(path: str, content: str) -> dict[str, str]:
    return {"path": path, "content": content, "permissions": "0644"}
