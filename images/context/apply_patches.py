"""Apply patches to a source tree: plan first, write after, so that a patch that does not fit leaves the tree as it was.

Runs inside image builds (on Debian 12's Python, with the source_*.py beside it) and on a user's own
checkout: standard library only. A patch is a mapping with `name` and

    edits    exact text to find, text to put there, how often it must be found
    create   whole new files
    lines    in the lines of one file that match, a text to find and what takes its place
    words    a table of words and what takes their place, in the code of all sources
    calls    calls of a function with so many arguments, which get or lose some, in the code of all sources
    headers  standard headers that sources use without naming them
    guards   includes that are for builds with GPUs alone
    renames  names of Python 2 in all modules of a folder
    stubs    stubs of GPU methods, as the classes declare them
    only     a word that no file but the named ones may use
    refuse   layouts that the patch is not for, with the reason
    skip     layouts that need no such patch, with the reason

An edit whose result is there already counts as done: applying twice changes nothing. Where one edit of a patch does not
fit, nothing of that patch is applied.

    python3 apply_patches.py patches.json TREE --stack NAME
"""

import json
import sys
from pathlib import Path

try:
    from images.context import source_passes, source_python, source_stubs
    from images.context.source_tree import ALREADY, CHANGED, SKIPPED, Misfit, Tree, finish
except ImportError:  # inside an image build the modules lie side by side
    import source_passes  # type: ignore[import-not-found, no-redef]
    import source_python  # type: ignore[import-not-found, no-redef]
    import source_stubs  # type: ignore[import-not-found, no-redef]
    from source_tree import (  # type: ignore[import-not-found, no-redef]
        ALREADY,
        CHANGED,
        SKIPPED,
        Misfit,
        Tree,
        finish,
    )

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Plain = dict[str, Any]
    Done = tuple[str, list[str], str]  # status, paths, note
    Step = Callable[[Plain, "Tree"], Done]

FAILED = "does not fit"

MEND = (
    "nothing was written; compare the file with what the patch expects, then leave the patch out for this source "
    "or write its edits for it"
)


class Result:
    """What became of one patch: a status (CHANGED ...), the files changed, and notes that say why."""

    def __init__(self, patch: str, status: str, files: "list[str]", notes: "list[str]") -> None:
        self.patch = patch
        self.status = status
        self.files = files
        self.notes = notes


class Report:
    """The results of all patches, in their order, and the tree that they leave."""

    def __init__(self, source: str, results: "list[Result]", tree: Tree, finished: bool) -> None:
        self.source = source
        self.results = results
        self.tree = tree  # as it is now, or would be
        self.finished = finished  # an earlier run was

    def of(self, status: str) -> "list[Result]":
        """The results with that status."""
        return [one for one in self.results if one.status == status]

    def lines(self) -> "list[str]":
        """A line for each patch, its notes behind it."""
        found = []
        for one in self.results:
            said = "; ".join((", ".join(one.files),) * bool(one.files) + tuple(one.notes))
            found.append("{}: {}{}".format(one.patch, one.status, f" ({said})" if said else ""))
        return found

    def message(self) -> str:
        """One message for all that did not fit: patch, source, file, what was expected and found."""
        failed = self.of(FAILED)
        said = ["patch {} does not fit {}: {}".format(one.patch, self.source, "; ".join(one.notes)) for one in failed]
        return "\n".join(said)


def apply(patches: "list[Plain]", root: Path, source: str = "", lenient: bool = False, dry_run: bool = False) -> Report:
    """Apply the patches to the tree at `root`; `source` is its name in messages.

    Strict: all patches, or nothing where one does not fit. Lenient: each patch that fits as a whole. What is written is
    written as a whole, and a run before this one that was stopped while it wrote is brought to its end first.
    """
    finished = not dry_run and finish(root)
    tree = Tree(root)
    results = []
    for patch in patches:
        draft = tree.draft()
        result = plan(patch, draft)
        results.append(result)
        if result.status == CHANGED:
            tree = draft
    report = Report(source or root.name, results, tree, finished)
    if not dry_run and (lenient or not report.of(FAILED)):
        tree.write()
    return report


def plan(patch: "Plain", tree: Tree) -> Result:
    """Put the patch into `tree` (not on disk)."""
    for rule in patch.get("skip", ()):
        if holds(rule, tree):
            return Result(patch["name"], SKIPPED, [], [rule["because"]])
    for rule in patch.get("refuse", ()):
        if holds(rule, tree):
            where = _first(rule["file"], tree) or " or ".join(_listed(rule["file"]))
            return Result(
                patch["name"], FAILED, [], ["it is not for this tree: {} ({})".format(rule["because"], where)]
            )
    files, notes, statuses, failed = [], [], [], []
    for step, what in _steps(patch):
        try:
            status, paths, note = step(what, tree)
        except Misfit as misfit:
            failed.append(str(misfit))
            continue
        statuses.append(status)
        files += [path for path in paths if status == CHANGED and path not in files]
        if note and note not in notes:
            notes.append(note)
    if failed:
        return Result(patch["name"], FAILED, [], failed)
    status = CHANGED if files else ALREADY if ALREADY in statuses else SKIPPED
    return Result(patch["name"], status, files, notes)


