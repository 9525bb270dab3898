"""Paths, intrinsic functions and payload templates of the Amazon States Language: the part that the keeper uses.

A path or a function that is not among these is a mistake of the definition, and a ValueError. What AWS says at run time
is `Broken`: a path that leads nowhere is States.Runtime, which nothing catches, and a function that cannot do its work
is States.IntrinsicFailure.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Value = Any


class Broken(Exception):
    """An error inside an execution: its name and its cause."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause = error, cause


MISSING = object()
_STEP = re.compile(r"\.\.(?P<deep>\w+)|\.(?P<name>\w+)|\[(?P<index>\d+)\]|(?P<all>\[\*\])")


def find(path: str, data: Value, context: Value) -> Value:
    """What the path leads to; MISSING where it leads nowhere. A path that may lead to several gives a list of them."""
    root, rest = (context, path[2:]) if path.startswith("$$") else (data, path[1:])
    if not path.startswith("$"):
        raise ValueError(f"no path: {path}")
    found, several, at = [root], False, 0
    while at < len(rest):
        step = _STEP.match(rest, at)
        if not step:
            raise ValueError(f"{path}: no step at {rest[at:]}")
        at = step.end()
        several = several or bool(step["deep"] or step["all"])
        found = [value for one in found for value in _stepped(one, step)]
        if not found and not several:
            return MISSING
    return found if several else found[0]


def _stepped(value: Value, step: "re.Match[str]") -> list[Value]:
    if step["deep"]:
        return list(_deep(value, step["deep"]))
    if step["all"]:
        return list(value) if isinstance(value, list) else []
    if step["index"]:
        index = int(step["index"])
        return [value[index]] if isinstance(value, list) and index < len(value) else []
    return [value[step["name"]]] if isinstance(value, dict) and step["name"] in value else []


def _deep(value: Value, name: str) -> Any:
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for one in value.values():
            yield from _deep(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from _deep(one, name)


def at(path: str, data: Value, context: Value) -> Value:
    """What the path leads to; States.Runtime where it leads nowhere."""
    found = find(path, data, context)
    if found is MISSING:
        raise Broken("States.Runtime", f"the path {path} is not there")
    return found


def filled(template: Value, data: Value, context: Value) -> Value:
    """A payload template with its fields `name.$` filled in."""
    if isinstance(template, list):
        return [filled(one, data, context) for one in template]
    if not isinstance(template, dict):
        return template
    names = [key.removesuffix(".$") for key in template]
    if len(names) != len(set(names)):
        raise ValueError(f"a field is there twice: {sorted(names)}")
    return {
        key.removesuffix(".$"): expressed(value, data, context) if key.endswith(".$") else filled(value, data, context)
        for key, value in template.items()
    }


def expressed(text: str, data: Value, context: Value) -> Value:
    """A path's or an intrinsic function's value."""
    value, rest = _expression(text, data, context)
    if rest:
        raise ValueError(f"{text}: what is {rest}?")
    return value


_WORD = re.compile(r"\s*(?:(?P<function>States\.\w+)\(|(?P<path>\$[\w$.\[\]*]*)|'(?P<text>(?:[^'\\]|\\.)*)'"
                   r"|(?P<number>-?\d+)|(?P<word>true|false|null))")  # fmt: skip


def _expression(text: str, data: Value, context: Value) -> tuple[Value, str]:
    word = _WORD.match(text)
    if not word:
        raise ValueError(f"no expression: {text}")
    rest = text[word.end() :]
    if word["path"]:
        return at(word["path"], data, context), rest
    if word["text"] is not None:
        return re.sub(r"\\(.)", r"\1", word["text"]), rest
    if word["number"] or word["word"]:
        return json.loads(word["number"] or word["word"]), rest
    given = []
    while not rest.lstrip().startswith(")"):
        value, rest = _expression(rest.lstrip().removeprefix(","), data, context)
        given.append(value)
    return _call(word["function"], given), rest.lstrip()[1:]


def _call(name: str, given: list[Value]) -> Value:
    if name not in _FUNCTIONS:
        raise ValueError(f"no function {name}")
    try:
        return _FUNCTIONS[name](*given)
    except (TypeError, ValueError, IndexError) as error:
        raise Broken("States.IntrinsicFailure", f"{name}: {error}") from error


def _format(text: str, *values: Value) -> str:
    pieces = text.split("{}")
    if len(pieces) != len(values) + 1 or any(isinstance(value, (list, dict)) for value in values):
        raise ValueError(f"{text} does not fit {values}")
    words = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return "".join(piece + word for piece, word in zip(pieces, [*words, ""], strict=True))


def _item(values: list[Value], index: int) -> Value:
    if index < 0:
        raise IndexError(index)
    return values[index]


def _split(text: str, marks: str) -> list[str]:
    return [part for part in re.split("[" + re.escape(marks) + "]", text) if part]


def _merge(first: Value, second: Value, deep: bool) -> Value:
    if deep or not isinstance(first, dict) or not isinstance(second, dict):
        raise ValueError("two objects, and false")
    return {**first, **second}


def _length(values: Value) -> int:
    if not isinstance(values, list):
        raise TypeError("no list")
    return len(values)


_FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "States.Array": lambda *values: list(values),
    "States.ArrayGetItem": _item,
    "States.ArrayLength": _length,
    "States.Format": _format,
    "States.JsonMerge": _merge,
    "States.JsonToString": lambda value: json.dumps(value, separators=(",", ":")),
    "States.MathAdd": lambda one, other: one + other,
    "States.StringSplit": _split,
    "States.StringToJson": json.loads,
}
