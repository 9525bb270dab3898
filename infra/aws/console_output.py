"""What a machine has written to its console: the only trace of one that cannot be reached."""

import re

from botocore.exceptions import ClientError

from infra.aws.errors import explained
from infra.aws.session import Cloud, client

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[^\[]")


def console_output(cloud: Cloud, instance_id: str) -> str:
    """The last 64 KiB that AWS has of it, printable, without empty lines; empty where AWS has none yet.

    AuthError where it may not be read, CloudError for all other trouble.
    """
    with explained("read the instance's console"):
        api = client(cloud, "ec2")
        try:
            found = api.get_console_output(InstanceId=instance_id, Latest=True)
        except ClientError:  # types before Nitro have no newest one, only that of the boot
            found = api.get_console_output(InstanceId=instance_id)
    lines = _SEQUENCE.sub("", str(found.get("Output") or "")).splitlines()
    kept = ("".join(letter for letter in line if letter.isprintable()).rstrip() for line in lines)
    return "\n".join(line for line in kept if line)
