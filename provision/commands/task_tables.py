"""What `infer`, `score` and `time` say when they are done."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import RunError
from provision import console

if TYPE_CHECKING:
    from provision.task_score import Score
    from provision.task_time import Timing
    from provision.tasks import Job


def files(target: Path, as_json: bool) -> None:
    """The results: other files than our own note of what was asked."""
    from provision.task_files import NOTE

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
    from provision import task_score

    found = [task_score.read(step.out, step.snapshot.iteration if step.snapshot else 0) for step in job.steps]
    drawn = _draw(found, plot, target, job.subject.name)
    if as_json:
        rows = [{"iteration": one.iteration, "metrics": one.metrics} for one in found]
        console.emit_json({"run": job.subject.name, "scores": rows, "plot": drawn})
        return
    console.table("", *task_score.table(found))
    for columns, lines in task_score.group_tables(found).values():
        console.say("")
        console.table("", columns, lines)
    if (best := task_score.best(found)) is not None:
        metric, one = best
        console.say(f"best {metric}: {task_score.shown(one.numbers[metric])} at iteration {one.iteration}")
    if drawn:
        console.say(f"drawn: {drawn}")


def _draw(scores: "Sequence[Score]", plot: Path | None, target: Path, title: str) -> str:
    """Where it is drawn. Nothing is drawn of one snapshot, or without matplotlib, unless it was asked for."""
    from infra.errors import MissingExtraError
    from provision import scoreplot

    if plot is None and len(scores) < 2:
        return ""
    place = plot or target / "score.png"
    try:
        scoreplot.draw(scores, place, title)
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
        (one["layer"], *(f"{one[key]:.3f}" for key in ("forward_ms", "backward_ms", "total_ms")), f"{one['share']:.1f}")
        for one in rows
    ]
    console.table("", columns, cells)
    console.say(
        f"forward {timing.forward:.2f} ms, backward {timing.backward:.2f} ms, both {timing.both:.2f} ms "
        f"(average of {timing.iterations} iterations)"
    )
