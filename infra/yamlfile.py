"""YAML as a person may have written it: safe to parse, whatever it is.

PyYAML takes the last of two equal keys, unfolds aliases when the value is walked, and raises other errors than its own
for odd numbers, dates and depths. Here each of these is one error with its line.
"""

from typing import Any

import yaml

_MOST = 100_000  # nodes, each alias counted with all that it stands for


class WrongError(Exception):
    """Why a text cannot be used, and the mend."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.mend = mend


def parse(text: str) -> Any:
    """The value of the YAML text; None for an empty one. WrongError where it cannot be used."""
    loader = yaml.SafeLoader
    try:
        node = yaml.compose(text, Loader=loader)
        if node is None:
            return None
        _size(node, {}, ())
        return _made(node)
    except yaml.YAMLError as error:
        raise WrongError(" ".join(str(error).split()), _mend(text)) from error
    except RecursionError as error:
        raise WrongError("its values are nested too deep") from error
    except (ValueError, ArithmeticError, AttributeError, TypeError, LookupError) as error:
        raise WrongError(f"a value cannot be read: {error}", "put it in quotes if a text is meant") from error


def _made(node: yaml.Node) -> Any:
    maker = yaml.SafeLoader("")
    try:
        return maker.construct_document(node)
    finally:
        maker.dispose()


def _mend(text: str) -> str:
    tab = next((number for number, line in enumerate(text.splitlines(), 1) if line.lstrip(" ").startswith("\t")), 0)
    return f"line {tab} begins with a tab: YAML allows only spaces there" if tab else ""


def _size(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """The number of nodes, aliases unfolded. WrongError for too many, a circle, or a key that is given twice."""
    if id(node) in above:
        raise WrongError(f"line {_line(node)} refers to itself", "write the value without the alias")
    if id(node) not in known:
        parts = _parts(node)
        known[id(node)] = 1 + sum(_size(part, known, (*above, id(node))) for part in parts)
        if known[id(node)] > _MOST:
            raise WrongError(f"line {_line(node)} stands for more than {_MOST:,} values", "write fewer aliases")
    return known[id(node)]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_keys(node: yaml.MappingNode) -> None:
    seen: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name = (str(key.tag), str(key.value))
        if name in seen:
            raise WrongError(f"the key {key.value!r} is given twice, in the lines {seen[name]} and {_line(key)}")
        seen[name] = _line(key)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
