"""Recipes: how to train one thing. A folder with `recipe.yaml` and the templates that it names.

Ours are in provision/recipes, a project's own in its folder recipes/; both are the same. `load` reads everything,
`render` is pure: options and the number of GPUs in, files and a command out. Recipe and Rendered are plain values
that survive JSON (`to_dict`, `from_dict`), so a run can be resumed from its manifest alone.

In the container /work is the run's folder (the command starts there), /data the prepared data, /weights trained weights
and /project the user's own files (all three read-only).
"""

import math
import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

import msgspec

from infra.border import convert, did_you_mean, load_yaml
from infra.errors import UsageError
from provision import plans
from provision.plans import Option

T = TypeVar("T")

_OURS = Path(__file__).parent / "recipes"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_GIVEN = ("gpus", "gpu_list")  # what templates know besides the options


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the training is told to save and end: signal, seconds that it may take, and what it says then."""

    signal: str = "SIGTERM"
    timeout: float = 60.0
    said: str = ""


class SnapshotRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`pattern` matches the whole path of a file of a snapshot, relative to the run's folder, and has the groups
    `iteration` and `part`. A snapshot is complete when it has all `parts`. Of complete ones the newest `keep` stay,
    on the host and in S3; 0: all."""

    pattern: str
    parts: tuple[str, ...]
    keep: int = 0


_NO_SNAPSHOTS = SnapshotRule(r"(?!)(?P<iteration>)(?P<part>)", ())  # matches nothing


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A known failure: a log line that matches the pattern `match` means `what`, and `mend` helps."""

    match: str
    what: str
    mend: str


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of trained weights, brought to the host before the training: /weights/FILE in the container.

    Its `licence` is shown and, where it is `non_commercial`, has to be accepted. `sha256` (hex) is upstream's where it
    publishes one; else the file is pinned when it is first fetched. `when` are options of which all must have these
    values, or the file is not needed. `size` in bytes, 0 where it is not known.
    """

    file: str
    url: str
    licence: str
    licence_url: str = ""
    non_commercial: bool = False
    sha256: str = ""
    size: int = 0
    when: dict[str, Option] = {}


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something to do with a run's net besides training it: `infer`, `score`, `time`.

    The `command` runs in the run's image, in a copy of its folder (/work), with /data and /weights as in the training;
    `{snapshot}` is the snapshot's path without its part's suffix. /in (read-only) holds what the user gave to work
    on, and what it writes to /out is brought home. `every_snapshot`: the command runs once for each, oldest first.
    """

    command: tuple[str, ...]
    about: str = ""
    gpu: tuple[str, ...] = ()
    every_snapshot: bool = False


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What recipe.yaml says. `files` are templates (NAME.j2, rendered to NAME) and plain files, copied;
    `gpu` are extra words of the command where GPUs are used, `resume` where it goes on from `{snapshot}`. `plan` names
    one of provision.plans.PLANNERS, which computes more values for the templates from the options and the GPUs."""

    name: str
    about: str
    stack: str
    command: tuple[str, ...]
    data: str = ""
    options: dict[str, Option] = {}
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    stop: Stop = Stop()
    snapshots: SnapshotRule = _NO_SNAPSHOTS
    metrics: Literal["caffe", "detectron"] = "caffe"
    plan: str = ""
    weights: tuple[Weights, ...] = ()
    tasks: dict[str, Task] = {}
    outputs: tuple[str, ...] = ()
    goal: dict[str, float] = {}
    failures: tuple[Failure, ...] = ()


