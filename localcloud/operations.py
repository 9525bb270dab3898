"""What a call is named and how its service answers errors, by botocore's own descriptions of the services.

Query and JSON calls tell their operation themselves. A REST call (S3, the scheduler) has a method and a path, and is
found by those, by the query, and by what the operation cannot be without.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

import botocore.session
from botocore.exceptions import UnknownServiceError

NAMES = {"servicequotas": "service-quotas", "states": "stepfunctions"}  # who signs by another name than botocore's
EC2 = "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors></Response>"
QUERY = "<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"
REST_XML = "<Error><Code>{}</Code><Message>{}</Message></Error>"
DENIED = {  # moto's words for who may not → those of services that have their own
    "AccessDenied": "AccessDeniedException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
}
XML = {"ec2": EC2, "query": QUERY, "rest-xml": REST_XML}

Answer = tuple[list[tuple[str, str]], bytes]


@dataclass(frozen=True)
class Operation:
    """How a REST operation is recognized: all of `query` and `headers` must be there."""

    name: str
    method: str
    path: re.Pattern[str]
    query: frozenset[str]
    headers: frozenset[str]
    deprecated: bool

    def fits(self, method: str, path: str, query: Mapping[str, Any], headers: Iterable[str]) -> bool:
        there = self.query <= set(query) and self.headers <= set(headers)
        return self.method == method and there and self.path.fullmatch(path) is not None

    @property
    def weight(self) -> tuple[int, bool]:
        return len(self.query) + len(self.headers), not self.deprecated


def named(service: str, environ: Mapping[str, Any]) -> str:
    """The operation that a REST request asks for; its method and path where none is known."""
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    headers = {name[5:].replace("_", "-").lower() for name in environ if name.startswith("HTTP_")}
    fitting = [operation for operation in _rest(service) if operation.fits(method, unquote(path), query, headers)]
    return max(fitting, key=lambda operation: operation.weight).name if fitting else f"{method} {path}"


def error(service: str, code: str, message: str) -> Answer:
    """Headers and body of an error, as the service would write it."""
    protocol = _protocol(service)
    if protocol in XML:
        kind, body = "text/xml", XML[protocol].format(escape(code), escape(message))
    else:
        kind, body = "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message})
    said = body.encode()
    return [("Content-Type", kind), ("Content-Length", str(len(said))), ("x-amzn-errortype", code)], said


def denial(service: str, status: int, code: str, message: str) -> tuple[int, Answer] | None:
    """Status and answer in the words of EC2, or of a service that speaks JSON; None where moto's own are right."""
    protocol = _protocol(service)
    if protocol == "ec2" and code == "AccessDenied":
        return status, error(
            service, "UnauthorizedOperation", f"You are not authorized to perform this operation. {message}"
        )
    if protocol in XML or code not in DENIED:
        return None
    return (status if protocol.startswith("rest") else 400), error(service, DENIED[code], message)


@cache
def _model(service: str) -> Any:
    """botocore's description; None for what it does not know."""
    try:
        return botocore.session.Session().get_service_model(NAMES.get(service, service))
    except UnknownServiceError:
        return None


def _protocol(service: str) -> str:
    model = _model(service)
    return str(model.metadata["protocol"]) if model else "ec2"


@cache
def _rest(service: str) -> tuple[Operation, ...]:
    if not _protocol(service).startswith("rest"):
        return ()
    model = _model(service)
    return tuple(_operation(model.operation_model(name)) for name in model.operation_names)


def _operation(model: Any) -> Operation:
    path, _, query = model.http["requestUri"].partition("?")
    needed = _needed(model.input_shape)
    return Operation(
        name=model.name,
        method=model.http["method"],
        path=re.compile("".join(_pattern(part) for part in re.split(r"(\{.*?\})", path)) or "/"),
        query=frozenset({*parse_qs(query, keep_blank_values=True), *needed["querystring"]}),
        headers=frozenset(needed["header"]),
        deprecated=model.deprecated,
    )


def _pattern(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    return ".+" if part.endswith("+}") else "[^/]+"


def _needed(shape: Any) -> dict[str, set[str]]:
    """Names of the query parameters and headers that every such request has."""
    found: dict[str, set[str]] = {"querystring": set(), "header": set()}
    for name in shape.required_members if shape else ():
        place = shape.members[name].serialization
        if place.get("location") in found:
            word = place["name"]
            found[place["location"]].add(word.lower() if place["location"] == "header" else word)
    return found
