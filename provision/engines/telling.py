"""Whom AWS tells how a kept run goes, and what they read there (`clearing`, `working`)."""

from contextlib import suppress

from infra.aws import topics
from infra.errors import ProvisionError
from provision.clouds import Session
from provision.runs.store import Run


def typed(run: Run) -> dict[str, str]:
    """What whoever is told may type next: when the run goes on, after a good end, and after another one."""
    events, fetch, diagnose, resume = (
        run.store.cloud.hint(words)
        for words in (f"events {run.id}", f"fetch {run.id}", f"diagnose {run.id}", f"resume {run.id} --detach")
    )
    return {
        "again": f"What it did and cost so far: {events}",
        "well": f"Its results: {fetch}; what it did and cost: {events}",
        "ill": f"Why: {diagnose}; what it did and cost: {events}; to go on: {resume}",
    }


def say_who_waits(session: Session, arn: str, address: str) -> None:
    """Say it where the topic tells nobody before its `address` has confirmed (as people may see it; "": not known)."""
    if not topics.ours(arn):
        return
    with suppress(ProvisionError):  # the run has begun: a look that fails is no reason to end it
        if topics.state(session.cloud, arn) == topics.TELLS:
            return
        who = topics.shown(address) or f"the address of {arn}"
        session.say(f"{who} is told nothing before it has confirmed: {_how(address)}")


def _how(address: str) -> str:
    mail = "AWS has written to it, and the link there confirms"
    web = (
        "AWS has posted a SubscribeURL to it, which it has to open (chat services do not: docs/runs.md says what does)"
    )
    if not address:
        return "AWS has sent it a link; give --notify with the address once more where that got lost"
    return web if "://" in address else mail