class Recipe(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A recipe with the text of its files, by the names in `files`."""

    templates: dict[str, str] = {}


class Rendered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recipe with its options filled in: all that the container needs. `files` go to the run's folder."""

    files: dict[str, str]
    command: tuple[str, ...]
    resume: tuple[str, ...]
    options: dict[str, Option]
    gpus: int = 0
    plan: dict[str, Any] = {}
    weights: tuple[Weights, ...] = ()
    tasks: dict[str, Task] = {}

    def resumed(self, stem: str) -> tuple[str, ...]:
        """The command that goes on from a snapshot, by its path without the part's suffix."""
        return self.command + tuple(word.replace("{snapshot}", stem) for word in self.resume)


class SnapshotFiles(msgspec.Struct, frozen=True):
    """A complete snapshot: its files, relative to the run's folder, and the stem that `resumed` takes."""

    iteration: int
    stem: str
    paths: tuple[str, ...]


# load


def names(project: Path | None = None) -> list[str]:
    """Recipes that can be named: ours, and those of the project's folder."""
    return sorted({path.parent.name for home in _homes(project) for path in home.glob("*/recipe.yaml")})


def load(name: str, project: Path | None = None) -> Recipe:
    """The recipe of that name (the project's before ours) or in that folder, checked. UsageError if it is wrong."""
    folder = _find(name, project)
    spec = load_yaml(folder / "recipe.yaml", Spec)
    templates = {file: _read(folder, file) for file in spec.files}
    recipe = Recipe(**{key: getattr(spec, key) for key in spec.__struct_fields__}, templates=templates)
    for wrong, text, mend in _faults(recipe):
        if wrong:
            raise UsageError(f"{folder / 'recipe.yaml'}: {text}", mend)
    return recipe


def to_dict(value: Recipe | Rendered) -> dict[str, Any]:
    """The value for JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain


def from_dict(raw: object, kind: type[T], where: str = "manifest") -> T:
    """What `to_dict` made, as a Recipe or Rendered again. UsageError with the key path if it is not that."""
    return convert(raw, kind, where)


def _homes(project: Path | None) -> list[Path]:
    return [project / "recipes", _OURS] if project else [_OURS]


def _find(name: str, project: Path | None) -> Path:
    if "/" in name or name in (".", ".."):
        if (Path(name) / "recipe.yaml").is_file():
            return Path(name)
        raise UsageError(f"{name} holds no recipe.yaml", "name a recipe or the folder of one")
    for home in _homes(project):
        if _NAME.fullmatch(name) and (home / name / "recipe.yaml").is_file():
            return home / name
    raise UsageError(f"there is no recipe {name!r}", did_you_mean(name, names(project)))


def _read(folder: Path, file: str) -> str:
    if not _inside(file):
        raise UsageError(f"{folder / 'recipe.yaml'}: file {file!r} is outside the recipe's folder")
    try:
        return (folder / file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{folder / 'recipe.yaml'}: file {file!r} cannot be read: {error}") from error


def _faults(recipe: Recipe) -> Iterable[tuple[bool, str, str]]:
    """What types cannot say: whether it is wrong, the key and what is wrong, the mend."""
    yield not _NAME.fullmatch(recipe.name), f"name {recipe.name!r} is not a name", "use a-z, 0-9 and -"
    yield not recipe.command, "command is empty", "give the words that start the training"
    stop = recipe.stop
    signals = [one.name for one in signal.Signals]
    yield stop.signal not in signals, f"stop.signal {stop.signal!r}", did_you_mean(stop.signal, signals)
    yield stop.timeout <= 0, "stop.timeout must be more than 0 seconds", ""
    for option, default in recipe.options.items():
        like_number = bool(re.fullmatch(r"[-+]?\d+e[-+]?\d+", str(default)))
        yield (
            like_number,
            f"options.{option}: YAML reads {default} as a text",
            f"write {float(default) if like_number else 0}",
        )
        yield option in _GIVEN, f"options.{option} is given by provision", "take another name"
        yield not option.isidentifier(), f"options.{option!r} is not a name", "use letters, digits and _"
    for folder in recipe.folders:
        yield not _inside(folder), f"folder {folder!r} is outside the run's folder", ""
    for name in re.findall(r"(?<!\{)\{\w*\}(?!\})", " ".join(recipe.resume)):  # not jinja's {{ name }}
        yield name != "{snapshot}", f"resume has {name}", "the only placeholder there is {snapshot}"
    yield from _pattern_faults("snapshots.pattern", recipe.snapshots.pattern, ("iteration", "part"))
    yield recipe.snapshots.keep < 0, "snapshots.keep must not be below 0", ""
    yield (
        bool(recipe.plan) and recipe.plan not in plans.PLANNERS,
        f"plan {recipe.plan!r}",
        did_you_mean(recipe.plan, plans.PLANNERS),
    )
    for file in recipe.weights:
        yield "/" in file.file or not _inside(file.file), f"weights: {file.file!r} is not a file's name", ""
        for key in file.when:
            yield (
                key not in recipe.options,
                f"weights {file.file}: when.{key} is no option",
                did_you_mean(key, recipe.options),
            )
    lost = recipe.resume and recipe.snapshots == _NO_SNAPSHOTS
    yield bool(lost), "resume without snapshots", "add snapshots with its pattern"
    for at, failure in enumerate(recipe.failures):
        yield from _pattern_faults(f"failures[{at}].match", failure.match, ())


def _pattern_faults(key: str, pattern: str, groups: Sequence[str]) -> Iterable[tuple[bool, str, str]]:
    try:
        have = re.compile(pattern).groupindex
    except re.error as error:
        yield True, f"{key} is no regular expression: {error}", ""
        return
    for group in groups:
        yield group not in have, f"{key} has no group {group!r}", f"write (?P<{group}>…) around it"


def _inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts


# options


def split_sets(words: Iterable[str]) -> dict[str, str]:
    """`--set key=value` words as a mapping. UsageError for a word without `=`."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--set {word}: no value", f"write --set {word}=VALUE")
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


