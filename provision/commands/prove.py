"""`prove`: whether the product's promises hold in the user's own account."""

import sys
from typing import TYPE_CHECKING, Any

import click

from infra.errors import LeftoverError, ProvisionError, UsageError
from provision import clouds, console
from provision.commands.options import TYPE, cloud_options, dry_run_option, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.proving.promise import Promise, Report, Trial, Verdict

KIND = "c5.large"  # the smallest on which the image of the small training has room


@click.command()
@click.option("--instance", "kind", type=TYPE, default=KIND, show_default=True, help="try it on machines of this type")
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True,
    help="stop before all of it could have cost more than this many US dollars",
)  # fmt: skip
@click.option(
    "--quick", is_flag=True, help="leave out what takes many minutes: that AWS's schedule alone ends a machine"
)
@click.option("--yes", is_flag=True, help="ask nothing")
@cloud_options
@dry_run_option
@json_option
def prove(kind: str, budget: float, quick: bool, yes: bool, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Prove in your own account what provision promises: on small spot machines, for a few cents.

    It shows its plan with the price, and asks. Each promise is tried and judged by what AWS and the machine say; one
    that does not hold keeps no other from being tried. All that was begun is ended, whatever happens, and it is shown
    that nothing is left.
    """
    from provision.proving import role
    from provision.proving.promise import trial_of
    from provision.proving.table import PROMISES
    from provision.proving.trying import prove as tried

    trial = trial_of(clouds.session(**flags), kind, budget)
    _show_plan(trial, PROMISES, quick, as_json, dry_run)
    if dry_run:
        return
    if not yes:
        _ask(trial)
    role.bring_image(kind)
    report = tried(trial, PROMISES, quick, _tell)
    if as_json:
        console.emit_json(_json(trial, report))
    else:
        _show(trial, report)
    _verdict(report)


def _ask(trial: "Trial") -> None:
    """UsageError where there is nobody to answer, or the answer is no."""
    mend = f"to begin without a question: {trial.session.hint('prove --yes')}"
    if not sys.stdin.isatty():
        raise UsageError("nothing was rented: nobody can answer whether to begin", mend)
    if not click.confirm("Begin?", err=True):
        raise UsageError("nothing was rented", mend)


def _show_plan(trial: "Trial", table: "Sequence[Promise]", quick: bool, as_json: bool, dry_run: bool) -> None:
    """The plan with its price: on standard output only where it is all that was asked for."""
    from provision.offers.budget import price_of
    from provision.proving.table import most

    at_most = most(trial, quick)
    there = [one for one in table if not (quick and one.slow)]
    if dry_run and as_json:
        rows = [{"promise": one.name, "proves": one.proves, "how": one.how, "minutes": one.minutes,
                 "dollars": round(one.costs(trial.hourly), 4)} for one in there]  # fmt: skip
        console.emit_json({"type": trial.kind, "budget": trial.dollars, "most": round(at_most, 4), "promises": rows})
        return
    tell = console.say if dry_run else console.line
    shown = [(one.name, one.proves, one.how, f"{one.minutes:g} min" if one.minutes else "") for one in there]
    title = f"would be proven in {trial.cloud.name} {trial.cloud.region}"
    console.table(title, ("promise", "what is proven", "how", "at most"), shown, meanwhile=not dry_run)
    first = trial.request.offers[0]
    tell(f"on {trial.kind}, one machine at a time: {price_of(trial.request, first.spot)}, its disk and address besides")
    enough = at_most <= trial.dollars
    tell(
        f"all of it costs ${at_most:.2f} at the very most, if each takes as long as it may; the budget is "
        f"${trial.dollars:g}" + ("" if enough else ": what it does not pay for is left out")
    )


def _tell(verdict: "Verdict") -> None:
    took = f" ({console.span(verdict.seconds)})" if verdict.seconds >= 1 else ""
    console.line(f"{verdict.promise.name}: {verdict.word}{took}: {verdict.found}")


def _json(trial: "Trial", report: "Report") -> dict[str, Any]:
    return {
        "cloud": trial.cloud.name, "region": trial.cloud.region, "type": trial.kind, "budget": trial.dollars,
        "dollars": round(report.cost, 4), "promises": [one.as_json() for one in report.verdicts],
        "broken": [one.promise.name for one in report.broken], "left": list(report.left),
    }  # fmt: skip


def _show(trial: "Trial", report: "Report") -> None:
    from provision.machines.cost import dollars

    rows = [(one.promise.name, one.word, one.found, console.span(one.seconds) if one.seconds >= 1 else "")
            for one in report.verdicts]  # fmt: skip
    console.table(f"in {trial.cloud.name} {trial.cloud.region}", ("promise", "verdict", "what was seen", "time"), rows)
    shown = [(one.promise.name, one.promise.only) for one in report.shown]
    if shown:
        console.table("what of this only AWS itself shows", ("promise", "what"), shown)
    held = sum(one.word == "holds" for one in report.verdicts)
    out = sum(one.word == "left out" for one in report.verdicts)
    console.say(
        f"{held} of {len(report.verdicts)} promises hold" + (f", {out} were left out" if out else "")
        + f"; it cost {dollars(report.cost)} at most"
    )  # fmt: skip
    if not report.left:
        console.say(
            "all that was begun is ended; nothing of it is left but the image and the host's files in the bucket"
        )


def _verdict(report: "Report") -> None:
    """LeftoverError where something could not be ended, else ProvisionError where a promise does not hold."""
    if report.left:
        raise LeftoverError(f"not everything was ended: {'; '.join(report.left)}", "run these commands")
    if report.broken:
        names = ", ".join(f"{one.promise.name} ({one.word})" for one in report.broken)
        raise ProvisionError(
            f"{len(report.broken)} of {len(report.verdicts)} promises do not hold, or could not be proven: {names}",
            "what was seen in their place stands above; until it is understood, rent nothing that nobody watches",
        )
