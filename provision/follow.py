"""Follow a run from anywhere: its log and its state as they stand in S3."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from infra.aws.ec2 import Ec2
from infra.aws.session import Cloud
from infra.errors import CloudError, ThrottledError
from provision.runs import Run, attempt_of

_GONE = ("shutting-down", "terminated", "stopping", "stopped")
_LOOK_AT_INSTANCE_S = 3.0
_PATIENCE_S = 900.0


@dataclass(frozen=True)
class Piece:
    """New text of the log, and the key of its object."""

    key: str
    attempt: int
    text: str


def pieces(cloud: Cloud, run: Run, after: str = "", pause: float = 1.0) -> Iterator[Piece]:
    """The log from the piece behind `after` on, as it grows, until this attempt has ended.

    A laptop's line may fail for a while: the training goes on meanwhile, and so does this (CloudError after
    `_PATIENCE_S` s without one good answer).
    """
    looked_at, heard_at = 0.0, time.monotonic()
    while True:
        look = time.monotonic() - looked_at > _LOOK_AT_INSTANCE_S
        looked_at = time.monotonic() if look else looked_at
        try:
            ended = outcome(cloud, run, look) not in ("starting", "running")
            new = [_piece(run, piece.key) for piece in run.log_pieces(after)]
        except (CloudError, ThrottledError):
            if time.monotonic() - heard_at > _PATIENCE_S:
                raise
            time.sleep(5 * pause)
            continue
        heard_at = time.monotonic()
        for piece in new:
            after = piece.key
            yield piece
        if ended:
            return
        time.sleep(pause)


def _piece(run: Run, key: str) -> Piece:
    return Piece(key, attempt_of(key), (run.store.read(key) or b"").decode(errors="replace"))


def outcome(cloud: Cloud, run: Run, look: bool = True) -> str:
    """How the run stands: starting, running, interrupted, finished, failed, stopped, or lost.

    A run is lost when its machine is gone and nobody could say goodbye; its snapshots are in S3. Whether the
    machine is gone is asked only with `look`.
    """
    attempts = run.attempts()
    newest = attempts[-1].number if attempts else 0
    known = _spoken(run, newest)
    if not look or not attempts or known not in ("starting", "running"):
        return known
    instance = Ec2(cloud).by_id(attempts[-1].instance)
    if instance is not None and instance.state not in _GONE:
        return known
    known = _spoken(run, newest)  # the guard may have spoken while we looked
    return "lost" if known in ("starting", "running") else known


def _spoken(run: Run, attempt: int) -> str:
    """The guard's word on this attempt; what it said of an earlier one is over."""
    state = run.state()
    return str(state["state"]) if state["attempt"] == attempt else "starting"


def show(cloud: Cloud, run: Run, on_text: Callable[[Piece], None], after: str = "") -> str:
    """Hand over the log as it grows; how the run stands at the end."""
    for piece in pieces(cloud, run, after):
        on_text(piece)
    return outcome(cloud, run)
