"""What executions call: AWS's services, at this cloud's own address, each as the role of its state machine.

A call is signed with a session of the role, so that `access` judges it, and tells its execution's name in the header
X-Client, so that tests find it in the log of calls and can let it fail.
"""

import sys
import threading
from datetime import timedelta
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from moto.core.utils import utcnow
from moto.iam.models import iam_backends
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.sts.models import sts_backends

from localcloud import access, faults
from localcloud.states import shapes

SERVICE = "states.amazonaws.com"
SESSION = timedelta(hours=1)
PATIENCE = 600  # seconds until an answer counts as lost: as long as a call may be held up by a test

_endpoint = ""
_lock = threading.Lock()
_sessions: dict[str, Any] = {}  # role's ARN → botocore's session
_clients: dict[tuple[str, str, str], Any] = {}  # role's ARN, region, service
_mine = threading.local()


class NoRole(Exception):
    """The role is not there, or does not trust the service."""


def install(endpoint: str) -> None:
    """Let executions call this address, and that alone."""
    global _endpoint
    _endpoint = endpoint
    StateTaskServiceAwsSdk._eval_service_task = _call
    for name, module in list(sys.modules.items()):  # the services that the language has words of its own for
        if name.startswith("moto.stepfunctions.") and hasattr(module, "boto_client_for"):
            vars(module)["boto_client_for"] = client_for


def role(account: str, arn: str) -> Any:
    """moto's role. NoRole where it is not there or does not let Step Functions in."""
    found = next((one for one in iam_backends[account]["aws"].roles.values() if one.arn == arn), None)
    if found is None or not access.trusts(found, SERVICE):
        raise NoRole(arn)
    return found


def _call(self: Any, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any) -> None:
    """Carry out a task of the kind aws-sdk; its answer goes onto the stack."""
    name = self.resource.api_name
    operation = shapes.operation(name, self.resource.api_action)
    client = client_for(resource_runtime_part.region, shapes.SERVICES.get(name, name), state_credentials)
    asked = shapes.request(normalised_parameters, operation.input_shape) if operation.input_shape else {}
    said = client._make_api_call(operation.name, asked)
    env.stack.append(shapes.answer(said, operation.output_shape))


def act_for(env: Any) -> None:
    """This thread's calls are those of the environment's execution."""
    _mine.execution = env.states.context_object.context_object_data["Execution"]["Name"]


def client_for(region: str, service: str, state_credentials: Any) -> Any:
    """A client that signs as the role. NoRole."""
    arn = state_credentials.role_arn
    with _lock:
        account = arn.split(":")[4]
        role(account, arn)
        wanted = (arn, region, service)
        if wanted not in _clients:
            if arn not in _sessions:
                _sessions[arn] = _session(account, region, arn)
            client = _clients[wanted] = _sessions[arn].create_client(service, region, **_settings())
            client.meta.events.register("before-send", _tell_the_execution)
        return _clients[wanted]


def _settings() -> dict[str, Any]:
    words: dict[str, Any] = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, "proxies": {}}
    config = Config(**words, connect_timeout=10, read_timeout=PATIENCE, max_pool_connections=50)
    return {"endpoint_url": _endpoint, "config": config}


def _session(account: str, region: str, arn: str) -> Any:
    """A session whose keys are the role's, renewed before they end."""

    def assume() -> dict[str, Any]:
        assumed = sts_backends[account]["aws"].assume_role(
            region_name=region,
            role_session_name="states",
            role_arn=arn,
            policy="",
            duration=int(SESSION.total_seconds()),
            external_id="",
        )
        faults.keepers.add(assumed.access_key_id)
        return {
            "access_key": assumed.access_key_id,
            "secret_key": assumed.secret_access_key,
            "token": assumed.session_token,
            "expiry_time": f"{utcnow() + SESSION:%Y-%m-%dT%H:%M:%SZ}",
        }

    session: Any = botocore.session.Session()
    session.register_component("data_loader", shapes.loader)
    session._credentials = RefreshableCredentials.create_from_metadata(assume(), assume, "assume-role")
    return session


def _tell_the_execution(request: Any, **_: Any) -> None:
    request.headers["X-Client"] = _mine.execution
