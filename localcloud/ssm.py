"""Session Manager's StartSession, which moto lacks: by AWS's rules, with a stand-in for what carries the connection.

A machine is known to Session Manager when it runs and its role may open the agent's channels. The agent itself and its
protocol are not here: where AWS has them, `python -m localcloud.ssm` takes the words of AWS's session-manager-plugin
and connects to port 22 from inside the machine's container, so that security groups have no say. As a laptop's plugin
it is a script of that name in its PATH: exec python -m localcloud.ssm "$@".
"""

import json
import os
import secrets
import subprocess
import sys
from typing import Any

VERSION = "1.2.707.0"
CHANNELS = ("ssmmessages:CreateControlChannel", "ssmmessages:OpenControlChannel", "ssm:UpdateInstanceInformation")
RELAY = """
import os, socket, sys, threading
far = socket.create_connection(("127.0.0.1", 22))
def up():
    while data := os.read(0, 65536):
        far.sendall(data)
    far.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := far.recv(65536):
    while data:
        data = data[os.write(1, data):]
"""


def install() -> None:
    """Put our methods in the place of those of moto's class."""
    from moto.core.exceptions import JsonRESTError
    from moto.core.responses import ActionResult
    from moto.ssm.responses import SimpleSystemManagerResponse

    class Refused(JsonRESTError):  # type: ignore[misc]
        code = 400

    def start_session(self: Any) -> Any:
        target, document = self._get_param("Target"), self._get_param("DocumentName")
        if document != "AWS-StartSSHSession":
            raise Refused("InvalidDocument", f"Document with name {document} does not exist.")
        if not _connected(self.current_account, self.region, target):
            raise Refused("TargetNotConnected", f"{target} is not connected.")
        session = f"provision-{secrets.token_hex(8)}"
        stream = f"wss://ssmmessages.{self.region}.amazonaws.com/v1/data-channel/{session}?role=publish_subscribe"
        return ActionResult({"SessionId": session, "TokenValue": secrets.token_urlsafe(64), "StreamUrl": stream})

    SimpleSystemManagerResponse.start_session = start_session


def _connected(account: str, region: str, instance_id: str) -> bool:
    from moto.ec2.models import ec2_backends

    from localcloud import access, resources

    backend = ec2_backends[account][region]
    instance = backend.get_instance_by_id(instance_id)
    association = backend.iam_instance_profile_associations.get(instance_id)
    if instance is None or instance.state != "running" or association is None:
        return False
    roles = association.iam_instance_profile.roles
    return bool(roles) and all(access.role_may(roles[0], action, resources.UNKNOWN, {}) for action in CHANNELS)


def plugin(words: list[str]) -> None:
    """What AWS's plugin does with these words, on standard input and output."""
    if words == ["--version"]:
        print(VERSION)
        return
    variable, _region, operation, _profile, parameters, _endpoint = words
    session, asked = json.loads(os.environ[variable]), json.loads(parameters)
    if operation != "StartSession" or not all(session[key] for key in ("SessionId", "TokenValue", "StreamUrl")):
        sys.exit("this is no session")
    label = f"label=provision.instance={asked['Target']}"
    found = subprocess.run(["docker", "ps", "-q", "--filter", label], check=True, capture_output=True, text=True)
    container = found.stdout.strip() or sys.exit(f"no container stands for {asked['Target']}")
    os.execvp("docker", ["docker", "exec", "-i", container, "python3", "-c", RELAY])


if __name__ == "__main__":
    plugin(sys.argv[1:])