def _steps(patch: "Plain") -> "list[tuple[Step, Plain]]":
    steps = {"only": source_passes.only, "edits": edit, "create": create, "lines": source_passes.lines,
             "words": source_passes.words,
             "calls": source_passes.calls, "headers": source_passes.headers,
             "guards": source_passes.guards, "stubs": source_stubs.stubs, "renames": source_python.renames}  # fmt: skip
    return [(step, one) for kind, step in steps.items() for one in patch.get(kind, ())]


def holds(rule: "Plain", tree: Tree) -> bool:
    """Whether a file has (or lacks) the text by which a layout is known; a file that is not there has nothing to tell,
    unless the rule is about that."""
    path = _first(rule["file"], tree)
    if not path:
        return bool(rule.get("absent"))
    text = tree.read(path)
    return bool((rule.get("has") and rule["has"] in text) or (rule.get("lacks") and rule["lacks"] not in text))


def _elsewhere(change: "Plain", tree: Tree) -> bool:
    """Whether the change is for trees of another vintage."""
    return bool(change.get("where")) and not holds(change["where"], tree)


def create(new: "Plain", tree: Tree) -> "Done":
    """A whole new file. Misfit where there is another one under its name."""
    path = new["file"]
    if _elsewhere(new, tree):
        return SKIPPED, [], ""
    if not tree.has(path):
        tree.planned[path] = new["text"]
        return CHANGED, [path], ""
    if tree.read(path) != new["text"]:
        raise Misfit(f"{path} should be a new file, but the tree has another one there")
    return ALREADY, [path], ""


def edit(change: "Plain", tree: Tree) -> "Done":
    """One edit of one file. Misfit where the text is not found as often as expected."""
    if _elsewhere(change, tree):
        return SKIPPED, [], ""
    path = _first(change["file"], tree)
    if not path:
        names = " or ".join(_listed(change["file"]))
        if change.get("optional"):
            return SKIPPED, [], f"no {names} here"
        raise Misfit(f"{names} is not in the tree")
    before = tree.read(path)
    find = next((one for one in _listed(change["find"]) if one in before), _listed(change["find"])[0])
    todo, done, text = replaced(before, find, change["replace"])
    times = list(range(todo + 1)) if change.get("times") == "any" else _listed(change.get("times", 1))
    if todo in times or (todo and todo + done in times):
        if todo:
            tree.planned[path] = text
            return CHANGED, [path], change.get("note", "") if find == _listed(change["find"])[0] else ""
        if not done:
            return SKIPPED, [], f"nothing to change in {path}"
    if not todo and done >= min((one for one in times if one), default=1):
        return ALREADY, [path], ""
    raise Misfit(_expected(path, find, times, todo, done))


def replaced(text: str, find: str, replace: str) -> "tuple[int, int, str]":
    """How often `find` is there still, how often `replace` is there already, and the text with all replaced.

    One may be part of the other: then the longer one is looked for first, and the shorter one around it.
    """
    if replace in find:
        parts = text.split(find)
        return len(parts) - 1, sum(part.count(replace) for part in parts), replace.join(parts)
    parts = text.split(replace)
    todo = sum(part.count(find) for part in parts)
    return todo, len(parts) - 1, replace.join(part.replace(find, replace) for part in parts)


def _expected(path: str, find: str, times: "list[int]", todo: int, done: int) -> str:
    wanted = " or ".join(str(one) for one in sorted(times))
    shown = next(line.strip() for line in find.splitlines() if line.strip())
    more = " ..." if len(find.strip().splitlines()) > 1 else ""
    also = f" (and its replacement {done} times)" if done else ""
    return f"in {path}, expected {wanted} times and found {todo} times{also}: {shown}{more}"


def _first(names: "str | list[str]", tree: Tree) -> str:
    """The first of the paths that the tree has, or nothing."""
    return next((name for name in _listed(names) if tree.has(name)), "")


def _listed(value: "object") -> "list[Any]":
    return list(value) if isinstance(value, (list, tuple)) else [value]


def main(arguments: "list[str]") -> int:
    import argparse  # only the script needs it

    parser = argparse.ArgumentParser(description="Apply patches to a source tree; all of them or none.")
    parser.add_argument("patches", help="JSON file with the patches")
    parser.add_argument("tree", help="folder of the source tree")
    parser.add_argument("--stack", default="", help="what the tree is, for messages")
    parser.add_argument("--lenient", action="store_true", help="apply what fits, say what does not")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    given = parser.parse_args(arguments)
    with Path(given.patches).open(encoding="utf-8") as stream:
        patches = json.load(stream)
    report = apply(patches, Path(given.tree), given.stack, given.lenient, given.dry_run)
    if report.of(FAILED) and not given.lenient:
        sys.stderr.write(f"{report.message()}\n  {MEND}\n")
        return 1
    print("\n".join(report.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
