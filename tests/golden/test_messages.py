"""Every message that a user can see, in one file to read: `python -m tests.golden.test_messages` renews messages.txt.

It holds, by module: the errors (what happened, and behind an arrow the mend), what is said meanwhile, and the help of
commands and options. Values are shown as {…}. Whoever changes a message sees it in the difference, beside the others of
its module, and can tell whether it has to be read twice.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("messages.txt")
FOLDERS = ("infra", "images", "provision", "localcloud")
_LEFT_OUT = ("provision/recipes/builtin", "infra/host")  # scripts for other machines speak in their logs
_SAYS = ("say", "line", "step", "echo")
_HELP = ("help", "epilog", "short_help")


def _text(node: ast.expr | None) -> str:
    """What the expression says, as far as it stands in the source; {…} for what is filled in, "" for none."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case ast.FormattedValue(value=ast.Call(func=ast.Attribute(attr="hint")) as hint):
            return _text(hint)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.IfExp(body=body, orelse=other):
            return f"{_text(body) or '{…}'} | {_text(other) or '{…}'}"
        case ast.Call(func=ast.Attribute(attr="hint"), args=[words]):
            return f"provision {_text(words)}"
        case None:
            return ""
    return "{…}"


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _said(call: ast.Call) -> Iterator[str]:
    name = _name(call)
    if re.fullmatch(r"[A-Z]\w*Error", name) and call.args:
        keywords = {word.arg: word.value for word in call.keywords}
        what, mend = _text(call.args[0]), _text(call.args[1] if len(call.args) > 1 else keywords.get("mend"))
        yield f"{what}\n      → {mend}" if mend else what
    elif name in _SAYS and call.args:
        yield _text(call.args[0])
    for word in call.keywords:
        if word.arg in _HELP and _text(word.value) not in ("", "{…}"):
            yield f"{_text(word.value)}    (help)"


def _docstring(node: ast.AST) -> str:
    """The help of a command: the docstring of a function that click decorates."""
    if isinstance(node, ast.FunctionDef) and any(
        isinstance(call, ast.Call) and _name(call) in ("command", "group") for call in node.decorator_list
    ):
        return (ast.get_docstring(node) or "").replace("\n", "\n      ")
    return ""


def messages(source: str) -> list[str]:
    """The messages of a module, each once, in the order in which they stand there."""
    tree = ast.parse(source)
    nodes = sorted(
        (node for node in ast.walk(tree) if isinstance(node, (ast.Call, ast.FunctionDef))),
        key=lambda node: (node.lineno, node.col_offset),
    )
    found: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Call):
            found += [text for text in _said(node) if re.search(r"[a-z]{2}", text)]
        elif text := _docstring(node):
            found.append(f"{text}    (help)")
    return list(dict.fromkeys(found))


def everything() -> str:
    lines: list[str] = []
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(_LEFT_OUT) and (found := messages(path.read_text(encoding="utf-8"))):
            lines += [place, *(f"    {text}" for text in found), ""]
    return "\n".join(line.rstrip() for text in lines for line in text.split("\n"))


def test_the_messages_that_users_see_are_those_that_were_read() -> None:
    now, read = everything().splitlines(), FILE.read_text(encoding="utf-8").splitlines()
    assert now == read, "read the new ones, then: python -m tests.golden.test_messages"


def test_a_message_is_found_in_each_of_its_forms() -> None:
    source = '''
@click.command()
@click.option("--on", help="a machine " "that runs")
def stop(on):
    """Stop a training."""
    console.say(f"{on} is {'up' if on else 'down'}; next: {session.hint(f'down {on}')}")
    raise RunError(f"{on} does not run", "start it: " + session.hint(f"resume {on}"))
'''
    assert messages(source) == [
        "a machine that runs    (help)", "Stop a training.    (help)", "{…} is {…}; next: provision down {…}",
        "{…} does not run\n      → start it: provision resume {…}",
    ]  # fmt: skip


def test_no_message_says_a_word_twice() -> None:
    for line in FILE.read_text(encoding="utf-8").splitlines():
        assert not re.search(r"\b([a-z]{2,}) \1\b", line), line


if __name__ == "__main__":
    FILE.write_text(everything(), encoding="utf-8")
