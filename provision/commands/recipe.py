"""`provision recipe …`: recipes are folders, ours and the project's alike."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.errors import UsageError
from provision import console
from provision.commands.options import PATH, RECIPE, WORDS, dry_run_option, json_option

if TYPE_CHECKING:
    from provision.recipes.loading import Found
    from provision.recipes.spec import Recipe, Rendered

_project_option = click.option(
    "--project", type=PATH, default=Path(), help="the folder that holds recipes/ (default: here)"
)


@click.group()
def recipe() -> None:
    """List, show, make and check recipes. NAME is a recipe's name, or the path of its folder."""


@recipe.command()
@_project_option
@json_option
def ls(project: Path, as_json: bool) -> None:
    """List our recipes and the project's."""
    from provision.recipes import loading

    rows = [_row(entry) for entry in loading.found(project)]
    if as_json:
        console.emit_json(rows)
        return
    console.table(
        "",
        ("recipe", "stack", "whose", "about"),
        [(row["recipe"], row["stack"], _whose(row), row["about"] or f"WRONG: {row['wrong']}") for row in rows],
    )


def _row(entry: "Found") -> dict[str, Any]:
    """The recipe's row. A recipe of the project that is wrong has a row, too."""
    from provision.recipes.loading import load

    row = {"recipe": entry.name, "ours": entry.ours, "hides_ours": entry.hides, "folder": str(entry.folder)}
    try:
        found = load(str(entry.folder.resolve()))
    except UsageError as error:
        return {**row, "stack": "", "about": "", "data": "", "wrong": error.what}
    return {**row, "stack": found.stack, "about": found.about, "data": found.data, "wrong": ""}


def _whose(row: dict[str, Any]) -> str:
    return "provision's" if row["ours"] else "the project's" + (", hides ours" if row["hides_ours"] else "")


@recipe.command()
@click.argument("name", type=RECIPE)
@click.option("--set", "sets", multiple=True, help="set an option of the recipe: --set iterations=5000")
@click.option(
    "--gpus", type=click.IntRange(min=0), default=0, help="show the recipe as for this number of GPUs (0: the CPU)"
)
@click.option("--files", is_flag=True, help="print the files as they are filled in")
@_project_option
@json_option
def show(name: str, sets: tuple[str, ...], gpus: int, files: bool, project: Path, as_json: bool) -> None:
    """Show what a recipe trains, with which options, data and weights."""
    from provision.recipes import loading, rendering

    found = loading.load(name, project)
    made = rendering.render(found, rendering.split_sets(sets), gpus)
    if as_json:
        console.emit_json(_plain(found, made, files))
        return
    console.table(found.about, ("what", "value"), _facts(found, made))
    _show_tables(found)
    for path, text in made.files.items() if files else ():
        if text:
            console.say(f"\n── {path}\n{text.rstrip()}")


def _plain(found: "Recipe", made: "Rendered", files: bool) -> dict[str, Any]:
    from provision.recipes.spec import to_dict

    raw, filled = to_dict(found), to_dict(made)
    raw.pop("templates")
    content = filled["files"] if files else sorted(filled["files"])
    return {**raw, "rendered": {**filled, "files": content}}


def _facts(found: "Recipe", made: "Rendered") -> list[tuple[str, object]]:
    rule = found.snapshots
    keep = f"the newest {rule.keep} stay" if rule.keep else "all stay"
    snapshots = f"{' + '.join(rule.parts)}, as {rule.pattern}; {keep}" if rule.parts else "none"
    rows: list[tuple[str, object]] = [
        ("recipe", found.name),
        ("stack", found.stack),
        ("data", found.data or "yours: --data"),
        ("command", " ".join(made.command)),
        *(("environment", f"{name}={value}") for name, value in made.environment.items()),
        ("resumed with", " ".join(found.resume) or ("the same command" if rule.parts else "")),
        ("snapshots", snapshots),
        ("told to end by", f"{found.stop.signal}, within {found.stop.timeout:g} s"),
        *((f"option {key}", _changed(value, found.options[key])) for key, value in made.options.items()),
        *((f"plan {key}", value) for key, value in made.plan.items()),
        ("goal", ", ".join(f"{key} {value:g}" for key, value in found.goal.items())),
        ("files", " ".join(sorted(path for path, text in made.files.items() if text))),
    ]
    return [(key, value) for key, value in rows if value != ""]


def _changed(value: object, default: object) -> str:
    return str(value) if value == default else f"{value} (default: {default})"


def _show_tables(found: "Recipe") -> None:
    """Print what needs more than one column: weights, tasks, failures."""
    if found.weights:
        from provision.runs.weights import terms

        rows = [(weights.file, _when(weights.when), terms(weights), weights.url) for weights in found.weights]
        console.table("\nweights", ("file", "where", "licence", "from"), rows)
    if found.tasks:
        tasks = [(f"provision {name}", task.about, " ".join(task.command)) for name, task in found.tasks.items()]
        console.table("\ntasks", ("command", "what", "runs"), tasks)
    if found.failures:
        console.table(
            "\nknown failures", ("what", "mend"), [(failure.what, failure.mend) for failure in found.failures]
        )


def _when(when: "dict[str, Any]") -> str:
    return ", ".join(f"{key}={value}" for key, value in when.items()) or "always"


@recipe.command()
@click.argument("name", type=WORDS)
@click.option(
    "--from", "origin", type=RECIPE, help="copy this recipe (default: one for a small net on digits, with comments)"
)
@_project_option
@dry_run_option
def new(name: str, origin: str | None, project: Path, dry_run: bool) -> None:
    """Make recipes/NAME in your project: a recipe that trains, for you to change."""
    from provision.recipes import making

    files = making.planned(name, origin, project)
    if dry_run:
        console.say(f"would make {project / 'recipes' / name}: {', '.join(files)}")
        return
    folder = making.make(name, files, project)
    console.say(f"{folder}: {', '.join(files)}")
    console.say(f"  next: provision recipe check {name}; provision train {name} --dry-run")


@recipe.command()
@click.argument("name", type=RECIPE)
@_project_option
@json_option
def check(name: str, project: Path, as_json: bool) -> int:
    """Find everything that is wrong with a recipe, as it stands and filled in for 0, 1 and 4 GPUs."""
    from provision.recipes import checking

    found = checking.problems(name, project)
    if as_json:
        console.emit_json([vars(problem) for problem in found])
    else:
        for problem in found:
            console.say(problem.what + (f" → {problem.mend}" if problem.mend else ""))
    if not found and not as_json:
        console.say(f"{name}: nothing is wrong")
    return UsageError.exit_code if found else 0
