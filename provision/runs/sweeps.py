"""Sweeps: many runs of one recipe that differ in options and seeds.

sweeps/ID/items.json    what was asked for: the manifest that all runs have in common, and each run's id and options
sweeps/ID/ended.json    how those ended that have, with their numbers; written by whoever works on the sweep
sweeps/ID/stop          somebody asks that nothing more begins

Each item is a run like any other, with a folder and a manifest of its own from when its turn comes.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from infra.border import convert, did_you_mean
from infra.errors import NotFoundError, UsageError
from infra.store import Store
from provision.logs.meaning import is_better_high
from provision.recipes.rendering import fill, render
from provision.recipes.spec import Option, Recipe, Rendered
from provision.runs import summary
from provision.runs.manifest import ENDED, Manifest, RunState, plain
from provision.runs.store import AnyRun, new_id

ROOT = "sweeps/"
MOST = 10_000  # runs of one sweep
_SEEDS = ("random_seed", "seed")
_MARK = "-sweep-"


class Item(msgspec.Struct, frozen=True):
    """One run of a sweep: its id, and all options that were given for it."""

    run: str
    options: dict[str, Option]


class Sweep(msgspec.Struct, frozen=True):
    """What was asked for. `base` is the first run's manifest, `environment` what came beside the recipe's own;
    `varied` are the options that differ, `at_once` is how many runs may train at a time."""

    id: str
    created: str
    at_once: int
    base: dict[str, Any]
    items: tuple[Item, ...]
    varied: tuple[str, ...]
    environment: dict[str, str] = {}


class Result(msgspec.Struct, frozen=True):
    """How a run stands, with its numbers: `score` is the name of the one that stands for the training."""

    state: str
    iterations: int = 0
    max_iter: int | None = None
    loss: float | None = None
    score: str = ""
    value: float | None = None
    attempts: int = 0


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sweep as a file says it (sweep.yaml): each option's values, or its only one."""

    options: dict[str, Option | list[Option]] = {}
    repeat: int = 1
    at_once: int = 1


def values_of(text: str) -> list[Option]:
    """The values of `--set key=a,b,c`."""
    return [value.strip() for value in text.split(",")]


def expand(recipe: Recipe, options: Mapping[str, Sequence[Option]], repeat: int) -> list[dict[str, Option]]:
    """The options of each run: every combination of the values, each `repeat` times with seeds that follow one another.

    UsageError for an option or a value that the recipe has not, for too many runs, and for a recipe that names no seed.
    """
    count = repeat
    for values in options.values():
        count *= len(values)
    if count > MOST:
        raise UsageError(f"that makes {count} runs, and a sweep has at most {MOST}", "give fewer values")
    typed = {key: [fill(recipe, {key: value})[key] for value in values] for key, values in options.items()}
    for key, values in typed.items():
        if len(set(values)) < len(values) or not values:
            raise UsageError(f"{key} has the same value twice, or none: {values}", "give each value once")
    seeds = _seeds(recipe, options, repeat)
    combined = itertools.product(*typed.values())
    return [dict(zip(typed, row, strict=True)) | seed for row in combined for seed in seeds]


def _seeds(recipe: Recipe, options: Mapping[str, Sequence[Option]], repeat: int) -> list[dict[str, Option]]:
    if repeat == 1:
        return [{}]
    name = next((name for name in _SEEDS if name in recipe.options), "")
    if not name:
        raise UsageError(f"recipe {recipe.name} has no option random_seed or seed: its runs would be one and the same",
                         "leave out --repeat, or give the recipe such an option")  # fmt: skip
    if name in options:
        raise UsageError(f"--repeat chooses {name}, and --set {name} does, too", "leave out one of them")
    first = int(recipe.options[name])
    return [{name: first + number} for number in range(repeat)]


def make(
    base: Manifest, environment: Mapping[str, str], options: Sequence[Mapping[str, Option]], at_once: int
) -> Sweep:
    """The sweep of runs with these options. UsageError where the recipe cannot be filled in with some of them."""
    sweep_id = new_id(f"{base.recipe.name}{_MARK.rstrip('-')}")
    digits = len(str(len(options)))
    items = tuple(
        Item(sweep_id.replace(_MARK, f"-{number:0{digits}d}-", 1), dict(given))
        for number, given in enumerate(options, 1)
    )
    seen: dict[str, set[Option]] = {}
    for item in items:
        for key, value in item.options.items():
            seen.setdefault(key, set()).add(value)
    varied = tuple(key for key, values in seen.items() if len(values) > 1)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Sweep(sweep_id, now, at_once, plain(base), items, varied, dict(environment))


