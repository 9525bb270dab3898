"""A recipe filled in: options, the number of GPUs and the data's folder in, files and commands out. Pure, but for what
a planner reads of the data.

A placeholder that stays is an error: `{{ name }}`, `${NAME}` and `<YOUR_PATH>` in what is rendered, and in plain files
that hold settings. In programs these mean something else.
"""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from infra.border import convert, did_you_mean
from infra.errors import UsageError
from provision.recipes.planners import table
from provision.recipes.spec import Option, Recipe, Rendered, Task, Weights

GIVEN = ("gpus", "gpu_list")  # what templates know besides the options
_LEFT = re.compile(r"\$\{\w+\}|\{\{\s*\w+\s*\}\}|(?i:<[\w ./-]*path[\w ./-]*>)")
_PROGRAMS = (".py", ".sh", ".cpp", ".cu", ".md")
_SETTINGS = (".prototxt", ".pbtxt", ".yaml", ".yml", ".json", ".cfg", ".ini")


def split_sets(words: Iterable[str], flag: str = "--set") -> dict[str, str]:
    """`--set key=value` words as a mapping. UsageError for a word without `=`."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{flag} {word}: no value", f"write {flag} {word}=VALUE")
        found[key.strip()] = value.strip()
    return found


def fill(recipe: Recipe, given: Mapping[str, Option]) -> dict[str, Option]:
    """The recipe's options with the given ones in their places, each of its default's type."""
    for key in given:
        if key not in recipe.options:
            known = did_you_mean(key, recipe.options) if recipe.options else "it has no options"
            raise UsageError(f"recipe {recipe.name} has no option {key!r}", known)
    return {key: _typed(key, given.get(key, default), default) for key, default in recipe.options.items()}


def _typed(key: str, value: Option, default: Option) -> Option:
    kind = type(default)
    if type(value) is kind and not isinstance(value, float):
        return value
    words = {"true": True, "yes": True, "false": False, "no": False}
    try:
        if kind is bool:
            return words[str(value).lower()]
        made = kind(str(value))
        if not isinstance(made, float) or math.isfinite(made):
            return made
    except (KeyError, ValueError):
        pass
    name = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
    raise UsageError(f"option {key}: {value!r} is not {name}", f"its default is {default!r}")


def render(
    recipe: Recipe, options: Mapping[str, Option] | None = None, gpus: int = 0, data: Path | None = None
) -> Rendered:
    """Files and command with everything filled in, for a training that uses `gpus` GPUs (0: the CPU).

    `data` is the folder of the data where it is on this laptop: a planner may look into it.
    """
    filled = fill(recipe, options or {})
    plan = table.make(recipe.plan, filled, gpus, data)
    values = {**filled, **plan.values, **given(gpus)}
    files = {f"{folder}/.keep": "" for folder in recipe.folders}
    for name, text in plan.files.items():
        files[name] = _whole(f"{recipe.name}: {name}", name, text)
    for name, text in recipe.templates.items():
        target = name.removesuffix(".j2")
        where = f"{recipe.name}: {name}"
        files[target] = _whole(where, name, filled_in(where, text, values) if target != name else text)
    words = (*recipe.command, *(recipe.gpu if gpus else ()))
    command, resume = (
        tuple(filled_in(f"{recipe.name}: command", word, values) for word in part) for part in (words, recipe.resume)
    )
    plain = msgspec.to_builtins(list(plan.weights))
    more = convert(plain, tuple[Weights, ...], f"{recipe.name}: weights of the plan {recipe.plan}")
    weights = (*(file for file in recipe.weights if needed(file, filled)), *more)
    tasks = filled_tasks(recipe, values, gpus)
    around = {
        name: filled_in(f"{recipe.name}: environment.{name}", value, values)
        for name, value in recipe.environment.items()
    }
    return Rendered(files, command, resume, filled, gpus, dict(plan.shown), weights, tasks, around)


def given(gpus: int) -> dict[str, Option]:
    """The values that templates get besides the options and the plan."""
    return {"gpus": gpus, "gpu_list": ",".join(str(gpu) for gpu in range(gpus))}


def needed(weights: Weights, options: Mapping[str, Option]) -> bool:
    """Whether a training with these options reads the file."""
    return all(options[key] == value for key, value in weights.when.items())


def filled_tasks(recipe: Recipe, values: Mapping[str, Any], gpus: int) -> dict[str, Task]:
    """The tasks with all but {snapshot} in its place."""
    made = {}
    for name, task in recipe.tasks.items():
        words = (*task.command, *(task.gpu if gpus else ()))
        filled = tuple(filled_in(f"{recipe.name}: tasks.{name}", word, values) for word in words)
        made[name] = msgspec.structs.replace(task, command=filled, gpu=())
    return made


def filled_in(where: str, text: str, values: Mapping[str, Any]) -> str:
    """The template filled in; UsageError that begins with `where`."""
    if not re.search(r"\{[{%#]", text):
        return text
    from jinja2 import Environment, StrictUndefined, TemplateError, UndefinedError

    maker = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True)
    try:
        return maker.from_string(text).render(values)
    except UndefinedError as error:
        unknown = re.search(r"'(\w+)' is undefined", str(error))
        mend = did_you_mean(unknown[1], values) if unknown else ""
        raise UsageError(f"{where}: {error.message}", mend) from error
    except RecursionError as error:
        raise UsageError(f"{where}: its values are nested too deep") from error
    except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise UsageError(f"{where}: {error}") from error


def _whole(where: str, name: str, text: str) -> str:
    """The text. UsageError where it still holds a placeholder."""
    kind = PurePosixPath(name.removesuffix(".j2")).suffix
    asked = kind in _SETTINGS or (name.endswith(".j2") and kind not in _PROGRAMS)
    if asked and (left := _LEFT.search(text)):
        line = text.count("\n", 0, left.start()) + 1
        raise UsageError(
            f"{where}: {left[0]} is left unresolved (line {line})",
            "write {{ name }} in a file that ends in .j2, and give it a default in options",
        )
    return text
