"""Faults on demand: calls that fail, whose answer is lost, that wait; more latency; places without capacity.

Tests set rules through the page `_local/faults`: a list of objects (an empty list clears them). Each tells which calls
it is about, and has one effect:

- `service`, `action`: shell patterns (default: all); `params`: parameter name → pattern; `from`: laptop, instance, or
  keeper (executions of state machines);
  `client`: what the call's header X-Client says, by which a test tells several clients apart
- `nth`: which of those calls, from 1, counted since the rules were set; `times`: how many from there on, 0 for all
- `retries`: whether botocore's own retries of a call, which are no calls of their own, meet it too (default: yes)
- `error` {code, message, status}: the call is refused in the words of its service, and nothing is done
- `lost`: it is done, and the connection is closed without an answer
- `hold`: seconds until it is done
- `pause`: it waits for the page `_local/release` ({client}: that client's calls alone), before or after it is done;
  `_local/paused` {seconds} waits until a call waits. A call that waits before, and whose client is dead by then, is not
  done.

A GET of `_local/faults` tells how many calls each rule met. `_local/latency` {seconds} makes every call that much
longer. `_local/capacity` {type, zone, market, code} (patterns; without code there is room again) is asked for by
launches. The daemon's own pages and the metadata service never meet a fault.
"""

import contextlib
import fnmatch
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from localcloud import operations

FORGOTTEN = 600.0  # seconds after which a call stops waiting for its release
ESTABLISHED = 1  # the state of a TCP connection with both ends alive (linux/tcp.h)
ROLE_KEYS = "ASIA"  # how the access keys of role sessions begin: those of instances
ANY = "*"

Environ = dict[str, Any]
Call = dict[str, Any]
Start = Callable[..., Any]
Work = Callable[[Call, Environ, Start], Iterable[bytes]]
Note = Callable[[Call, int, str], None]

keepers: set[str] = set()  # the access keys that executions of state machines sign with
_capacity: dict[tuple[str, str, str], str] = {}


def capacity(kind: str, zone: str, market: str) -> str | None:
    """The error code of a launch there (`market`: spot or on-demand); None where there is room."""
    asked = (kind, zone, market)
    for patterns, code in list(_capacity.items()):
        if all(fnmatch.fnmatchcase(word, pattern) for word, pattern in zip(asked, patterns, strict=True)):
            return code
    return None


