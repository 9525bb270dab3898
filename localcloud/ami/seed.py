"""Ask the metadata service (IMDSv2) who we are, and leave the answer where cloud-init's NoCloud source reads it.

cloud-init's own EC2 source needs DMI tables, which a container has not. Runs before systemd, at every boot.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

SERVICE = "http://169.254.169.254/latest/"
SEED = Path("/var/lib/cloud/seed/nocloud")
PATIENCE = 60.0  # seconds; the cloud may still be writing down our address


def ask(path: str, method: str = "GET", **headers: str) -> bytes:
    """The body; an empty one where there is no such thing."""
    words = {name.replace("_", "-"): value for name, value in headers.items()}
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            request = urllib.request.Request(SERVICE + path, method=method, headers=words)
            with urllib.request.urlopen(request, timeout=2) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return b""
            failure: Exception = error
        except OSError as error:
            failure = error
        if time.monotonic() > deadline:
            sys.exit(f"the metadata service does not answer {path}: {failure}")
        time.sleep(0.05)


def main() -> None:
    token = ask("api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="300").decode()
    instance_id = ask("meta-data/instance-id", X_aws_ec2_metadata_token=token).decode()
    key = ask("meta-data/public-keys/0/openssh-key", X_aws_ec2_metadata_token=token).decode().strip()
    user_data = ask("user-data", X_aws_ec2_metadata_token=token)
    about = {"instance-id": instance_id, "public-keys": [key] if key else []}
    SEED.mkdir(parents=True, exist_ok=True)
    (SEED / "user-data").write_bytes(user_data)
    (SEED / "user-data").chmod(0o600)
    (SEED / "meta-data").write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    main()
