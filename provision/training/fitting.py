"""Whether AWS can keep a training that this laptop is to follow, or this laptop has to see it through: and then why.

What `--detach` refuses an attached training may have. So the same things are told here before anything is made, and
no refusal is caught: a wrong option is wrong in both ways.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.aws.types import SpotRequest
from infra.errors import UsageError
from provision.clouds import Session
from provision.engines import begin
from provision.offers.requirements import Requirements
from provision.recipes.spec import Rendered
from provision.runs import weights
from provision.settings import Settings


@dataclass(frozen=True)
class Wanted:
    """What decides before AWS is asked. `fetched` are the sums of weights that the run knows already."""

    settings: Settings
    wish: Requirements
    rendered: Rendered
    fetched: Mapping[str, Any]
    ports: tuple[int, ...] = ()


_REASONS: tuple[tuple[Callable[[Wanted], bool], str], ...] = (
    (lambda wanted: bool(wanted.wish.volumes), "it has a kept disk (--volume), which a laptop mounts"),
    (
        lambda wanted: wanted.settings.keep_on_error_minutes is not None,
        "a machine that fails is kept for a look (--keep-on-error)",
    ),
    (lambda wanted: bool(wanted.ports), "a port is opened (--port), and nobody reaches a keeper's machine"),
    (lambda wanted: bool(wanted.settings.more_regions), "several regions are asked (--region)"),
    (lambda wanted: _unpinned(wanted), "no sum is known yet of its trained weights"),
)


def reason(wanted: Wanted) -> str:
    """Why no keeper can have what is asked for; "" where one can, as far as is known without AWS's prices."""
    return next((words for holds, words in _REASONS if holds(wanted)), "")


def _unpinned(wanted: Wanted) -> bool:
    files = wanted.rendered.weights
    return any(not file.sha1 and not weights.expected(file, wanted.fetched)[0] for file in files)


def fit(session: Session, wanted: Wanted) -> tuple[SpotRequest | None, str]:
    """The request with which a keeper begins; or None, and why this laptop has to see the training through.

    The errors of `begin.request_of`.
    """
    if why := reason(wanted):
        return None, why
    request = begin.request_of(session, wanted.wish)
    try:
        begin.refuse_short(request)
    except UsageError as short:
        return None, short.what
    return request, ""
