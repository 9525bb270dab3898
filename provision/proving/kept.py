"""The promises about a run that AWS keeps: it begins, saves, goes on and stops without this laptop."""

import re
from datetime import datetime, timezone

from infra.aws import witness
from infra.aws.fault_injection import DOLLARS, Notices
from infra.errors import AuthError
from provision.engines import begin
from provision.engines import stop as engines
from provision.machines import down as ending
from provision.offers.budget import GRACE
from provision.proving.promise import BrokenError, LeftOutError, Trial, wish
from provision.proving.role import plan_of
from provision.runs import standing
from provision.runs.manifest import Attempt, Snapshot
from provision.runs.store import Run, attempt_of
from provision.training import kept

FOREVER = 100_000_000  # iterations: what is saved was saved at a notice
BEGINS_S = 1500.0  # a machine, its Docker, the image of half a gigabyte
_NOTICED_S = 420.0
_ITERATION = re.compile(rb"Iteration (\d+)")


def begins(trial: Trial) -> str:
    """The keeper rents a machine, which trains; this laptop only looks on."""
    name = f"{trial.request.name}-kept"
    trial.names.append(name)
    begun = datetime.now(timezone.utc)
    request = begin.request_of(trial.session, wish(name, trial.kind, own_run=True))
    trial.kept, trial.keeping = kept.train(trial.session, plan_of(trial.kind, FOREVER), request, kept.Terms())
    trial.runs.append(trial.kept)
    attempt = _trains(trial, 1)
    seen = witness.machine(trial.cloud, attempt.instance)
    if rules := witness.rules(trial.cloud, seen):
        raise BrokenError(
            f"{attempt.instance}, which nobody has to enter, lets in {', '.join(r.source for r in rules)}"
        )
    planned = witness.schedule(trial.cloud, attempt.launch)
    ends = trial.keeping.ends if trial.keeping else ""
    if planned is None or attempt.instance not in planned.instances or planned.at is None:
        raise BrokenError(f"no schedule of AWS's ends {attempt.instance}")
    if abs(planned.at - (datetime.fromisoformat(ends) + GRACE)).total_seconds() > 90:
        raise BrokenError(f"the schedule is for {planned.at}, and the run ends at {ends}")
    took = (datetime.now(timezone.utc) - begun).total_seconds()
    return (
        f"{trial.kept.id} trains on {attempt.instance} after {took / 60:.1f} min; no port is open, its schedule stands"
    )


def _trains(trial: Trial, number: int) -> Attempt:
    """The attempt of that number, once Caffe counts in its log."""
    run = trial.run()

    def training() -> Attempt | None:
        now = _kept(trial, run)
        attempt = now.attempt
        if attempt is None or attempt.number < number or not attempt.instance or now.said != "running":
            return None
        return attempt if _counts(run, attempt.number) else None

    found: Attempt = trial.until(training, BEGINS_S, f"attempt {number} of {run.id} did not train", 3.0)
    return found


def _kept(trial: Trial, run: Run) -> standing.Standing:
    """How the run stands. BrokenError where its keeper works no more: then nothing goes on."""
    now = standing.glance(trial.cloud, run)
    if not now.kept:
        keeper = now.keeper
        why = (keeper.cause or keeper.error or keeper.status.lower()) if keeper else "there is none"
        raise BrokenError(f"nobody keeps {run.id} any more: {why or 'AWS does not know its keeper'}")
    return now


def _counts(run: Run, number: int) -> bool:
    pieces = [piece for piece in run.log_pieces() if attempt_of(piece.key) == number]
    return any(int(found) > 0 for piece in pieces for found in _ITERATION.findall(run.store.read(piece.key) or b""))


def saves(trial: Trial) -> str:
    """AWS gives a spot notice; the run's only snapshot is the one of that notice."""
    run = trial.run()
    attempt = _trains(trial, 1)
    if run.all_snapshots():
        raise LeftOutError("there is a snapshot already, so that nothing would be shown")
    _notice(trial, attempt.instance)
    snapshot: Snapshot = trial.until(
        lambda: next((one for one in run.all_snapshots() if one.attempt in (0, attempt.number)), None), _NOTICED_S,
        f"{run.id} has saved nothing at the notice",
    )  # fmt: skip
    return f"iteration {snapshot.iteration} is whole in S3; no snapshot was due"


def _notice(trial: Trial, instance_id: str) -> None:
    trial.other += DOLLARS
    try:
        Notices(trial.cloud).give(instance_id)
    except AuthError as error:
        trial.other -= DOLLARS
        more = trial.cloud.hint("iam-policy --prove")
        raise LeftOutError(f"no spot notice can be had: {error.what}; {more} prints what it takes") from error


def resumes(trial: Trial) -> str:
    """The keeper rents another machine, which goes on from the snapshot of the notice."""
    run = trial.run()
    saved = run.snapshots()
    if not saved:
        raise LeftOutError("no snapshot was saved at a notice")
    first = run.attempts()[0]
    attempt = _trains(trial, first.number + 1)
    if attempt.instance == first.instance:
        raise BrokenError(f"it trains on {first.instance} again, which AWS has taken")
    if attempt.resumed_from != saved[-1].iteration:
        raise BrokenError(f"it goes on from iteration {attempt.resumed_from}, and {saved[-1].iteration} was saved")
    if witness.machine(trial.cloud, first.instance).state != "terminated":
        raise BrokenError(f"{first.instance} is not gone, and {attempt.instance} trains")
    return f"{attempt.instance} goes on from iteration {attempt.resumed_from}; {first.instance} is gone"


def stops(trial: Trial) -> str:
    """`stop` saves the work, ends the keeper and its machine, and nothing of the launch is left."""
    run = trial.run()
    keeper = standing.keeper_of(trial.cloud, run)
    if keeper is None:
        raise BrokenError(f"nobody keeps {run.id}")
    word = engines.stop(trial.session, run, keeper, trial.sleep)
    now = standing.keeper_of(trial.cloud, run)
    left = [ids for ids in ending.everything(trial.cloud, trial.names[-1]).values() if ids]
    machines = [attempt.instance for attempt in run.attempts() if attempt.instance]
    living = [one for one in machines if witness.machine(trial.cloud, one).state != "terminated"]
    if left or living or now is None or now.works:
        raise BrokenError(f"left after `stop`: {', '.join([*map(str, left), *living]) or 'its keeper'}")
    if word != "stopped":
        raise BrokenError(f"the run is {word} after `stop`")
    return f"{run.id} is {word}, {len(machines)} machines are terminated, nothing is left"
