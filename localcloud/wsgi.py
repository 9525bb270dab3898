"""What stands before moto: the log of calls, the daemon's own pages under /_local, readable errors.

All pages but three want the cloud's secret, as instances can reach them too: `checkip` tells the caller its own
address, `name` tells which cloud this is, `confirm` is where a subscriber of a topic says that it wants to be told.
"""

import io
import json
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from html import unescape
from typing import Any
from urllib.parse import parse_qsl

from infra.errors import ProvisionError
from localcloud import ec2, emulator, hardware, metadata, operations, pricing, quotas, scheduler, states, topics
from localcloud.edge import forget
from localcloud.engine import Network
from localcloud.faults import Faults
from localcloud.machines import GONE, Machines
from localcloud.states import pace

KEPT = 20_000  # calls in the log
FORM = "application/x-www-form-urlencoded"
HIDDEN = re.compile(r"UserData|Password|Secret|Token$|PolicyDocument|KeyMaterial|^Value$|^Endpoint$", re.IGNORECASE)
ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors></Response>"
)

Environ = dict[str, Any]
Start = Callable[..., Any]
log = logging.getLogger("localcloud")


class Front:
    """The WSGI application of a local cloud."""

    def __init__(
        self,
        name: str,
        secret: str,
        network: Network,
        moto: Any,
        machines: Machines,
        stop: Callable[[], None],
    ) -> None:
        self.name, self.secret, self.network = name, secret, network
        self.moto, self.machines, self.stop = moto, machines, stop
        self.endpoint = ""  # our own address, once there is a server
        self.calls: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.faults = Faults()
        self.pages: dict[str, Callable[[dict[str, Any]], Any]] = {
            "status": lambda _: self._status(),
            "calls": self._calls,
            "interrupt": self._interrupt,
            "stop": lambda _: self._stop(),
            "forget": lambda _: forget(self.machines.by_id),
            **self.faults.pages(),
            "prices": lambda asked: hardware.move_price(asked["type"], asked["zone"], asked.get("price")),
            "quotas": quotas.change,
            "retire": lambda asked: hardware.retire(asked["retired"]),
            "schedules": lambda asked: scheduler.set_clock(float(asked["ahead"])),
            "preload": lambda asked: machines.images.preload(asked["image"]),
            "keeper": pace.change,
            "topics": lambda _: topics.said(),
            "bare": lambda asked: emulator.be_bare(asked["bare"]),
        }

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith("/_local/"):
            status, kind, body = self._local(environ, path.removeprefix("/_local/"))
            start(f"{status} -", [("Content-Type", kind), ("Content-Length", str(len(body)))])
            return [body]
        return self.faults.around(_described(environ), environ, start, self._amazon, self._note)

    def _local(self, environ: Environ, page: str) -> tuple[int, str, bytes]:
        if page == "checkip":
            return 200, "text/plain", self.network.source_of(environ["REMOTE_ADDR"]).encode()
        if page == "name":
            return _json(200, {"name": self.name, "pid": os.getpid()})
        if page == "confirm":
            return topics.confirm(environ.get("QUERY_STRING", ""))
        if environ.get("HTTP_X_LOCAL_SECRET") != self.secret:
            return _json(403, "the cloud's secret is missing")
        if page.startswith("metadata/"):
            return self._metadata(environ, page.removeprefix("metadata"))
        if page not in self.pages:
            return _json(404, f"there is no page {page}")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        payload = json.loads(environ["wsgi.input"].read(length)) if length else {}
        try:
            return _json(200, self.pages[page](payload))
        except LookupError as error:
            return 404, "text/plain", str(error.args[0]).encode()
        except (ValueError, ProvisionError) as error:
            return 400, "text/plain", str(error).encode()

    def _metadata(self, environ: Environ, path: str) -> tuple[int, str, bytes]:
        machine = self.machines.at(environ.get("HTTP_X_LOCAL_CLIENT", ""))
        if machine is None:
            return 503, "text/plain", b""  # it boots faster than we write: it will ask again
        status, body = metadata.answer(machine, path)
        return status, "text/plain", body

    def _status(self) -> list[dict[str, Any]]:
        return [
            {
                "id": machine.instance.id,
                "type": machine.instance.instance_type,
                "state": machine.state,
                "container": machine.container if machine.state != "terminated" else "",
                "ip": machine.address or "",
            }
            for machine in list(self.machines.by_id.values())
        ]

    def _calls(self, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """The log; with {"forget": true} it begins anew after that."""
        found = list(self.calls)
        if payload.get("forget"):
            self.calls.clear()
        return found

    def _interrupt(self, payload: dict[str, Any]) -> dict[str, str]:
        machine = self.machines.by_id.get(payload["instance"])
        if machine is None or machine.state in GONE:
            raise LookupError(f"no instance {payload['instance']} runs in the local cloud {self.name}")
        code = payload.get("reason", "no-capacity")
        coming = self.machines.interrupt(payload["instance"], float(payload["notice"]), code)
        return {"instance": payload["instance"], "action": "terminate", "time": coming.at}

    def _stop(self) -> str:
        threading.Thread(target=self.stop, name="stop").start()
        return "stopping"

    def _amazon(self, call: dict[str, Any], environ: Environ, start: Start) -> Iterable[bytes]:
        if "HTTP_AUTHORIZATION" not in environ:
            start("403 -", [("Content-Type", "text/xml")])
            self._note(call, 403, "AuthFailure")
            return [ERROR.format(code="AuthFailure", text="The request is not signed.").encode()]
        if call["action"] == "GetProducts":
            said = pricing.products(call["params"])
            start("200 -", [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(said)))])
            self._note(call, 200)
            return [said]
        try:
            if call["service"] == "states":
                states.ready(self.endpoint)
            if call["service"] == "sns":
                topics.ready(self.endpoint)
            begun, answer = self._of_moto(call, environ)
            status, headers = int(begun[0].split()[0]), begun[1]
            if status < 400:
                start(*begun)
                self._note(call, status)
                body: Iterable[bytes] = answer
                return body
            said = b"".join(answer)
            if status == 500:  # moto raised something that is no AWS error: what it has not got
                raise NotImplementedError(call["action"])
        except Exception as error:
            log.warning("%s cannot be done here: %r", call["action"], error)
            status, headers, said = _unsupported(call)
        code = _code_of(said)
        if denied := operations.denial(call["service"], status, code, _message_of(said)):
            status, (headers, said) = denied
            code = _code_of(said)
        self._note(call, status, code)
        start(f"{status} -", headers)
        return [said]

    def _of_moto(self, call: dict[str, Any], environ: Environ) -> tuple[Any, Iterable[bytes]]:
        """What moto starts its answer with, and the answer. It has no locks: a look that met a change is done again."""
        for tries in range(5):
            begun: list[Any] = []
            try:
                answer: Iterable[bytes] = self.moto(environ, lambda *args, begun=begun: begun.append(args))
                return begun[0], answer
            except RuntimeError:
                if tries == 4 or not call["action"].startswith(("Describe", "List")):
                    raise
                environ["wsgi.input"].seek(0)
        raise AssertionError

    def _note(self, call: dict[str, Any], status: int, error: str = "") -> None:
        self.calls.append({**call, "status": status, **({"error": error} if error else {})})
        log.debug("%s %s %s", call["action"], status, error)
        if call["service"] == "ec2" and status < 400:
            ec2.after(call["action"], self.machines)


