"""Client tokens: the same call again with the same token is the same call."""

import threading
from collections.abc import Callable
from typing import Any

from moto.ec2.exceptions import EC2ClientError

MISMATCH = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."


class Tokens:
    """The client tokens of one action: what was asked for with each, and the answer, which is given again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._lock = threading.Lock()

    def once(self, response: Any, work: Callable[[], Any]) -> Any:
        """`work`'s answer; the earlier one if the region knows the token. A failure is not remembered."""
        key = (response.region, response._get_param("ClientToken", ""))
        asked = {name: value for name, value in response.querystring.items() if name != "ClientToken"}
        with self._lock:
            if key in self._known and not response._get_param("DryRun", False):
                before, answer = self._known[key]
                if before != asked:
                    raise EC2ClientError("IdempotentParameterMismatch", MISMATCH)
                return answer
            answer = work()
            if key[1]:
                self._known[key] = (asked, answer)
            return answer
