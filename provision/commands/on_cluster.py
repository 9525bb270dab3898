"""`train --on CLUSTER`, and `resume`, `stop` and the table of runs that lie on a cluster."""

from typing import TYPE_CHECKING, Any

from infra.errors import UsageError
from provision import console
from provision.commands import going_on, train_plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.engines.slurm.cluster import Cluster
    from provision.engines.slurm.submitting import Limits
    from provision.recipes.spec import Option
    from provision.runs.store import AnyRun
    from provision.runs.sweeps import Sweep
    from provision.runs.table import Seen
    from provision.settings import Settings
    from provision.training.on_cluster import There
    from provision.training.request import TrainPlan, TrainRequest


def named(name: str | None) -> "Cluster | None":
    """The cluster of that name; None where none is meant."""
    from provision.engines.slurm import cluster as clusters

    return clusters.load(name) if name in clusters.names() else None


def any_noted() -> bool:
    """Whether the user has clusters: who has may do without an account at AWS."""
    from provision.engines.slurm import cluster as clusters

    return bool(clusters.names())


def limits(given: dict[str, Any]) -> "Limits":
    """What the flags say of a job's time; they are taken out, as no machine is rented by them."""
    from provision.engines.slurm.submitting import Limits

    hours = given.get("max_hours")
    given["max_hours"] = None
    return Limits(hours)


def train(
    known: "Cluster", chosen: "Settings", request: "TrainRequest", allowed: "Limits", *, detach: bool, dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Queue a training there, and follow it unless `detach`."""
    from provision.engines.slurm import cluster as clusters
    from provision.engines.slurm import submitting
    from provision.training import on_cluster
    from provision.training.request import refuse_unaccepted

    submitting.refuse_longer(known, allowed)
    plan = on_cluster.plan(known, request)
    if dry_run:
        train_plan.show(plan, None, dry_run=True, as_json=as_json)
        return
    refuse_unaccepted(plan)
    train_plan.show(plan, None, dry_run=False)
    there = on_cluster.There(known, clusters.place(known), console.line)
    run = on_cluster.create(plan, there, chosen)
    try:
        job = on_cluster.start(run, there, allowed).job
    except BaseException:
        _forget(run, there)
        raise
    if not as_json:
        console.say(f"run {run.id}")
    _go_on(run, there, job, detach, as_json)


def planned(known: "Cluster", request: "TrainRequest") -> "TrainPlan":
    """The plan for a training there."""
    from provision.training import on_cluster

    return on_cluster.plan(known, request)


def sweep(
    known: "Cluster", plan: "TrainPlan", chosen: "Settings", items: "Sequence[Mapping[str, Option]]", at_once: int
) -> "Sweep":
    """Queue a sweep there."""
    from provision.engines.slurm import cluster as clusters
    from provision.engines.slurm.submitting import Limits
    from provision.training import on_cluster

    there = on_cluster.There(known, clusters.place(known), console.line)
    return on_cluster.sweep(plan, there, chosen, items, at_once, Limits())


def resume(
    run: "AnyRun", name: str | None, given: dict[str, Any], folders: tuple[str | None, str | None], *, at: int | None,
    detach: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Go on with a run of a cluster, there."""
    from provision.commands import kept_options, options
    from provision.training import on_cluster

    there = _there(run)
    if name not in (None, there.cluster.name):
        raise UsageError(f"the run lies on {there.cluster.name}, and {name} cannot reach it", "leave out --on")
    allowed = limits(given)
    options.refuse_unused(there.cluster.name, given)
    kept_options.refuse_unkept(given, f"{run.id} lies on {there.cluster.name}")
    now = on_cluster.ready_to_resume(run, there)
    going_on.tell(run, now, at, dry_run)
    if dry_run:
        return
    on_cluster.give(run, there, *folders)
    _go_on(run, there, on_cluster.start(run, there, allowed, at).job, detach, as_json=False)


def stop(run: "AnyRun", dry_run: bool) -> None:
    """Stop a run of a cluster."""
    if dry_run:
        console.say(f"would send {run.manifest.recipe.stop.signal} to {run.id} and wait until its work is saved")
        return
    word = _there(run).engine.stop(run)
    console.say(f"{run.id} is {word}; go on with it: {run.store.hint(f'resume {run.id}')}")


def seen() -> "tuple[list[Seen], list[str]]":
    """All runs of all clusters, and how they stand in more words."""
    from provision.engines.slurm import where

    found = [_look(run) for _, runs in where.every() for run in runs]
    return [one for one, _ in found], [words for _, words in found]


def of_names(run_ids: "Sequence[str]") -> "tuple[list[Seen], list[str]]":
    """Those of these runs that lie on a cluster, to be deleted, and the other names. RunError where one goes on."""
    from provision.engines.slurm import where
    from provision.runs import removal

    runs = {name: run for name in dict.fromkeys(run_ids) if (run := where.find(name)) is not None}
    found = [_look(run)[0] for run in runs.values()]
    for one in found:
        removal.refuse_training(one)
    return found, [name for name in run_ids if name not in runs]


def clear(runs: "Sequence[AnyRun]") -> None:
    """Take away what attempts of deleted runs left where they worked."""
    for run in runs:
        place = _there(run).place
        place.door.run(["rm", "-rf", f"{place.door.root}/work/{run.id}"])


def _there(run: "AnyRun") -> "There":
    from infra.ssh_folder import SshFolder
    from provision.engines.slurm import where
    from provision.training.on_cluster import There

    known = where.cluster_of(run)
    assert known is not None and isinstance(run.store, SshFolder)
    return There(known, run.store, console.line)


def _look(run: "AnyRun") -> "tuple[Seen, str]":
    from infra.errors import ProvisionError
    from provision.runs.standing import Standing
    from provision.runs.table import Seen, elsewhere

    try:
        engine = _there(run).engine
        return elsewhere(run, engine.state(run)), engine.how(run).about
    except ProvisionError as error:
        return Seen(run, run.store.objects(run.prefix), Standing(), str(error)), ""


def _forget(run: "AnyRun", there: "There") -> None:
    """Delete a run that was not queued. One that was, goes on; so it is taken to be where nobody answers."""
    from infra.errors import ProvisionError
    from provision.runs import expiry

    try:
        if not there.engine.is_queued(run):
            expiry.delete(run, run.store.objects(run.prefix))
    except ProvisionError as error:
        console.line(f"{run.id} may be queued: {error.what}; see {run.store.hint('runs')}")


def _go_on(run: "AnyRun", there: "There", job: str, detach: bool, as_json: bool) -> None:
    """Say that it is queued, and follow it unless `detach`. Ctrl-C ends the following alone: the job is the
    cluster's."""
    from provision.commands import here
    from provision.runs.report import Follower

    hint, name = run.store.hint, there.cluster.name
    if detach:
        if as_json:
            console.emit_json({"run": run.id, "cluster": name, "job": job})
            return
        console.say(f"{run.id} is in the queue of {name} as job {job}, and needs this laptop no more")
        console.say(f"  follow it: {hint(f'logs {run.id} -f')}; stop it: {hint(f'stop {run.id}')}")
        return
    console.line(f"in the queue of {name} as job {job}; Ctrl-C ends the following, and not the training")
    follower = Follower((lambda: there.engine.ask_to_stop(run)) if run.manifest.settings.diagnose else None)
    try:
        word = follower.follow(None, run, there.engine.state)
    except KeyboardInterrupt:
        console.line(f"{run.id} goes on; stop it: {hint(f'stop {run.id}')}")
        raise
    here.conclude(run, word, as_json)
