"""Modules of pycaffe as text: the names of Python 2 that Python 3 has under others. Standard library only."""

import io
import re
import tokenize

try:
    from images.context.source_tree import ALREADY, CHANGED, SKIPPED, Tree
except ImportError:  # inside an image build the modules lie side by side
    from source_tree import ALREADY, CHANGED, SKIPPED, Tree  # type: ignore[import-not-found, no-redef]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Plain = dict[str, Any]
    Done = tuple[str, list[str], str]  # status, paths, note


def modules(tree: Tree, folder: str) -> "list[str]":
    """The paths of all modules below the folder, sorted."""
    return sorted(path.relative_to(tree.root).as_posix() for path in (tree.root / folder).rglob("*.py"))


def renames(change: "Plain", tree: Tree) -> "Done":
    """In all modules below `folder`, names become others where they stand alone, and methods where they are called.

    What a module defines, or imports under that name, stays; so does a call of the module `six`.
    """
    files, done = [], False
    others = re.compile(r"\b(?:{})\(".format("|".join([*change["names"].values(), *change["methods"].values()])))
    for path in modules(tree, change["folder"]):
        text = tree.read(path)
        new = renamed(text, change["names"], change["methods"])
        done = done or bool(others.search(text))
        if new != text:
            tree.planned[path] = new
            files.append(path)
    return (CHANGED, files, "") if files else (ALREADY if done else SKIPPED, [], "")


def renamed(text: str, names: "dict[str, str]", methods: "dict[str, str]") -> str:
    """The module with other names in place of these; as it is where it cannot be read as tokens."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return text
    own = {
        name for name in names if re.search(rf"(?m)\b{name}[ \t]*=(?!=)|\bas[ \t]+{name}\b|\bdef[ \t]+{name}\b", text)
    }
    lines = text.split("\n")
    for number in range(len(tokens) - 1, -1, -1):
        one = tokens[number]
        before = [token.string for token in tokens[max(0, number - 2) : number]]
        after = tokens[number + 1].string if number + 1 < len(tokens) else ""
        if one.type != tokenize.NAME:
            continue
        other = ""
        if before[-1:] == ["."]:
            other = methods.get(one.string, "") if after == "(" and before != ["six", "."] else ""
        elif one.string not in own:
            other = names.get(one.string, "")
        if other:
            (row, begin), (_, end) = one.start, one.end
            lines[row - 1] = lines[row - 1][:begin] + other + lines[row - 1][end:]
    return "\n".join(lines)
