"""C++ sources as text: where code is and where comments and strings are, what the preprocessor leaves, and calls.

No parser of C++: enough of it to find a name, or a call with so many arguments, where a compiler would see it. Runs
beside apply_patches.py inside image builds, on Debian 12's Python: standard library only.
"""

import ast
import re

SUFFIXES = (".cpp", ".cc", ".cxx", ".c", ".hpp", ".hh", ".h", ".cu", ".cuh")

_NO_CODE = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)
_DIRECTIVE = re.compile(r"[ \t]*#[ \t]*(ifdef|ifndef|if|elif|else|endif)\b(.*)")
_DEFINE = re.compile(r"[ \t]*#[ \t]*(?:define|undef)\b")
_INCLUDE = re.compile(r"[ \t]*#[ \t]*include\b")


def code_of(text: str) -> str:
    """The text with blanks in place of comments and of what strings hold; each place stays where it was."""
    return _NO_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def replace_words(text: str, table: "dict[str, str]") -> "tuple[str, int]":
    """Put the table's values in place of whole words in code, and say how often.

    The table's keys are regular expressions for a word, its values may name their groups. What a file defines itself
    (`#define WORD`) stays, and so do names of files in an #include. A `cv::` before the word goes with it.
    """
    pattern = re.compile(r"(?<![\w:])(?:cv::)?(?:{})(?!\w)".format("|".join(f"(?:{key})" for key in table)))
    singles = [(re.compile(rf"(?:cv::)?(?:{key})"), value) for key, value in table.items()]
    code, done, parts, last = code_of(text), 0, [], 0
    for found in pattern.finditer(code):
        line = code[code.rfind("\n", 0, found.start()) + 1 : found.start()]
        if _INCLUDE.match(line) or (_DEFINE.match(line) and not line.split("define")[-1].strip()):
            continue
        for single, value in singles:
            exact = single.fullmatch(found[0])
            if exact:
                parts += [text[last : found.start()], exact.expand(value)]
                last, done = found.end(), done + 1
                break
    return "".join([*parts, text[last:]]), done


def calls(code: str, name: str) -> "list[tuple[int, int, list[str]]]":
    """The calls of a function in what `code_of` gave: where its arguments begin and end, and their texts."""
    found = []
    for head in re.finditer(rf"(?<![\w:.])(?:::)?{name}(?:<[^<>()]*>)?[ \t\n]*\(", code):
        depth, begin, arguments = 1, head.end(), []
        for place in range(head.end(), len(code)):
            letter = code[place]
            depth += (letter in "([{") - (letter in ")]}")
            if depth == 0 or (depth == 1 and letter == ","):
                arguments.append(code[begin:place].strip())
                begin = place + 1
            if depth == 0:
                found.append((head.end(), place, [] if arguments == [""] else arguments))
                break
    return found


def live(text: str, known: "dict[str, int | None]") -> "list[bool]":
    """Whether the preprocessor leaves each line, where these macros have these values (None: it is not defined).

    A condition that speaks of anything else leaves both its branches.
    """
    said: list[bool] = []
    stack: list[tuple[bool, bool]] = []  # is this branch left; may a later branch be
    for line in _joined(code_of(text)):
        found = _DIRECTIVE.match(line)
        if found and found[1] in ("if", "ifdef", "ifndef"):
            truth = _truth(found[1], found[2], known)
            stack.append((truth is not False, truth is not True))
        elif found and found[1] in ("elif", "else") and stack:
            truth = _truth("if", found[2], known) if found[1] == "elif" else True
            stack[-1] = (stack[-1][1] and truth is not False, stack[-1][1] and truth is not True)
        elif found and stack:
            stack.pop()
        said.append(all(here for here, _ in stack))
    return said


def _joined(code: str) -> "list[str]":
    """The lines; a directive that goes on in the next line stands whole in its first."""
    lines = code.split("\n")
    for number, line in enumerate(lines):
        more = number
        while _DIRECTIVE.match(lines[number]) and line.endswith("\\") and more + 1 < len(lines):
            more += 1
            line = line[:-1] + lines[more]
            lines[number], lines[more] = line, ""
    return lines


def _truth(kind: str, condition: str, known: "dict[str, int | None]") -> "bool | None":
    """Whether a condition holds; None: who knows."""
    if kind != "if":
        condition = f"defined({condition.strip()})" if kind == "ifdef" else f"!defined({condition.strip()})"
    text = re.sub(r"\bdefined\s*\(?\s*(\w+)\s*\)?", r"defined(\1)", condition.replace("&&", " and "))
    text = re.sub(r"!(?!=)", " not ", text.replace("||", " or ")).strip()
    try:
        return _value(ast.parse(text, mode="eval").body, known)
    except (SyntaxError, ValueError, TypeError, RecursionError):
        return None


def _value(node: ast.expr, known: "dict[str, int | None]") -> "bool | None":
    """The truth of an expression with `and`, `or`, `not`, comparisons, `defined(X)` and X_MIN(major, minor, patch)."""
    if isinstance(node, ast.BoolOp):
        values = [_value(one, known) for one in node.values]
        deciding = isinstance(node.op, ast.Or)
        return deciding if deciding in values else None if None in values else not deciding
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        value = _value(node.operand, known)
        return None if value is None else not value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "defined":
        name = node.args[0].id if isinstance(node.args[0], ast.Name) else ""
        return None if name not in known else known[name] is not None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        have = known.get(node.func.id)
        wanted = [int(ast.literal_eval(one)) for one in node.args]
        return None if have is None or len(wanted) != 3 else have >= wanted[0] * 10000 + wanted[1] * 100 + wanted[2]
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return _compared(_number(node.left, known), node.ops[0], _number(node.comparators[0], known))
    number = _number(node, known)
    return None if number is None else bool(number)


def _number(node: ast.expr, known: "dict[str, int | None]") -> "int | None":
    if isinstance(node, ast.Name):
        return known[node.id] or 0 if node.id in known else None
    return int(ast.literal_eval(node))


def _compared(left: "int | None", operator: ast.cmpop, right: "int | None") -> "bool | None":
    if left is None or right is None:
        return None
    results = {ast.Eq: left == right, ast.NotEq: left != right, ast.Lt: left < right, ast.LtE: left <= right,
               ast.Gt: left > right, ast.GtE: left >= right}  # fmt: skip
    return results.get(type(operator))
