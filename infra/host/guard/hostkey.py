"""`guard key`: tell S3 the public half of the host key that was made on this machine. By it a laptop knows the machine,
before it first logs in. Where that is not possible the console says why, for the laptop that waits in vain.
"""

import time

from . import order
from .imds import Metadata
from .s3 import ERRORS, Bucket

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
CONSOLE = "/dev/console"
PATIENCE_S = 120.0
PAUSE_S = 1.0


def tell(given, metadata=None, bucket=None):
    """The key, under the machine's id; what the metadata service and S3 refuse is tried again for some time."""
    metadata = metadata or Metadata()
    bucket = bucket or Bucket(
        metadata, given["bucket"], given["region"], given.get("s3") or None, given.get("owner", ""), patience=PATIENCE_S
    )
    with open(HOST_KEY) as data:
        key = " ".join(data.read().split()[:2])
    bucket.put(given["keys"] + instance_id(metadata), key.encode())


def instance_id(metadata):
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = metadata.get("instance-id")
            if found:
                return found
            raise ConnectionError("the metadata service does not say which machine this is")
        except ERRORS:
            if time.monotonic() > until:
                raise
        time.sleep(PAUSE_S)


def main():
    """The exit code."""
    try:
        tell(order.given())
        return 0
    except Exception as error:
        with open(CONSOLE, "w") as out:
            out.write("provision: failed: the host key is not in S3: %s\n" % error)
        return 1
