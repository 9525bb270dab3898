"""What runs on a host, and how it travels there: without the comments and docstrings that only readers need.

Python here has to run with 3.6, shell with any POSIX sh: a machine image may be old.
"""

import ast
import re
from functools import cache
from importlib.resources import files


@cache
def script(name: str) -> str:
    """The text of a script of this folder, as short as it goes."""
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")
    return slim_python(text) if name.endswith(".py") else slim_shell(text)


def program(*names: str) -> str:
    """Several scripts as one program: what one imports of another stands above it."""
    texts = [script(name) for name in names]
    return "".join(re.sub(rf"(?m)^from {re.escape(__name__)}\.\w+ import [^(\n]*\n", "", text) for text in texts)


def guard_modules() -> list[str]:
    """The names of the guard's modules, as `script` takes them and as they are called on the host."""
    folder = files(__name__).joinpath("guard")
    return sorted(f"guard/{path.name}" for path in folder.iterdir() if path.name.endswith(".py"))


def slim_python(text: str) -> str:
    """The same program without comments and docstrings, indented by one space for each level."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if documented and ast.get_docstring(node) is not None:  # type: ignore[arg-type]
            empty = [] if isinstance(node, ast.Module) else [ast.Pass()]
            node.body = node.body[1:] or empty  # type: ignore[attr-defined]
    return re.sub(r"(?m)^( +)", lambda found: " " * (len(found[1]) // 4), ast.unparse(tree)) + "\n"


def slim_shell(text: str) -> str:
    """The same script, or unit of systemd, without lines that are comments or empty; the first `#!` stays.

    Its lines are not indented: no script here has a line in a here-document or in quotes that begins with `#`, or
    whose indentation means something.
    """
    lines = text.splitlines()
    kept = [line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return "\n".join(lines[:1] * text.startswith("#!") + kept) + "\n"
