"""How executions wait: for a time, for a retry, for a task's end, for a token. Each wait ends when its execution does.

moto's own waits outlast a StopExecution, lose an answer that comes before they begin, and cannot be shortened.
"""

import copy
import threading
import time
from collections.abc import Callable
from typing import Any

from moto.core.utils import utcnow
from moto.stepfunctions.parser.api import (
    ExecutionAbortedEventDetails,
    ExecutionFailedEventDetails,
    ExecutionTimedOutEventDetails,
    HistoryEventType,
)
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.retry.max_attempts_decl import MaxAttemptsOutcome
from moto.stepfunctions.parser.asl.component.common.retry.retrier_decl import RetrierDecl
from moto.stepfunctions.parser.asl.component.common.retry.retrier_outcome import RetrierOutcome
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import EvalTimeoutError
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.component.state.state import CommonStateField
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval.callback.callback import (
    CallbackOutcomeTimedOut,
    HeartbeatTimedOut,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.program_state import ProgramTimedOut
from moto.stepfunctions.parser.asl.eval.states import TaskData

from localcloud.states import calls, pace, tokens

LOOK = pace.LOOK
ends_before: list[Callable[[str], bool]] = []  # asked with an execution's ARN before each of its states


class Stopped(BaseException):
    """The execution is over: whoever carries out a state of it leaves. No Catch and no Retry sees it."""


def install() -> None:
    """Put our methods in the place of those of moto's classes."""
    moto_body, moto_state = Program._eval_body, CommonStateField._eval_body

    def state(self: Any, env: Any) -> None:
        _end_where_asked(env)
        _fail_where_too_long(env)
        moto_state(self, env)

    def body(self: Any, env: Any) -> None:
        try:
            moto_body(self, env)
        except Stopped:
            if not env.is_frame():
                _note_the_end(env)

    CommonStateField._eval_body = state
    Program._eval_body = body
    Program.eval = _run
    StateTaskServiceCallback._eval_body = _task
    StateTaskServiceCallback._eval_wait_for_task_token = _await_token
    ExecutionState._evaluate_with_timeout = _within_its_time
    WaitFunction._wait_interval = _wait
    RetrierDecl._eval_body = _retry


def _end_where_asked(env: Any) -> None:
    execution = env.states.context_object.context_object_data["Execution"]["Id"]
    if any(asked(execution) for asked in ends_before):
        env.set_stop(stop_date=utcnow(), cause=None, error=None)
        raise Stopped


def _fail_where_too_long(env: Any) -> None:
    """AWS lets a history have so many events and no more."""
    limit = pace.current().events
    if len(env.event_manager.get_event_history()) < limit:
        return
    text = f"The execution reached the maximum number of history events ({limit})."
    details = EventDetails(executionFailedEventDetails=ExecutionFailedEventDetails(error="States.Runtime", cause=text))
    raise FailureEventException(
        FailureEvent(env, ErrorName("States.Runtime"), HistoryEventType.ExecutionFailed, details)
    )


def _task(self: Any, env: Any) -> None:
    """As moto's, which makes one token for all tries of a state; ours are made in `_within_its_time`, one for each."""
    if self._is_integration_pattern():
        self._assert_integration_pattern_is_supported()
    CommonStateField._eval_body(self, env)


def _hand_out(state: Any, env: Any) -> None:
    """A new token, where the state waits for one."""
    condition = getattr(getattr(state, "resource", None), "condition", None)
    if condition == ResourceCondition.WaitForTaskToken:
        token = tokens.made()
        tokens.begin(token)
        env.states.context_object.context_object_data["Task"] = TaskData(Token=token)
        env.callback_pool_manager.add(token)


def _close(env: Any) -> None:
    """Nothing that is sent for the environment's token counts from now on."""
    task = env.states.context_object.context_object_data.pop("Task", None)
    if task:
        tokens.end(task["Token"])


def _run(self: Any, env: Any) -> None:
    """Carry out a definition, within its TimeoutSeconds."""
    env.next_state_name = self.start_at.start_at_name
    worker = threading.Thread(target=EvalComponent.eval, args=(self, env), daemon=True, name="execution")
    worker.start()
    begun = time.monotonic()
    while worker.is_alive():
        worker.join(LOOK)
        if self.timeout_seconds and _passed(begun, self.timeout_seconds.timeout_seconds) and env.is_running():
            env.set_timed_out()
            return


def _passed(begun: float, seconds: float) -> bool:
    return time.monotonic() - begun >= seconds * pace.current().heartbeats


def _note_the_end(env: Any) -> None:
    """The last event of an execution that was ended from outside."""
    state = env.program_state()
    if isinstance(state, ProgramTimedOut):
        kind, told = HistoryEventType.ExecutionTimedOut, ExecutionTimedOutEventDetails()
        details = EventDetails(executionTimedOutEventDetails=told)
    else:
        kind = HistoryEventType.ExecutionAborted
        told = ExecutionAbortedEventDetails(error=state.error, cause=state.cause)
        details = EventDetails(executionAbortedEventDetails=told)
    env.event_history_context.source_event_id = 0
    env.event_manager.add_event(context=env.event_history_context, event_type=kind, event_details=details)


def _wait(self: Any, env: Any, wait_seconds: float) -> None:
    _sleep(env, wait_seconds)


def _sleep(env: Any, seconds: float) -> None:
    begun = time.monotonic()
    while (left := begun + seconds * pace.current().waits - time.monotonic()) > 0:
        time.sleep(min(left, LOOK))
        _still(env)


def _still(env: Any) -> None:
    if not env.is_running():
        raise Stopped


def _retry(self: Any, env: Any) -> None:
    """As moto's, but for the wait."""
    self.error_equals.eval(env)
    if not env.stack.pop():
        env.stack.append(RetrierOutcome.Skipped)
        return
    self.max_attempts.eval(env=env)
    if env.stack.pop() == MaxAttemptsOutcome.EXHAUSTED:
        env.stack.append(RetrierOutcome.Failed)
        return
    for part in (self.interval_seconds, self.backoff_rate, self.max_delay_seconds, self.jitter_strategy):
        part.eval(env=env)
    _sleep(env, env.stack.pop())
    env.stack.append(RetrierOutcome.Executed)


def _within_its_time(self: Any, env: Any) -> None:
    """Carry out a state in a thread of its own; EvalTimeoutError after its TimeoutSeconds."""
    self.timeout.eval(env=env)
    seconds = env.stack.pop()
    _hand_out(self, env)
    frame = env.open_frame()
    frame.states.reset(input_value=env.states.get_input())
    frame.stack = copy.deepcopy(env.stack)
    failures: list[BaseException] = []
    over = threading.Event()

    def work() -> None:
        try:
            calls.act_for(frame)
            self._eval_execution(frame)
        except BaseException as error:
            failures.append(error)
        over.set()

    threading.Thread(target=work, daemon=True, name="state").start()
    begun, late = time.monotonic(), False
    while not over.wait(LOOK) and not late and env.is_running():
        late = _passed(begun, seconds)
    _close(env)
    frame.set_ended()
    env.close_frame(frame)
    _still(env)
    if failures:
        raise failures[0]
    if not over.is_set():
        raise EvalTimeoutError
    _take(self, env, frame.stack[-1])


def _take(state: Any, env: Any, result: Any) -> None:
    """The state's result becomes its output, as its fields say."""
    env.stack.append(result)
    if not state._is_language_query_jsonpath():
        env.states.set_result(result)
    if state.assign_decl:
        state.assign_decl.eval(env=env)
    if state.result_selector:
        state.result_selector.eval(env=env)
    if state.result_path:
        state.result_path.eval(env)
    else:
        env.states.reset(input_value=env.stack.pop())


def _await_token(self: Any, env: Any, timeout_seconds: float, callback_endpoint: Any, heartbeat_endpoint: Any) -> Any:
    """What was sent for the task's token; the heartbeats' end, where the state has them. The state's own time ends
    outside, in `_within_its_time`."""
    token = callback_endpoint.callback_id
    while env.is_running():
        outcome = tokens.await_outcome(token, LOOK)
        if outcome is not None:
            return outcome
        if heartbeat_endpoint is not None:
            limit = heartbeat_endpoint._heartbeat_seconds * pace.current().heartbeats
            if tokens.silence(token) >= limit and tokens.give_up(token):
                return HeartbeatTimedOut()
    return CallbackOutcomeTimedOut(callback_id=token)
