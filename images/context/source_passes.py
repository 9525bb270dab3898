"""The passes of patches over all sources of a tree: words, calls, missing headers, and words that are not known.

They run beside apply_patches.py inside image builds, on Debian 12's Python: standard library only.
"""

import re
from pathlib import Path

try:
    from images.context import source_stubs, source_text
    from images.context.source_tree import ALREADY, CHANGED, SKIPPED, Misfit, Tree
except ImportError:  # inside an image build the modules lie side by side
    import source_stubs  # type: ignore[import-not-found, no-redef]
    import source_text  # type: ignore[import-not-found, no-redef]
    from source_tree import ALREADY, CHANGED, SKIPPED, Misfit, Tree  # type: ignore[import-not-found, no-redef]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Plain = dict[str, Any]
    Done = tuple[str, list[str], str]  # status, paths, note

_CAFFES_OWN = ("include/", "src/caffe/", "tools/", "python/", "examples/")


def only(rule: "Plain", tree: Tree) -> "Done":
    """Misfit where other files than the named ones use a word that is not declared beside them, in a file of their
    stem or in a class that they define: what they do with it is not known."""
    word = re.compile(r"(?<!\w){}(?!\w)".format(rule["word"]))
    named = [path for path in tree.sources() if rule["word"] in tree.read(path)]
    for path in named:
        if path in rule["files"] or "/test/" in path or not word.search(source_text.code_of(tree.read(path))):
            continue
        beside = [one for one in named if Path(one).stem == Path(path).stem]
        declared = re.compile(r">\s*{}\s*;".format(rule["word"]))
        theirs = set(re.findall(r"\b(\w+)\s*<\s*\w+\s*>\s*::", source_text.code_of(tree.read(path))))
        classes = (one for name in named for one in source_stubs.bodies(source_text.code_of(tree.read(name))))
        if not (
            any(declared.search(tree.read(one)) for one in beside)
            or any(name in theirs and declared.search(body) for name, body in classes)
        ):
            raise Misfit("{} uses {}, too: {}".format(path, rule["word"], rule["because"]))
    return SKIPPED, [], ""


def words(change: "Plain", tree: Tree) -> "Done":
    """A word in the code of any source becomes another."""
    shown = [re.sub(r"\\\\\d", r".+?", re.escape(value)) for value in change["table"].values()]
    there = re.compile("|".join(rf"(?<!\w){one}(?!\w)" for one in shown))
    files, done = [], False
    for path in tree.sources():
        text = tree.read(path)
        new, times = source_text.replace_words(text, change["table"])
        done = done or bool(there.search(text))
        if times:
            tree.planned[path] = new
            files.append(path)
    return (CHANGED, files, "") if files else (ALREADY if done else SKIPPED, [], "")


def lines(change: "Plain", tree: Tree) -> "Done":
    """In each line of one file that `line` matches, what `find` matches becomes `replace`; a comment stays."""
    path = change["file"]
    if not tree.has(path):
        return SKIPPED, [], f"no {path} here"
    text = tree.read(path)
    said = "\n".join(
        re.sub(change["find"], lambda _: change["replace"], line)
        if re.search(change["line"], line) and not line.lstrip().startswith("#")
        else line
        for line in text.split("\n")
    )
    if said == text:
        return (ALREADY if change["replace"] in text else SKIPPED), [], f"nothing to change in {path}"
    tree.planned[path] = said
    return CHANGED, [path], ""


def calls(change: "Plain", tree: Tree) -> "Done":
    """The calls with `arguments` arguments keep the first `keep` of them, or get `append` at their end."""
    files, done = [], False
    for path in tree.sources():
        text = tree.read(path)
        if change["name"] not in text:
            continue
        live = source_text.live(text, change.get("known", {}))
        code = source_text.code_of(text)
        for begin, end, arguments in reversed(source_text.calls(code, change["name"])):
            done = done or len(arguments) == change.get("keep") or change.get("append", "\0") in text[begin:end]
            if (
                len(arguments) != change["arguments"]
                or not live[code.count("\n", 0, begin)]
                or _appended(change, text[begin:end])
            ):
                continue
            kept = text[begin:end] if "append" in change else ", ".join(arguments[: change["keep"]])
            text = text[:begin] + kept + change.get("append", "") + text[end:]
            files += [path] * (path not in files)
            tree.planned[path] = text
    return (CHANGED, files, "") if files else (ALREADY if done else SKIPPED, [], "")


def guards(change: "Plain", tree: Tree) -> "Done":
    """Includes of the headers, where a build with `macro` would read them, get a condition around."""
    header = re.compile(rf"[ \t]*#[ \t]*include[ \t]*[<\"](?:{change['headers']})[>\"]")
    files, done = [], False
    for path in tree.sources():
        text = tree.read(path)
        if not path.startswith(_CAFFES_OWN) or path.endswith((".cu", ".cuh")):
            continue
        left = source_text.live(text, {**change["known"], change["macro"]: 1})
        said: list[str] = []
        for line, there in zip(text.split("\n"), left, strict=True):
            if there and header.match(line):
                said += [f"#ifndef {change['macro']}", line, "#endif"]
            else:
                said.append(line)
        done = done or bool(re.search(rf"#ifndef {change['macro']}\n{header.pattern}", text))
        if len(said) != len(left):
            tree.planned[path] = "\n".join(said)
            files.append(path)
    return (CHANGED, files, "") if files else (ALREADY if done else SKIPPED, [], "")


def _appended(change: "Plain", said: str) -> bool:
    """Whether a call has what `append` puts to its end."""
    return bool(change.get("append")) and change["append"] in said


def headers(change: "Plain", tree: Tree) -> "Done":
    """A source of Caffe's whose code uses what a standard header declares, and does not name it, includes it."""
    files, done = [], False
    for path in tree.sources():
        if not path.startswith(_CAFFES_OWN):
            continue
        text = tree.read(path)
        missing = [name for name, uses in change["table"].items() if re.search(uses, text) and _lacks(text, name, uses)]
        place = _first_include(text) if missing else None
        done = done or bool(re.search(change["mark"], text))
        if place is not None:
            lines = "".join("#include <{}>  {}\n".format(name, change["mark"]) for name in missing)
            tree.planned[path] = text[:place] + lines + text[place:]
            files.append(path)
    return (CHANGED, files, "") if files else (ALREADY if done else SKIPPED, [], "")


def _lacks(text: str, name: str, uses: str) -> bool:
    names = name + "|c" + name.replace(".h", "") if name.endswith(".h") else name
    return not re.search(rf"(?m)^[ \t]*#[ \t]*include[ \t]*<(?:{names})>", text) and bool(
        re.search(uses, source_text.code_of(text))
    )


def _first_include(text: str) -> "int | None":
    """Where the first #include stands that no condition but the file's own guard is around; None: there is none."""
    depth, place, guard = 0, 0, 0
    for line in text.split("\n"):
        word = re.match(r"[ \t]*#[ \t]*(\w+)", line)
        if word and word[1].startswith("if"):
            depth += 1
            guard += word[1] == "ifndef" and depth == 1 and re.search(r"_H\w*_?[ \t]*$", line) is not None
        elif word and word[1] == "endif":
            depth -= 1
        elif word and word[1] == "include" and depth <= guard:
            return place
        place += len(line) + 1
    return None
