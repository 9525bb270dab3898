"""User data: what makes a blank machine ours at its first boot, as cloud-init's own configuration.

Order matters. `bootcmd` arms the deadline before anything is installed; `users` and `ssh_keys` let us in with a
host key that we know; `write_files` brings the scripts; `runcmd` prepares the host. It is rendered whole and
gzipped: EC2 takes at most 16 KiB. The host's private key is in it: whoever may read this account's
user data may also end its machines. It opens nothing but this one machine.
"""

import gzip
import json
from datetime import datetime
from importlib.resources import files
from typing import Any

from infra.errors import CloudError
from infra.keys import KeyPair

USER = "provision"
LIMIT = 16 * 1024


def render(deadline: datetime, login_key: str, host_key: KeyPair) -> bytes:
    """Gzipped cloud-config, at most 16 KiB."""
    text = "#cloud-config\n" + json.dumps(_config(deadline, login_key, host_key), indent=1)
    packed = gzip.compress(text.encode(), 9, mtime=0)
    if len(packed) > LIMIT:
        raise CloudError(f"the user data has {len(packed)} bytes; EC2 takes {LIMIT}")
    return packed


def _config(deadline: datetime, login_key: str, host_key: KeyPair) -> dict[str, Any]:
    at = deadline.strftime("%Y-%m-%d %H:%M:%S UTC")
    return {
        "bootcmd": [["cloud-init-per", "instance", "deadline", "sh", "-c", _script("deadline.sh"), "deadline", at]],
        "locale": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": str(host_key.private), "ed25519_public": host_key.public},
        "ssh_pwauth": False,
        "users": [
            {
                "name": USER,
                "shell": "/bin/bash",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "lock_passwd": True,
                "ssh_authorized_keys": [login_key],
            }
        ],
        "write_files": [
            _file("/opt/provision/engine.sh", _script("engine.sh")),
            _file("/opt/provision/bootstrap.sh", _script("bootstrap.sh")),
            _file("/opt/provision/guard.py", _script("guard.py")),
            _file("/etc/systemd/system/provision-guard.service", _script("provision-guard.service")),
        ],
        "runcmd": [["sh", "/opt/provision/bootstrap.sh"]],
    }


def _file(path: str, content: str) -> dict[str, str]:
    return {"path": path, "content": content, "permissions": "0644"}


def _script(name: str) -> str:
    return files("infra").joinpath("host").joinpath(name).read_text(encoding="utf-8")
