"""Waiting out what may pass: a line that is down, credentials that have expired, a refusal of the moment.

Each kind of refusal is said once, and again every few minutes; the wait is bounded.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from infra.aws.session import Cloud, read_credentials_again
from infra.errors import AuthError, CloudError, HostError, ProvisionError, ThrottledError
from provision import console
from provision.console import Say

PASSING = (AuthError, CloudError, ThrottledError, HostError)  # the last: a login node that is away
_SAY_AGAIN_S = 300.0


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


@dataclass(frozen=True)
class Clock:
    """The time in seconds, and waiting. Tests give their own."""

    now: Callable[[], float] = field(default=lambda: time.monotonic())
    sleep: Callable[[float], None] = field(default=_sleep)


class Patience:
    """Bears refusals that may pass, for `limit` seconds without one good answer."""

    def __init__(self, cloud: Cloud | None, limit: float, say: Say = console.line, clock: Clock | None = None) -> None:
        self._cloud, self._limit, self._say = cloud, limit, say
        self._clock = clock or Clock()
        self._since: float | None = None
        self._said: dict[type[ProvisionError], float] = {}

    def heard(self) -> None:
        """A good answer came: the wait begins anew."""
        if self._said:
            self._say("AWS answers again")
        self._since = None
        self._said.clear()

    def bear(self, error: ProvisionError, pause: float) -> None:
        """Say the error where it is new, and wait `pause` s; the error itself is raised when the patience is over."""
        now = self._clock.now()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._limit:
            raise error
        said = self._said.get(type(error))
        if said is None or now - said >= _SAY_AGAIN_S:
            self._said[type(error)] = now
            self._say(f"{error.what}; trying again for {_minutes(self._limit - (now - self._since))}")
        if isinstance(error, AuthError) and self._cloud is not None:
            read_credentials_again(self._cloud)
        self._clock.sleep(pause)


def _minutes(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min"