class Error(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: str
    message: str = "This failure was asked for."
    status: int = 400


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """See the module's docstring."""

    service: str = ANY
    action: str = ANY
    params: dict[str, str] = {}
    source: Literal["", "laptop", "instance", "keeper"] = ""
    client: str = ANY
    nth: int = 1
    times: int = 1
    retries: bool = True
    error: Error | None = None
    lost: bool = False
    hold: float = 0.0
    pause: Literal["", "before", "after"] = ""

    @property
    def effects(self) -> list[str]:
        named = {"error": self.error, "lost": self.lost, "hold": self.hold, f"pause {self.pause}": self.pause}
        return [name for name, given in named.items() if given]

    def about(self, call: Call) -> bool:
        caller = "instance" if call["access_key"].startswith(ROLE_KEYS) else "laptop"
        caller = "keeper" if call["access_key"] in keepers else caller
        pairs = [(call["service"], self.service), (call["action"], self.action)]
        pairs.append((call.get("client", ""), self.client))
        pairs += [(str(call["params"].get(name, "")), pattern) for name, pattern in self.params.items()]
        return self.source in ("", caller) and all(fnmatch.fnmatchcase(*pair) for pair in pairs)

    def chosen(self, number: int) -> bool:
        return number >= self.nth and (not self.times or number < self.nth + self.times)


@dataclass
class Counted:
    """A rule, and the calls that it is about: invocation → its number, from 1."""

    rule: Rule
    seen: dict[str, int] = field(default_factory=dict)
    met: int = 0

    def meets(self, call: Call, invocation: str) -> bool:
        if not self.rule.about(call):
            return False
        again = invocation in self.seen
        number = self.seen.setdefault(invocation, len(self.seen) + 1)
        meets = self.rule.chosen(number) and (self.rule.retries or not again)
        self.met += meets and not again
        return meets


class Faults:
    """The faults that one cloud's calls meet."""

    def __init__(self) -> None:
        self.rules: list[Counted] = []
        self.latency = 0.0
        self._held: list[tuple[Call, threading.Event]] = []
        self._change = threading.Condition()
        self._unnamed = 0

    def pages(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "faults": self._set,
            "latency": self._set_latency,
            "capacity": _set_capacity,
            "paused": self._paused,
            "release": lambda payload: self._release(payload.get("client", ANY)),
        }

    def around(self, call: Call, environ: Environ, start: Start, work: Work, note: Note) -> Iterable[bytes]:
        """Do the call, with the faults that it meets."""
        time.sleep(self.latency)
        if client := environ.get("HTTP_X_CLIENT"):
            call["client"] = client
        rule = self._met(call, environ)
        if rule is None:
            return work(call, environ, start)
        call["fault"] = rule.effects[0]
        if rule.error:
            return _refuse(call, environ, start, rule.error, note)
        time.sleep(rule.hold)
        if rule.pause == "before":
            self._wait(call)
            if _dead(environ):
                note(call, 0, "dropped")
                raise ConnectionResetError
        body = [b"".join(work(call, environ, start))]
        if rule.pause == "after":
            self._wait(call)
        if rule.lost:
            _hang_up(environ)
        return body

    def _met(self, call: Call, environ: Environ) -> Rule | None:
        with self._change:
            self._unnamed += 1
            invocation = environ.get("HTTP_AMZ_SDK_INVOCATION_ID", str(self._unnamed))
            meeting = [counted.rule for counted in self.rules if counted.meets(call, invocation)]
        return meeting[0] if meeting else None

    def _set(self, payload: Any) -> list[int]:
        if payload != {}:  # a GET has no payload
            rules = _rules(payload)
            with self._change:
                self.rules = [Counted(rule) for rule in rules]
        return [counted.met for counted in self.rules]

    def _set_latency(self, payload: Any) -> float:
        self.latency = float(payload["seconds"])
        return self.latency

    def _wait(self, call: Call) -> None:
        over = threading.Event()
        with self._change:
            self._held.append((call, over))
            self._change.notify_all()
        over.wait(FORGOTTEN)

    def _paused(self, payload: Any) -> list[Call]:
        with self._change:
            self._change.wait_for(lambda: self._held, float(payload.get("seconds", 0.0)))
            return [call for call, _ in self._held]

    def _release(self, client: str) -> int:
        with self._change:
            going = [held for held in self._held if fnmatch.fnmatchcase(held[0].get("client", ""), client)]
            self._held = [held for held in self._held if held not in going]
        for _, over in going:
            over.set()
        return len(going)


def _rules(payload: Any) -> list[Rule]:
    """Read the rules that a test sets. ValueError for what is no list of rules with one effect each."""
    try:
        rules = msgspec.convert(payload, list[Rule])
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    for rule in rules:
        if len(rule.effects) != 1:
            raise ValueError(f"a rule has one effect: error, lost, hold or pause; this one has {len(rule.effects)}")
    return rules


def _set_capacity(payload: Any) -> dict[str, str]:
    place = (payload.get("type", ANY), payload.get("zone", ANY), payload.get("market", ANY))
    _capacity.pop(place, None)
    if payload.get("code"):
        _capacity[place] = payload["code"]
    return {" ".join(patterns): code for patterns, code in _capacity.items()}


def _refuse(call: Call, environ: Environ, start: Start, error: Error, note: Note) -> list[bytes]:
    headers, said = operations.error(call["service"], error.code, error.message)
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))  # unread, it would end the connection first
    start(f"{error.status} -", headers)
    note(call, error.status, error.code)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [said]


def _dead(environ: Environ) -> bool:
    """Whether the client has closed its end: a killed process has."""
    state = environ["werkzeug.socket"].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return bool(state != ESTABLISHED)


def _hang_up(environ: Environ) -> None:
    """Close without a word; the server takes the error for a client that went away."""
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError
