"""By what names a Catch and a Retry learn what went wrong, and what they cannot learn at all.

Services' errors have the names of AWS's Java client: S3.NoSuchKeyException where the service's model has the error,
S3.S3Exception where it has not, Ec2.SdkClientException where no answer came. The cause tells the message, the status
and the request, and not the error's code. States.ALL catches neither States.Runtime nor States.DataLimitExceeded.
"""

import importlib
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails, TaskTimedOutEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.error_equals_decl import ErrorEqualsDecl
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.intrinsic.function.statesfunction.states_function import StatesFunction
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import HeartbeatTimeoutError
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError

from localcloud.states import calls, pace

RUNTIME, TOO_LONG, TIMEOUT, ALL = "States.Runtime", "States.DataLimitExceeded", "States.Timeout", "States.ALL"
FAILED, NO_RIGHT, NO_FUNCTION = "States.TaskFailed", "States.Permissions", "States.IntrinsicFailure"
NAMES = {"dynamodb": "DynamoDb"}  # what is more than a capital letter at the beginning
MISSING = {"headObject": "NoSuchKey", "headBucket": "NoSuchBucket"}  # a 404 without a body


def install() -> None:
    """Put our methods in the place of those of moto's classes."""
    moto_from = StateTaskServiceAwsSdk._from_error

    def from_error(self: Any, env: Any, ex: Exception) -> Any:
        if isinstance(ex, HeartbeatTimeoutError):
            return _timed_out(self, env)
        found = named(self.resource.api_name, self.resource.api_action, ex)
        return _failed(self, env, *found) if found else moto_from(self, env=env, ex=ex)

    StateTaskServiceAwsSdk._from_error = from_error
    ErrorEqualsDecl._eval_body = _matches
    importlib.import_module(f"{StatesFunction.__module__.rpartition('.')[0]}.factory")  # it imports them all
    for kind in _subclasses(StatesFunction):
        kind._eval_body = _telling(kind._eval_body)


def named(service: str, action: str, error: Exception) -> tuple[str, str] | None:
    """Name and cause of what a call raised; None for what is no matter of the service."""
    name = NAMES.get(service, service[:1].upper() + service[1:])
    if isinstance(error, ClientError):
        said, about = error.response["Error"], error.response["ResponseMetadata"]
        kind = type(error).__name__
        if kind in ("ClientError", "AccessDenied"):  # the latter is new in S3's model: AWS is told to say S3Exception
            kind = MISSING.get(action, name) if str(said["Code"]) == "404" else name
        word = kind if kind.endswith("Exception") else f"{kind}Exception"
        details = f"Service: {name}, Status Code: {about['HTTPStatusCode']}, Request ID: {about.get('RequestId', '')}"
        return f"{name}.{word}", f"{said.get('Message', '')} ({details})"
    if isinstance(error, BotoCoreError) and not isinstance(error, ParamValidationError):
        return f"{name}.SdkClientException", str(error)
    if isinstance(error, calls.NoRole):
        return NO_RIGHT, f"{calls.SERVICE} may not assume the role {error}"
    return None


def _failed(state: Any, env: Any, name: str, cause: str) -> Any:
    told = TaskFailedEventDetails(
        resource=state._get_sfn_resource(), resourceType=state._get_sfn_resource_type(), error=name, cause=cause
    )
    details = EventDetails(taskFailedEventDetails=told)
    return FailureEvent(env, ErrorName(name), HistoryEventType.TaskFailed, details)


def _timed_out(state: Any, env: Any) -> Any:
    name = pace.current().heartbeat_error
    told = TaskTimedOutEventDetails(
        resource=state._get_sfn_resource(), resourceType=state._get_sfn_resource_type(), error=name
    )
    return FailureEvent(
        env, ErrorName(name), HistoryEventType.TaskTimedOut, EventDetails(taskTimedOutEventDetails=told)
    )


def _matches(self: Any, env: Any) -> None:
    """Whether the error on the stack is one of those that a Catch or a Retry names."""
    name = env.stack.pop().error_name
    wanted = [error.error_name for error in self.error_names]
    env.stack.append(caught(name, wanted))


def caught(name: str | None, wanted: list[str]) -> bool:
    """Whether an error by this name is one of those wanted, with AWS's wildcards."""
    if name in wanted and name != RUNTIME:
        return True
    if name in (RUNTIME, TOO_LONG):
        return False
    return ALL in wanted or (FAILED in wanted and name != TIMEOUT)


def _telling(moto_body: Any) -> Any:
    """An intrinsic function whose failure has its own name: StringToJson of what is no JSON."""

    def body(self: Any, env: Any) -> None:
        try:
            moto_body(self, env)
        except (FailureEventException, NoSuchJsonPathError):
            raise
        except Exception as error:
            told = TaskFailedEventDetails(error=NO_FUNCTION, cause=str(error))
            details = EventDetails(taskFailedEventDetails=told)
            event = FailureEvent(env, ErrorName(NO_FUNCTION), HistoryEventType.TaskFailed, details)
            raise FailureEventException(event) from error

    return body


def _subclasses(kind: Any) -> Iterator[Any]:
    for one in kind.__subclasses__():
        yield one
        yield from _subclasses(one)
