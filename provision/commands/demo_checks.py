"""What the demo checks: by the Docker engine, the bucket and the cloud's own API."""

from infra.aws import s3_bucket
from infra.shell import LocalShell
from provision import clouds, console
from provision.commands.demo_told import CLOUD, NAME, Story
from provision.machines import cost, down
from provision.runs import standing, store, summary


def gone(story: Story) -> None:
    """Check what became of the client, of the first machine and of all else, before anybody looks again."""
    cloud = clouds.session(cloud=CLOUD).cloud
    keeper = standing.keeper_of(cloud, store.find(cloud, story.run))
    story.check("the client that began it was killed with -9", story.client == -9)
    story.check("AWS itself kept the training, to a good end", keeper is not None and keeper.status == "SUCCEEDED")
    bills = {bill.id: bill for bill in cost.bills(cloud)}
    free = story.first in bills and bills[story.first].instance == 0
    story.check(
        "AWS itself took the first machine, in its first hour and so for nothing, and its volumes are gone",
        free and not _docker(story.first),
    )
    for kind, ids in down.everything(cloud, None).items():
        story.check(f"{kind} left: {len(ids)}", not ids)


def training(story: Story) -> None:
    """Check what the log and the run's folder say about the interruption."""
    run = store.find(clouds.session(cloud=CLOUD).cloud, story.run)
    attempts = run.attempts()
    seen = summary.of(run)
    story.check("the training ran on two machines", len({attempt.instance for attempt in attempts}) == 2)
    resumed = attempts[-1].resumed_from
    story.check(
        f"it resumed from the snapshot of iteration {resumed}, and lost nothing from before the notice",
        resumed >= story.struck_at > 0,
    )
    story.check(f"its first iteration then was {seen.first_after_resume}", seen.first_after_resume == resumed)
    before, after = seen.accuracy_before, seen.accuracy
    console.say(f"  accuracy before the interruption {before}, at the end {after}")
    story.check("accuracy on the held-out digits is at least 0.95", (after or 0) >= 0.95)
    nets = list((story.out / "results").rglob("*.caffemodel"))
    story.check("the trained net is home", bool(nets) and all(net.stat().st_size > 0 for net in nets))


def kept(story: Story) -> None:
    """Check that the run stays."""
    run = store.find(clouds.session(cloud=CLOUD).cloud, story.run)
    objects = run.store.objects(run.prefix)
    days = s3_bucket.expire_days(run.store)
    story.check(
        f"kept in S3: {run.id}, {len(objects)} objects, {console.size(sum(s3_object.size for s3_object in objects))}, "
        f"deleted by itself after {days} days",
        bool(objects) and days is not None,
    )


def docker(story: Story) -> None:
    """Check by the Docker engine that nothing is left."""
    story.check("no container, volume or network of the local cloud is left in Docker", not _docker())


def _docker(instance: str = "") -> list[str]:
    """Ids of containers, volumes and networks of this local cloud (of one instance) that the engine knows."""
    label = f"provision.instance={instance}" if instance else f"provision.local={NAME}"
    found: list[str] = []
    for words in (["ps", "-aq"], ["volume", "ls", "-q"], ["network", "ls", "-q"]):
        found += LocalShell().run(["docker", *words, "--filter", f"label={label}"]).out.split()
    return found
