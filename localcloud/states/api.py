"""The service's own calls, where moto answers otherwise than AWS: roles, names, stopping, deleting, task tokens."""

import threading
import time
from functools import lru_cache
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.moto_api._internal import mock_random
from moto.stepfunctions.parser.api import ExecutionStatus, InvalidDefinition
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackOutcomeFailure, CallbackOutcomeSuccess
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.responses import StepFunctionResponse

from localcloud.states import calls, check, tokens, waits

NO_TRUST = (
    "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the "
    "provided role."
)
PAGE = 100  # events
RUNNING = ExecutionStatus.RUNNING
_lock = threading.RLock()


class Refused(JsonRESTError):  # type: ignore[misc]
    code = 400


def install() -> None:
    """Put our methods in the place of those of moto's classes."""
    parsed = lru_cache(maxsize=64)(AmazonStateLanguageParser.parse)  # a second for a long definition; it has no state
    AmazonStateLanguageParser.parse = staticmethod(parsed)
    _install_machines()
    _install_machines_answers()
    _install_executions()
    _install_answers()
    _install_tokens()


def _install_machines() -> None:
    moto_create, moto_update = (
        StepFunctionsParserBackend.create_state_machine,
        StepFunctionsParserBackend.update_state_machine,
    )

    def create(self: Any, name: str, definition: str, roleArn: str, **more: Any) -> Any:
        with _lock:
            found = next((one for one in self.state_machines if one.name == name), None)
            if found is not None:
                _refuse_another(found, definition, more.get("sm_type") or "STANDARD")
            _check(self.account_id, definition, roleArn)
            return moto_create(self, name=name, definition=definition, roleArn=roleArn, **more)

    def update(self: Any, arn: str, definition: Any = None, role_arn: Any = None, **more: Any) -> Any:
        _refuse_deleting(self.describe_state_machine(arn))
        _check(self.account_id, definition, role_arn)
        return moto_update(self, arn, definition, role_arn, **more)

    def delete(self: Any, arn: str) -> None:
        """AWS lets executions run to their next state, and the machine lasts until they are over."""
        with _lock:
            for machine in [one for one in self.state_machines if one.arn == arn]:
                machine.deleting = True
                _drop(self, machine)

    StepFunctionsParserBackend.create_state_machine = create
    StepFunctionsParserBackend.update_state_machine = update
    StepFunctionsParserBackend.delete_state_machine = delete


def _install_machines_answers() -> None:
    moto_machine, moto_tags = StepFunctionResponse._describe_state_machine, StepFunctionResponse.tag_resource

    def machine(self: Any, state_machine_arn: str) -> Any:
        said = moto_machine(self, state_machine_arn)
        if getattr(self.stepfunction_backend.describe_state_machine(state_machine_arn), "deleting", False):
            said.result["status"] = "DELETING"
        return said

    def tags(self: Any) -> Any:
        """AWS refuses a tag on what is not there."""
        self.stepfunction_backend.describe_state_machine(self._get_param("resourceArn"))
        return moto_tags(self)

    StepFunctionResponse._describe_state_machine = machine
    StepFunctionResponse.tag_resource = tags


def _refuse_another(found: Any, definition: str, kind: str) -> None:
    _refuse_deleting(found)
    if (found.definition, found.type) != (definition, kind):
        raise Refused("StateMachineAlreadyExists", f"State Machine Already Exists: '{found.arn}'")


def _refuse_deleting(machine: Any) -> None:
    if getattr(machine, "deleting", False):
        raise Refused("StateMachineDeleting", f"State Machine is deleting: '{machine.arn}'")


def _check(account: str, definition: str | None, arn: str | None) -> None:
    if arn is not None:
        try:
            calls.role(account, arn)
        except calls.NoRole:
            raise Refused("AccessDeniedException", NO_TRUST) from None
    if definition is not None:
        try:
            StepFunctionsParserBackend._validate_definition(definition=definition)
            wrong = check.faults_of(definition)
        except InvalidDefinition as error:
            wrong = [str(error.message)]
        if wrong:
            raise Refused("InvalidDefinition", f"Invalid State Machine Definition: '{'; '.join(wrong)}'")


def _drop(backend: Any, machine: Any) -> None:
    """A machine that is being deleted goes with its last execution."""
    with _lock:
        over = all(one.exec_status != RUNNING for one in machine.executions)
        if getattr(machine, "deleting", False) and over and machine in backend.state_machines:
            backend.state_machines.remove(machine)


def _install_executions() -> None:
    moto_start = StepFunctionsParserBackend.start_execution
    moto_reflect = BaseExecutionWorkerCommunication._reflect_execution_status

    def start(self: Any, state_machine_arn: str, name: Any = None, execution_input: Any = None, **more: Any) -> Any:
        with _lock:
            machine = self.describe_state_machine(state_machine_arn)
            _refuse_deleting(machine)
            if name:
                self._validate_name(name)
            _check_input(execution_input or "{}")
            _check(self.account_id, None, machine.roleArn)
            begun = moto_start(self, state_machine_arn, name or str(mock_random.uuid4()), execution_input, **more)
            begun.owner = machine
            return begun

    def stop(self: Any, execution_arn: str, error: str | None = None, cause: str | None = None) -> Any:
        execution = self.describe_execution(execution_arn)
        with _lock:
            if execution.exec_status != RUNNING:
                return execution
            execution.exec_status, execution.stop_date = ExecutionStatus.ABORTED, utcnow()
            execution.error, execution.cause = error, cause
        _begun(execution).set_stop(stop_date=execution.stop_date, cause=cause, error=error)
        _drop(self, execution.owner)
        return execution

    def reflect(self: Any) -> None:
        with _lock:
            if self.execution.exec_status == RUNNING:
                moto_reflect(self)
            owner = getattr(self.execution, "owner", None)
            if owner is not None:
                _drop(owner.backend, owner)

    StepFunctionsParserBackend.start_execution = start
    StepFunctionsParserBackend.stop_execution = stop
    BaseExecutionWorkerCommunication._reflect_execution_status = reflect
    waits.ends_before.append(_is_deleted)


def _check_input(text: str) -> None:
    try:
        tokens.check(text)
    except tokens.NoOutput as error:
        raise Refused("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from None


def _begun(execution: Any) -> Any:
    """The execution's environment, once it has one: parsing its definition comes first."""
    while execution.exec_worker.env is None or execution.exec_worker.env.program_state() is None:
        time.sleep(waits.LOOK)
    return execution.exec_worker.env


def _is_deleted(execution_arn: str) -> bool:
    """Whether an execution's state machine is being deleted: then it has no next state."""
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    _, _, _, region, account, _, name, _ = execution_arn.split(":", 7)
    machines = stepfunctions_parser_backends[account][region].state_machines
    return any(one.name == name and getattr(one, "deleting", False) for one in machines)


def _install_answers() -> None:
    moto_describe, moto_list = StepFunctionResponse.describe_execution, StepFunctionResponse.list_executions

    def describe(self: Any) -> Any:
        said = moto_describe(self)
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        if execution.stop_date is not None and execution.exec_status != RUNNING:
            said.result["stopDate"] = execution.stop_date
        return said

    def listed(self: Any) -> Any:
        said = moto_list(self)
        machine = self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn"))
        known = {one.execution_arn: one for one in machine.executions}
        for row in said.result["executions"]:
            if row["status"] != RUNNING:
                row["stopDate"] = known[row["executionArn"]].stop_date
        return said

    def stop(self: Any) -> Any:
        asked = [self._get_param(name) for name in ("executionArn", "error", "cause")]
        return ActionResult({"stopDate": self.stepfunction_backend.stop_execution(*asked).stop_date})

    StepFunctionResponse.describe_execution = describe
    StepFunctionResponse.list_executions = listed
    StepFunctionResponse.get_execution_history = _history
    StepFunctionResponse.stop_execution = stop


def _history(self: Any) -> Any:
    """A page of the events. AWS gives a hundred where nothing else is asked for, and a thousand at most."""
    asked = {name: self._get_param(name) for name in ("executionArn", "maxResults", "nextToken", "reverseOrder")}
    events = list(self.stepfunction_backend.get_execution_history(asked["executionArn"])["events"])
    if asked["reverseOrder"]:
        events.reverse()
    begin, count = int(asked["nextToken"] or 0), min(int(asked["maxResults"] or PAGE), 10 * PAGE)
    left = {"nextToken": str(begin + count)} if begin + count < len(events) else {}
    return ActionResult({"events": events[begin : begin + count], **left})


def _install_tokens() -> None:
    def success(self: Any) -> Any:
        token, output = self._get_param("taskToken"), self._get_param("output")
        try:
            tokens.check(output)
        except tokens.NoOutput as error:
            raise Refused("InvalidOutput", f"Invalid Output: '{error}'") from None
        return _told(token, tokens.send, CallbackOutcomeSuccess(callback_id=token, output=output))

    def failure(self: Any) -> Any:
        token, error, cause = (self._get_param(name) for name in ("taskToken", "error", "cause"))
        return _told(token, tokens.send, CallbackOutcomeFailure(callback_id=token, error=error, cause=cause))

    StepFunctionResponse.send_task_success = success
    StepFunctionResponse.send_task_failure = failure
    StepFunctionResponse.send_task_heartbeat = lambda self: _told(self._get_param("taskToken"), tokens.beat)


def _told(token: str, act: Any, *words: Any) -> Any:
    try:
        act(token, *words)
    except tokens.Unknown:
        raise Refused("InvalidToken", "Invalid Token: 'Invalid token'") from None
    except tokens.Over:
        raise Refused("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'") from None
    return EmptyResult()