# render


def render(
    recipe: Recipe, options: Mapping[str, Option] | None = None, gpus: int = 0, data: Path | None = None
) -> Rendered:
    """Files and command with everything filled in, for a training that uses `gpus` GPUs (0: the CPU).

    `data` is the folder of the data where it is on this laptop: a planner may look into it.
    """
    filled = fill(recipe, options or {})
    plan = plans.make(recipe.plan, filled, gpus, data)
    values = filled | plan.values | {"gpus": gpus, "gpu_list": ",".join(str(one) for one in range(gpus))}
    files = {f"{folder}/.keep": "" for folder in recipe.folders} | dict(plan.files)
    for name, text in recipe.templates.items():
        target = name.removesuffix(".j2")
        files[target] = _filled_in(f"{recipe.name}: {name}", text, values) if target != name else text
    words = (*recipe.command, *(recipe.gpu if gpus else ()))
    command, resume = (
        tuple(_filled_in(f"{recipe.name}: command", word, values) for word in part) for part in (words, recipe.resume)
    )
    weights = tuple(one for one in recipe.weights if all(filled[key] == value for key, value in one.when.items()))
    tasks = {name: _filled_task(recipe, name, task, values, gpus) for name, task in recipe.tasks.items()}
    return Rendered(files, command, resume, filled, gpus, dict(plan.shown), weights, tasks)


def _filled_task(recipe: Recipe, name: str, task: Task, values: Mapping[str, Any], gpus: int) -> Task:
    words = (*task.command, *(task.gpu if gpus else ()))
    filled = tuple(_filled_in(f"{recipe.name}: tasks.{name}", word, values) for word in words)
    return msgspec.structs.replace(task, command=filled, gpu=())


def _filled_in(where: str, text: str, values: Mapping[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined, TemplateError, UndefinedError

    maker = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True)
    try:
        out = maker.from_string(text).render(values)
    except UndefinedError as error:
        unknown = re.search(r"'(\w+)' is undefined", str(error))
        mend = did_you_mean(unknown[1], values) if unknown else ""
        raise UsageError(f"{where}: {error.message}", mend) from error
    except (TemplateError, ArithmeticError, TypeError, ValueError) as error:
        raise UsageError(f"{where}: {error}") from error
    if left := re.search(r"\$\{\w+\}", out if where.endswith(".prototxt.j2") else ""):
        raise UsageError(f"{where}: {left[0]} is left unresolved", "write {{ name }} and give it a default in options")
    return out


def complete_snapshots(recipe: Recipe, paths: Iterable[str]) -> list[SnapshotFiles]:
    """Snapshots of which every part is among `paths` (relative to the run's folder), oldest first."""
    rule = recipe.snapshots
    found: dict[tuple[int, str], dict[str, str]] = {}
    for path in paths:
        if match := re.fullmatch(rule.pattern, path):
            stem = path[: match.start("part")].rstrip(".")
            found.setdefault((int(match["iteration"]), stem), {})[match["part"]] = path
    return [
        SnapshotFiles(iteration, stem, tuple(sorted(have.values())))
        for (iteration, stem), have in sorted(found.items())
        if set(have) >= set(rule.parts)
    ]


def explain(recipe: Recipe, lines: Iterable[str]) -> Failure | None:
    """The first known failure that a log shows."""
    return next((one for line in lines for one in recipe.failures if re.search(one.match, line)), None)