def _described(environ: Environ) -> dict[str, Any]:
    """A call for the log; the body of a form is read and put back."""
    scope = re.search(r"Credential=([^/]+)/[^/]*/([^/]*)/([^/]*)/", environ.get("HTTP_AUTHORIZATION", ""))
    service = scope[3] if scope else "unknown"
    action, params = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')}", dict[str, Any]()
    kind, target = environ.get("CONTENT_TYPE", ""), environ.get("HTTP_X_AMZ_TARGET")
    if kind.startswith(FORM) or target:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        params = json.loads(body or b"{}") if target else dict(parse_qsl(body.decode(errors="replace")))
        action = target.split(".")[-1] if target else params.pop("Action", action)
    else:
        params = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        action = operations.named(service, environ)
    now = datetime.fromtimestamp(time.time(), timezone.utc).isoformat(timespec="milliseconds")
    shown = {name: "•••" if HIDDEN.search(name) else value for name, value in params.items() if name != "Version"}
    who = scope[1] if scope else ""
    return {"time": now, "service": service, "action": action, "access_key": who, "params": shown}


def _code_of(said: bytes) -> str:
    """The code of an error's body, in whatever protocol."""
    found = re.search(rb"<Code>(.*?)</Code>|\"__type\": ?\"(?:[^\"]*#)?(\w+)\"", said)
    return (found[1] or found[2]).decode() if found else ""


def _message_of(said: bytes) -> str:
    found = re.search(rb"<Message>(.*?)</Message>", said, re.DOTALL)
    return unescape(found[1].decode()) if found else ""


def _json(status: int, value: Any) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(value).encode()


def _unsupported(call: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    """An error that boto3 can read, in the words of the service's protocol."""
    text = f"The local cloud cannot do {call['action']}."
    return 400, *operations.error(call["service"], "UnsupportedOperation", text)
