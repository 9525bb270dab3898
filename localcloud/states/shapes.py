"""Between what a state machine says and what botocore takes, by botocore's models of the services.

Names are those of AWS's Java client, as Step Functions has them: PascalCase, SsekmsKeyId for SSEKMSKeyId. Step
Functions writes a blob as JSON text: an object compactly, a string with its quotes (so S3's Body). What comes back is
JSON: times as text in UTC, S3's Body as text.
"""

import json
import re
from datetime import datetime, timezone
from functools import cache
from typing import Any

import botocore.loaders
import botocore.session
from botocore.exceptions import UnknownServiceError

SERVICES = {"sfn": "stepfunctions", "servicequotas": "service-quotas"}  # in a state machine → in botocore

loader = botocore.loaders.Loader()  # one for all sessions: reading EC2's model takes half a second


class Unsupported(ValueError):
    """The definition names something that the service does not have."""


@cache
def model(service: str) -> Any:
    """A service's model. Unsupported."""
    session = botocore.session.Session()
    session.register_component("data_loader", loader)
    try:
        return session.get_service_model(SERVICES.get(service, service))
    except UnknownServiceError as error:
        raise Unsupported(f"there is no service {service}") from error


def operation(service: str, action: str) -> Any:
    """The model of an operation, by its name in a state machine: createFleet. Unsupported."""
    found = model(service)
    name = action[:1].upper() + action[1:]
    if action[:1].isupper() or name not in found.operation_names:
        raise Unsupported(f"the service {service} has no action {action}")
    return found.operation_model(name)


@cache
def called(member: str) -> str:
    """A member's name in a state machine."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", member))
    return "".join(word[:1].upper() + word[1:].lower() for word in spaced.split("_"))


def members(shape: Any) -> dict[str, tuple[str, Any]]:
    """Name in a state machine → name in botocore, and shape."""
    return {called(name): (name, inner) for name, inner in shape.members.items()}


def unknown(value: Any, shape: Any, path: str = "") -> list[str]:
    """The fields of a template (JSON, before its paths are filled in) that the shape does not have."""
    if shape is None or shape.type_name not in ("structure", "list", "map"):
        return []
    if shape.type_name == "list":
        return [name for one in (value if isinstance(value, list) else []) for name in unknown(one, shape.member, path)]
    if not isinstance(value, dict):
        return []
    if shape.type_name == "map":
        return [name for inner in value.values() for name in unknown(inner, shape.value, path)]
    known = members(shape)
    missing = []
    for name, inner in value.items():
        plain = name.removesuffix(".$")
        if plain not in known:
            missing.append(f"{path}/{plain}")
        elif plain == name:
            missing += unknown(inner, known[plain][1], f"{path}/{plain}")
    return missing


def request(value: Any, shape: Any) -> Any:
    """What botocore takes. What the shape does not have is left as it is: botocore refuses it by name."""
    if shape.type_name == "structure" and isinstance(value, dict):
        known = members(shape)
        pairs = [(known.get(name, (name, None)), inner) for name, inner in value.items()]
        return {name: request(inner, member) if member is not None else inner for (name, member), inner in pairs}
    if shape.type_name == "list" and isinstance(value, list):
        return [request(inner, shape.member) for inner in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: request(inner, shape.value) for key, inner in value.items()}
    if shape.type_name == "blob":
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return value


def answer(value: Any, shape: Any) -> Any:
    """botocore's answer as JSON that an execution can hold."""
    if shape is None:
        return {}
    if shape.type_name == "structure":
        pairs = [(name, value[name]) for name in shape.members if name in value]
        return {called(name): answer(inner, shape.members[name]) for name, inner in pairs}
    if shape.type_name == "list":
        return [answer(inner, shape.member) for inner in value]
    if shape.type_name == "map":
        return {key: answer(inner, shape.value) for key, inner in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if hasattr(value, "read"):
        value = value.read()
    return value.decode(errors="replace") if isinstance(value, bytes) else value
