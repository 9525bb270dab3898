"""What `infer`, `score` and `time` print when they are done."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import RunError
from provision import console

if TYPE_CHECKING:
    from provision.tasks.job import Job
    from provision.tasks.score import Score
    from provision.tasks.timing import Timing


def files(target: Path, as_json: bool) -> None:
    """The result files, without our own note of the request."""
    from provision.tasks.workspace import NOTE

    paths = sorted(path for path in target.rglob("*") if path.is_file() and path.name != NOTE)
    found = {str(path): path.stat().st_size for path in paths}
    if as_json:
        console.emit_json({"out": str(target), "files": found})
        return
    for path, size in list(found.items())[:20]:
        console.say(f"{path}  {console.size(size)}")
    if len(found) > 20:
        console.say(f"and {len(found) - 20} more in {target}")


def scores(job: "Job", target: Path, plot: Path | None, as_json: bool) -> None:
    from provision.tasks import score

    found = [score.read(step.out, step.snapshot.iteration if step.snapshot else 0) for step in job.steps]
    drawn = _draw(found, plot, target, job.subject.name)
    if as_json:
        rows = [{"iteration": scored.iteration, "metrics": scored.metrics} for scored in found]
        console.emit_json({"run": job.subject.name, "scores": rows, "plot": drawn})
        return
    console.table("", *score.table(found))
    for columns, lines in score.group_tables(found).values():
        console.say("")
        console.table("", columns, lines)
    if (best := score.best(found)) is not None:
        metric, scored = best
        console.say(f"best {metric}: {score.shown(scored.numbers[metric])} at iteration {scored.iteration}")
    if drawn:
        console.say(f"drawn: {drawn}")


def _draw(scores: "Sequence[Score]", plot: Path | None, target: Path, title: str) -> str:
    """Draw the scores; the picture's path. Unasked, nothing is drawn of a single snapshot or without matplotlib."""
    from infra.errors import MissingExtraError
    from provision.tasks import score_plot

    if plot is None and len(scores) < 2:
        return ""
    place = plot or target / "score.png"
    try:
        score_plot.draw(scores, place, title)
    except (MissingExtraError, RunError):
        if plot is not None:
            raise
        return ""
    return str(place)


def times(timing: "Timing", order: str, name: str, as_json: bool) -> None:
    rows, totals = timing.rows(order), timing.totals()
    if as_json:
        console.emit_json({"net": name, "layers": rows, **totals})
        return
    columns = ("layer", "forward ms", "backward ms", "total ms", "%")
    cells = [
        (row["layer"], *(f"{row[key]:.3f}" for key in ("forward_ms", "backward_ms", "total_ms")), f"{row['share']:.1f}")
        for row in rows
    ]
    console.table("", columns, cells)
    console.say(
        f"forward {timing.forward:.2f} ms, backward {timing.backward:.2f} ms, both {timing.both:.2f} ms "
        f"(average of {timing.iterations} iterations)"
    )
