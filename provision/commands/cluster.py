"""`provision cluster …`: Slurm clusters on which trainings run."""

from typing import TYPE_CHECKING, Any

import click

from provision import clouds, console
from provision.commands.options import CLUSTER, dry_run_option, json_option

if TYPE_CHECKING:
    from provision.engines.slurm.cluster import Cluster


@click.group()
def cluster() -> None:
    """Train on a Slurm cluster that you may log in to: `provision train RECIPE --on NAME`."""


@cluster.command()
@click.argument("name", type=CLUSTER)
@click.argument("login", metavar="USER@LOGIN")
@click.option("--partition", help="the partition of its jobs (default: the cluster's own)")
@click.option("--account", help="the account that they are charged to")
@click.option("--qos", help="their quality of service")
@click.option(
    "--shared",
    metavar="DIR",
    help="a folder of yours on the shared file system, for runs and images (default: ~/provision)",
)
@click.option("--sbatch", metavar="WORDS", help="more words for sbatch, unread: --sbatch '--constraint=v100 --mem=32G'")
@dry_run_option
@json_option
def add(name: str, login: str, dry_run: bool, as_json: bool, **given: str | None) -> None:
    """Note a cluster as NAME, or change it, and ask what it has.

    USER@LOGIN is its login node as your ssh takes it (also USER@LOGIN:PORT, or a name of ~/.ssh/config): your keys,
    your agent, your known_hosts. No password is kept, and nothing is installed there.
    """
    from provision.engines.slurm import cluster as clusters

    made = clusters.changed(name, login, **given)
    if not dry_run:
        clusters.save(made)
        _check(made, as_json)
    elif as_json:
        console.emit_json(_plain(made))
    else:
        console.say(f"would note {name} ({login}), and ask what it has")


@cluster.command()
@json_option
def ls(as_json: bool) -> None:
    """List the clusters, with what they had when they were last asked."""
    from provision.engines.slurm import cluster as clusters

    found = clusters.every()
    if as_json:
        console.emit_json([_plain(one) for one in found])
    elif not found:
        console.say("no clusters: provision cluster add NAME USER@LOGIN")
    else:
        columns = ("name", "login", "partition", "GPUs", "driver", "containers", "asked")
        console.table("", columns, [_row(one) for one in found])


@cluster.command()
@click.argument("name", type=CLUSTER)
@json_option
def check(name: str, as_json: bool) -> None:
    """Ask a cluster what it has, and remember it: Slurm, containers, the shared folder, the GPUs of each partition.

    A job of a moment runs in each partition.
    """
    from provision.engines.slurm import cluster as clusters

    _check(clusters.load(name), as_json)


@cluster.command()
@click.argument("name", type=CLUSTER)
@dry_run_option
def rm(name: str, dry_run: bool) -> None:
    """Forget a cluster. What lies there stays, and what runs there goes on."""
    from provision.engines.slurm import cluster as clusters

    known = clusters.load(name)
    if dry_run:
        console.say(f"would forget {name}; its runs would stay in {_shared(known)}")
        return
    clusters.forget(name)
    console.say(f"forgot {name}; its runs are still in {_shared(known)}")


def _check(known: "Cluster", as_json: bool) -> None:
    from provision.engines.slurm import cluster as clusters
    from provision.engines.slurm import looking

    door = clusters.door(known)
    try:
        with console.step(f"asking {known.name}"):
            found = looking.check(known, door)
    finally:
        door.close()
    clusters.save(found)
    if as_json:
        console.emit_json(_plain(found))
        return
    assert found.known is not None
    has = found.known
    quota = f", {console.size(has.quota)} of your quota left" if has.quota is not None else ""
    console.say(f"{found.name}: Slurm {has.slurm}, containers by {has.runtime}")
    console.say(f"  {_shared(found)}: {console.size(has.free)} free{quota}")
    rows = [_partition(one) for one in has.partitions]
    console.table("", ("partition", "GPUs of a node", "driver", "longest job", ""), rows)
    console.say(f"  train there: {clouds.hint(f'train RECIPE --on {found.name}')}")


def _partition(one: Any) -> tuple[str, str, str, str, str]:
    gpus = f"{one.gpus} × {one.gpu or 'unknown'}" if one.gpus else "none"
    limit = console.span(one.seconds) if one.seconds else "no limit"
    return one.name + (" (default)" if one.default else ""), gpus, one.driver, limit, one.problem


def _shared(known: "Cluster") -> str:
    return known.known.root if known.known else known.shared


def _row(known: "Cluster") -> tuple[str, ...]:
    partition, has = known.chosen(), known.known
    gpus = f"{partition.gpus} × {partition.gpu}" if partition and partition.gpus else ""
    return (
        known.name, known.login, known.partition or (partition.name if partition else ""), gpus,
        partition.driver if partition else "", has.runtime if has else "", has.time if has else "never",
    )  # fmt: skip


def _plain(known: "Cluster") -> object:
    import msgspec

    return msgspec.to_builtins(known)
