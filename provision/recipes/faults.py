"""What is wrong with a recipe that its types cannot say. Everything is looked at when it is loaded, with the defaults:
what is refused here costs nothing, and the same error an hour later costs an hour."""

import re
import signal
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from infra.border import did_you_mean
from infra.errors import UsageError
from provision.data import PREPARERS
from provision.files.folders import inside
from provision.logs.metrics.asked import asked
from provision.recipes import rendering
from provision.recipes.planners import table
from provision.recipes.spec import NO_SNAPSHOTS, TASKS, Recipe, Weights

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
Fault = tuple[bool, str, str]  # whether it is wrong, the key and what is wrong, the mend
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TAKEN = {
    "LOG": "it names the log that is saved",
    "HOME": "it is a folder that is gone with the container",
    "NVIDIA_VISIBLE_DEVICES": "--gpus N takes GPUs that nobody uses",
}
_SECRET = re.compile(r"(?i)secret|token|passw|credential|access_?key|api_?key")
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def faults(recipe: Recipe) -> Iterator[Fault]:
    """All faults of the recipe, the most important first."""
    yield not NAME.fullmatch(recipe.name), f"name {recipe.name!r} is not a name", "use a-z, 0-9 and -"
    yield not recipe.command, "command is empty", "give the words that start the training"
    yield (
        bool(recipe.data) and recipe.data not in PREPARERS,
        f"data {recipe.data!r} is prepared by nobody",
        did_you_mean(recipe.data, PREPARERS) + "; leave it out for data of your own (--data)",
    )
    yield from _stop(recipe)
    yield from _options(recipe)
    for folder in recipe.folders:
        yield inside(Path(), folder) is None, f"folder {folder!r} is outside the run's folder", ""
    yield from _snapshots(recipe)
    yield (
        bool(recipe.plan) and recipe.plan not in table.PLANNERS,
        f"plan {recipe.plan!r}",
        did_you_mean(recipe.plan, table.PLANNERS),
    )
    for weights in recipe.weights:
        yield from _weights(recipe, weights)
    yield from _same_file(recipe.weights)
    for name in recipe.environment:
        yield from variable(f"environment.{name}", name)
    yield from _tasks(recipe)
    yield from _metrics(recipe.metrics)
    for at, failure in enumerate(recipe.failures):
        yield from _pattern(f"failures[{at}].match", failure.match, ())


def variable(key: str, name: str) -> Iterator[Fault]:
    """Whether a training may have an environment variable of that name: `key` is how the user gave it."""
    yield not _VARIABLE.fullmatch(name), f"{key}: {name!r} is no variable's name", "use letters, digits and _"
    yield name in _TAKEN, f"{key} is set by provision", _TAKEN.get(name, "")
    yield (
        bool(_SECRET.search(name)),
        f"{key}: a run's manifest, which holds it, is no place for a secret",
        "use a file on the machine that only you may read: provision put",
    )


def _stop(recipe: Recipe) -> Iterator[Fault]:
    stop, signals = recipe.stop, [known.name for known in signal.Signals]
    yield stop.signal not in signals, f"stop.signal {stop.signal!r}", did_you_mean(stop.signal, signals)
    yield stop.timeout <= 0, "stop.timeout must be more than 0 seconds", ""


def _options(recipe: Recipe) -> Iterator[Fault]:
    for option, default in recipe.options.items():
        like_number = bool(re.fullmatch(r"[-+]?\d+e[-+]?\d+", str(default)))
        yield (
            like_number,
            f"options.{option}: YAML reads {default} as a text",
            f"write {float(default) if like_number else 0}",
        )
        yield option in rendering.GIVEN, f"options.{option} is given by provision", "take another name"
        yield not option.isidentifier(), f"options.{option!r} is not a name", "use letters, digits and _"


def _snapshots(recipe: Recipe) -> Iterator[Fault]:
    rule, there = recipe.snapshots, recipe.snapshots != NO_SNAPSHOTS
    yield from _pattern("snapshots.pattern", rule.pattern, ("iteration", "part"))
    yield there and not rule.parts, "snapshots.parts is empty", "name what the group `part` finds in whole snapshots"
    yield rule.keep < 0, "snapshots.keep must not be below 0", "0 keeps all"
    yield from _placeholders("resume", recipe.resume)
    yield bool(recipe.resume) and not there, "resume without snapshots", "add snapshots with its pattern"


