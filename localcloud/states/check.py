"""What AWS refuses when a state machine is made: services, actions and fields that it does not have."""

import json
from collections.abc import Iterator
from typing import Any

from localcloud.states import shapes

SDK = "arn:aws:states:::aws-sdk:"
TOKEN = ".waitForTaskToken"


def faults_of(definition: str) -> list[str]:
    """What is wrong with the calls in a definition; each with its place."""
    found = []
    for path, state in _states(json.loads(definition), ""):
        resource = state.get("Resource", "")
        if state.get("Type") == "Task" and resource.startswith(SDK):
            found += [f"{text} at {path}" for text in _wrong(resource.removeprefix(SDK), state.get("Parameters", {}))]
    return found


def _states(machine: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Each state with its path, also those inside Parallel and Map."""
    for name, state in machine.get("States", {}).items():
        here = f"{path}/States/{name}"
        yield here, state
        for number, branch in enumerate(state.get("Branches", [])):
            yield from _states(branch, f"{here}/Branches[{number}]")
        for inner in ("ItemProcessor", "Iterator"):
            yield from _states(state.get(inner, {}), f"{here}/{inner}")


def _wrong(words: str, parameters: Any) -> list[str]:
    service, _, action = words.removesuffix(TOKEN).partition(":")
    try:
        operation = shapes.operation(service, action)
    except shapes.Unsupported as error:
        return [f'The resource provided "{SDK}{words}" is not supported: {error}']
    if operation.input_shape is None:
        return []
    texts = [f'The field "{name}" is not supported by Step Functions' for name in _fields(parameters, operation)]
    if words.endswith(TOKEN) and "$$.Task.Token" not in json.dumps(parameters):
        texts.append("the task token is handed to nobody: $$.Task.Token")
    return texts


def _fields(parameters: Any, operation: Any) -> list[str]:
    return [name.removeprefix("/") for name in shapes.unknown(parameters, operation.input_shape)]
