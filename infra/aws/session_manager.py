"""SSH through AWS's Session Manager: the machine's agent calls out, and no port of it is open to anyone.

StartSession gives an address and a token for one connection. AWS's program `session-manager-plugin` speaks the protocol
with them, SSH on its standard input and output. The words are those of the AWS CLI (awscli/customizations/
sessionmanager.py); the token goes by the environment, as other users of this machine see a command line.
"""

import json
import os
import re
import shutil

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.session import Cloud, client
from infra.errors import HostError
from infra.shell import LocalShell

PLUGIN = "session-manager-plugin"
TOKEN = "AWS_SSM_START_SESSION_RESPONSE"
_SINCE = (1, 2, 497)  # reads the token from the environment
_INSTALL = (
    "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html"
)


def require_plugin() -> None:
    """HostError where this machine lacks AWS's program, or has one so old that it takes its token only on the command
    line."""
    if shutil.which(PLUGIN) is None:
        raise HostError(
            f"--via ssm needs AWS's {PLUGIN} on this machine, and it is not there", f"install it: {_INSTALL}"
        )
    said = LocalShell().run([PLUGIN, "--version"], check=False).out
    if too_old(said):
        raise HostError(f"{PLUGIN} {said.strip()} is too old for --via ssm", f"install a newer one: {_INSTALL}")


def too_old(version: str) -> bool:
    """Whether that is a version before 1.2.497. A text that is not a version counts as new enough."""
    found = re.match(r"\s*(\d+)\.(\d+)\.(\d+)", version)
    return found is not None and tuple(int(part) for part in found.groups()) < _SINCE


def start(cloud: Cloud, instance_id: str) -> tuple[list[str], dict[str, str]]:
    """Open a session to the machine's port 22: the plugin's command line, and the variables to add to its environment.

    HostError while Session Manager does not know the machine: its agent reports about a minute after the boot.
    """
    asked = {
        "Target": instance_id, "DocumentName": "AWS-StartSSHSession", "Parameters": {"portNumber": ["22"]},
    }  # fmt: skip
    api = client(cloud, "ssm")
    with explained("start a session"):
        try:
            answer = api.start_session(**asked)
        except ClientError as error:
            if code_of(error) != "TargetNotConnected":
                raise
            raise HostError(
                f"Session Manager does not reach {instance_id}",
                "wait a minute after the boot for its agent; its image needs Amazon's SSM agent, its subnet a way out",
            ) from error
    session = json.dumps({key: answer[key] for key in ("SessionId", "TokenValue", "StreamUrl")})
    words = [PLUGIN, TOKEN, cloud.region, "StartSession", cloud.profile or "", json.dumps(asked)]
    return [*words, str(api.meta.endpoint_url)], {TOKEN: session}


def connect(cloud: Cloud, instance_id: str) -> None:
    """Turn this process into the connection: its standard input and output become the machine's SSH. Does not return.

    HostError where the plugin is missing, or Session Manager does not know the machine.
    """
    require_plugin()
    words, more = start(cloud, instance_id)
    os.execvpe(words[0], words, {**os.environ, **more})