def _placeholders(key: str, words: Sequence[str]) -> Iterator[Fault]:
    for name in re.findall(r"(?<![{$])\{\w*\}(?!\})", " ".join(words)):  # not {{ name }}, not ${name}
        yield name != "{snapshot}", f"{key} has {name}", "the only placeholder there is {snapshot}"


def _pattern(key: str, pattern: str, groups: Sequence[str]) -> Iterator[Fault]:
    try:
        have = re.compile(pattern).groupindex
    except re.error as error:
        yield True, f"{key} is no regular expression: {error}", ""
        return
    for group in groups:
        yield group not in have, f"{key} has no group {group!r}", f"write (?P<{group}>…) around it"


def _metrics(word: str) -> Iterator[Fault]:
    try:
        asked(word)
    except UsageError as error:
        yield True, f"metrics: {error.what}", error.mend


def _weights(recipe: Recipe, weights: Weights) -> Iterator[Fault]:
    key = f"weights {weights.file}"
    yield (
        "/" in weights.file or inside(Path(), weights.file) is None,
        f"weights: {weights.file!r} is not a file's name",
        "",
    )
    for name, url in (("url", weights.url), *(("mirrors", mirror) for mirror in weights.mirrors)):
        yield (
            not re.match(r"https?://[^/\s]+/\S", url),
            f"{key}: {name} {url!r}",
            "write http:// or https:// and all",
        )
    yield not weights.licence.strip(), f"{key}: licence is empty", "say under which terms it may be used"
    for kind, digits in (("sha256", 64), ("sha1", 40)):
        text = getattr(weights, kind)
        yield (
            bool(text) and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", text),
            f"{key}: {kind} {text!r} is not {digits} hex digits",
            "leave it out where upstream publishes none: the file is pinned when it is first fetched",
        )
    yield weights.size < 0, f"{key}: size must not be below 0", "0: not known"
    for name, value in weights.when.items():
        known = name in recipe.options
        yield not known, f"{key}: when.{name} is no option", did_you_mean(name, recipe.options)
        default = recipe.options.get(name)
        yield (
            known and type(value) is not type(default),
            f"{key}: when.{name} is {value!r}, and the option is {_KINDS.get(type(default))}",
            f"its default is {default!r}",
        )


def _same_file(weights: Sequence[Weights]) -> Iterator[Fault]:
    for first, second in combinations(weights, 2):
        apart = any(second.when.get(key, value) != value for key, value in first.when.items())
        yield (
            first.file == second.file and not apart,
            f"weights: {first.file} is there twice for the same options",
            "give the files two names, or two values of one option in `when`",
        )


def _tasks(recipe: Recipe) -> Iterator[Fault]:
    for name, task in recipe.tasks.items():
        words = (*task.command, *task.gpu)
        yield name not in TASKS, f"tasks.{name} is no task", did_you_mean(name, TASKS)
        yield not task.command, f"tasks.{name}.command is empty", "give the words that do it"
        yield from _placeholders(f"tasks.{name}", words)
        lost = task.every_snapshot or any("{snapshot}" in word for word in words)
        yield (
            lost and recipe.snapshots == NO_SNAPSHOTS,
            f"tasks.{name} wants a snapshot, and the recipe has none",
            "add snapshots with its pattern",
        )
    yield from _unfilled(recipe)


def _unfilled(recipe: Recipe) -> Iterator[Fault]:
    """Tasks that cannot be filled in with the defaults. A planner may want more than these: then `render` says so."""
    for gpus in (0, 1) if recipe.tasks else ():
        try:
            filled = rendering.fill(recipe, {})
            values = {**filled, **table.make(recipe.plan, filled, gpus, None).values, **rendering.given(gpus)}
        except (UsageError, KeyError):
            return
        try:
            rendering.filled_tasks(recipe, values, gpus)
        except UsageError as error:
            yield True, error.what, error.mend
            return
