"""User data: what makes a blank machine ours at its first boot, as cloud-init's own configuration.

Order matters. `bootcmd` arms the deadline before anything is installed; `users` lets us in; `write_files` tells the
machine its settings and its order, and brings the stub, which fetches all else (provision.files.bundle) from S3; and
`runcmd` lets it. There is no secret in it: cloud-init makes the host key there, and the machine tells its public half
(`host_keys`). It is rendered whole and gzipped, to a quarter of the 16 KiB that EC2 takes.

NVIDIA's container toolkit comes from NVIDIA's repository; PROVISION_TOOLKIT_REPOSITORY names a mirror of it, with
PROVISION_TOOLKIT_KEY (a fingerprint) where that is signed by another key.
"""

import gzip
import json
import os
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from infra.aws.types import SpotRequest
from infra.errors import CloudError
from infra.host import script

USER = "provision"
LIMIT = 4 * 1024
# https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html
TOOLKIT_REPOSITORY = "https://nvidia.github.io/libnvidia-container"
TOOLKIT_KEY = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
_LOOK_S = 60  # how often the host looks whether it is in use
# a machine that cannot begin is of no use; the guard has the time to tell its keeper why, where it has one
_BEGIN = "python3 /opt/provision/stub.py || { sleep 60; systemctl start --no-block provision-deadline.service; }"


def render(request: SpotRequest, ends: datetime, login_key: str, order: Mapping[str, object]) -> bytes:
    """Gzipped cloud-config, at most 4 KiB; the machine powers off at `ends`, in UTC.

    `order` is what `host_keys.order` gives. One that names a run is for a machine that starts itself, and its run with
    it; its guard goes by the rest (infra/host/guard/order.py): the run's place in S3, the sum of the capsule.
    """
    text = "#cloud-config\n" + json.dumps(_config(request, ends, login_key, order), separators=(",", ":"))
    packed = gzip.compress(text.encode(), 9, mtime=0)
    if len(packed) > LIMIT:
        raise CloudError(f"the user data has {len(packed)} bytes, and may have {LIMIT}")
    return packed


def _config(request: SpotRequest, ends: datetime, login_key: str, order: Mapping[str, object]) -> dict[str, Any]:
    return {
        "bootcmd": [_deadline(ends)],
        "locale": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": ["ed25519"],
        "ssh_pwauth": False,
        "users": [_user(login_key)],
        "write_files": [
            _file("/opt/provision/settings", _settings(request, kept="run" in order)),
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


def _settings(request: SpotRequest, kept: bool) -> str:
    """What the scripts have to know of this machine, as shell's and systemd's `name=value`. One that is `kept` works
    for its run alone."""
    known = {
        "gpus": min((offer.type.gpus for offer in request.offers), default=0),
        "driver": request.tags.get("provision:driver", ""),
        "toolkit_repository": os.environ.get("PROVISION_TOOLKIT_REPOSITORY", TOOLKIT_REPOSITORY).rstrip("/"),
        "toolkit_key": os.environ.get("PROVISION_TOOLKIT_KEY", TOOLKIT_KEY),
        "idle_seconds": round(request.idle_minutes * 60),
        "idle_every": _every(request),
        "power_off_after": int(request.own_run or kept),
        "kept": int(kept),
        "via": request.via,
    }
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in known.items())


def _every(request: SpotRequest) -> str:
    """It looks every minute; more often where less than four minutes count."""
    seconds = min(_LOOK_S, max(1, round(request.idle_minutes * 60 / 4))) if request.idle_minutes else _LOOK_S
    return f"{seconds}s"


def _file(path: str, content: str) -> dict[str, str]:
    return {"path": path, "content": content, "permissions": "0644"}
