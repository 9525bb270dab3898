"""What `resume` says of a run before it goes on, wherever that lies."""

from typing import TYPE_CHECKING

from provision import console

if TYPE_CHECKING:
    from provision.runs.standing import Standing
    from provision.runs.store import AnyRun


def tell(run: "AnyRun", now: "Standing", at: int | None, dry_run: bool) -> None:
    """Say how it stands, and from which snapshot it goes on: the newest, or that of the iteration `at`. NotFoundError
    where there is none of it."""
    from provision.training import start

    newest = f"its newest snapshot is of iteration {now.snapshot.iteration}" if now.snapshot else "it has no snapshot"
    console.say(f"{run.id} is {now.word}; {newest}")
    begins = start.turn(run, 0, at).snapshots
    if dry_run or at is not None:
        goes = "would go on" if dry_run else "goes on"
        console.say(f"  it {goes} {f'from iteration {begins[-1].iteration}' if begins else 'from nothing'}")