def manifest_of(sweep: Sweep, item: Item) -> Manifest:
    """The manifest of one of its runs. UsageError where the recipe cannot be filled in."""
    base = convert(sweep.base, Manifest, sweep.id)
    made = _filled(base, item)
    made = msgspec.structs.replace(made, environment={**made.environment, **sweep.environment})
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return replace(base, id=item.run, created=now, rendered=made)


def check(sweep: Sweep) -> None:
    """UsageError where the recipe cannot be filled in for one of the runs: it is known before any has begun."""
    base = convert(sweep.base, Manifest, sweep.id)
    seeds = {name for name in _SEEDS if name in sweep.varied}  # another seed is never what cannot be filled in
    seen: set[tuple[tuple[str, Option], ...]] = set()
    for item in sweep.items:
        kind = tuple((key, value) for key, value in item.options.items() if key not in seeds)
        if kind not in seen:
            seen.add(kind)
            _filled(base, item)


def _filled(base: Manifest, item: Item) -> Rendered:
    folder = Path(base.data.value) if base.data.kind == "folder" else None
    return render(base.recipe, item.options, base.rendered.gpus, folder)


# where it lies


def key(sweep_id: str, name: str) -> str:
    return f"{ROOT}{sweep_id}/{name}"


def write(store: Store, sweep: Sweep) -> None:
    store.write(key(sweep.id, "items.json"), msgspec.json.encode(sweep))


def find(store: Store, sweep_id: str) -> Sweep:
    """The sweep of that id. NotFoundError, with the nearest ids, where there is none."""
    raw = store.read_json(key(sweep_id, "items.json"))
    if raw is None:
        known = store.folders(ROOT)
        mend = did_you_mean(sweep_id, known) if known else f"to start one: {store.hint('sweep start RECIPE --on here')}"
        raise NotFoundError(f"no sweep {sweep_id!r}", mend)
    return convert(raw, Sweep, f"{sweep_id}: items")


def ended(store: Store, sweep_id: str) -> dict[str, Result]:
    """How those runs ended that have, as was written down."""
    return convert(store.read_json(key(sweep_id, "ended.json")) or {}, dict[str, Result], f"{sweep_id}: ended")


def write_ended(store: Store, sweep_id: str, known: Mapping[str, Result]) -> None:
    store.write(key(sweep_id, "ended.json"), msgspec.json.encode(known))


# how it stands


def result(run: AnyRun, word: str) -> Result:
    """A run's numbers, by its log."""
    found = summary.of(run)
    return Result(
        word, found.iterations, found.max_iter, found.loss, found.score, found.scores.get(found.score), found.attempts
    )


def words(store: Store, sweep: Sweep, known: Mapping[str, Result]) -> dict[str, str]:
    """The word of each of its runs: of those that have not ended their guard's last word is read, and no log."""
    begun = set(store.folders("runs/")) if len(known) < len(sweep.items) else set()
    return {item.run: known[item.run].state if item.run in known else _word(store, item.run, begun)
            for item in sweep.items}  # fmt: skip


def _word(store: Store, run_id: str, begun: set[str]) -> str:
    if run_id not in begun:
        return "waiting"
    state: RunState = AnyRun(store, run_id).state()
    return state.state


def is_over(word: str) -> bool:
    """Whether a run with that word is not begun again by itself."""
    return word in ENDED


def best_first(results: Mapping[str, Result]) -> list[str]:
    """The runs, the best one first: by the score that most of them have, then by their loss; then those without."""
    names = [one.score for one in results.values() if one.score]
    name = max(set(names), key=names.count, default="")
    sign = -1.0 if is_better_high(name) else 1.0

    def place(run: str) -> tuple[int, float, str]:
        one = results[run]
        if name and one.score == name and one.value is not None:
            return 0, sign * one.value, run
        return (1, one.loss, run) if one.loss is not None else (2, 0.0, run)

    return sorted(results, key=place)
