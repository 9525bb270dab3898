"""Which of the things that a log tells is the cause: what ended the program goes before what was merely seen.

A line *ends* the program where glog is fatal, or where no logger wrote it: an exception's last line, a signal's, the
shell's. A `clue` (protobuf's or HDF5's own errors, "Too many open files") explains what comes after it. A line after
which the training went on displaying was merely seen, unless it was fatal: it stopped nothing. What stands behind the
training's good end is another program's, but for a crash.

In order: a recipe's own failures; the verdict of who started the container; what ended the program, and what explains
it, by their lines; divergence; a crash, which is told where nothing before explains it; a training that learns nothing;
being killed from outside; what was seen last before a log that just ends; and where all that is missing, what holds a
training up. A note is worth a sentence, and no cause.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from provision.logs.cause import Cause, shown
from provision.logs.scan import Hit, Scan, is_fatal

ORDER = {
    "own": 0, "verdict": 1, "cause": 2, "clue": 2, "divergence": 3, "crash": 4, "learning": 5, "killed": 6, "abort": 7,
    "last": 8, "symptom": 9, "note": 10,
}  # fmt: skip
_ENDS = ("own", "verdict", "cause", "clue", "divergence", "crash", "killed")
_CONSEQUENCES = ("crash", "killed", "abort")
_THROWN = re.compile(rb"terminate called|what\(\):|^OpenCV")
_NEAR = 10  # lines


def ended(scan: Scan) -> bool:
    """Whether the program ended itself, or was ended, by what its lines say."""
    return (
        scan.fatal is not None
        or any(_stops(scan, hit) for hit in scan.hits.values())
        or any(raised.line > scan.alive and not scan.behind(raised.line) for raised in scan.raised)
    )


def causes(scan: Scan, well: bool, place: Callable[[str], str]) -> list[Cause]:
    """What the lines of an attempt tell. `well`: it ended well, and what was seen on the way stopped nothing. `place`:
    where the program ended with a line."""
    over = ended(scan)
    found = [*scan.own]
    for hit in scan.hits.values():
        if _stops(scan, hit) or hit.rule.kind == "divergence":
            found.append(hit.cause())
        elif hit.last > scan.alive and not well:
            found.append(hit.cause("clue" if over and hit.rule.kind == "clue" else "last"))
    found += _unknown(scan, well)
    return [
        replace(cause, place=scan.places.get(cause.line) or (place(cause.text) if _of_the_net(cause) else ""))
        for cause in found
    ]


def seen(scan: Scan, told: Sequence[Cause]) -> list[Cause]:
    """What was seen on the way and is not told as a cause."""
    names = {cause.name for cause in told}
    return [
        hit.cause("seen")
        for hit in scan.hits.values()
        if hit.rule.name not in names and hit.rule.kind not in _CONSEQUENCES
    ]


def in_order(found: Sequence[Cause]) -> list[Cause]:
    """Sort causes by kind and line; of two with one line or one name the first stays, and what only follows from
    another goes."""
    ranked = sorted(found, key=lambda cause: (ORDER[cause.kind], cause.line or 0))
    if any(cause.kind not in ("symptom", "note") for cause in ranked):
        ranked = [cause for cause in ranked if cause.kind != "symptom"]
    lines: set[int] = set()
    kept: list[Cause] = []
    for cause in ranked:
        follows = cause.kind in _CONSEQUENCES and any(one.kind in _ENDS for one in kept)
        again = cause.kind == "learning" and any(one.kind == "divergence" for one in kept)
        if follows or again or (cause.line and cause.line in lines) or cause.name in {one.name for one in kept}:
            continue
        lines.add(cause.line)
        kept.append(cause)
    return kept


def _stops(scan: Scan, hit: Hit) -> bool:
    """Whether the program ended with it. Behind the training's good end only a crash or a fatal line is its own."""
    if not hit.ends or is_fatal(hit.text):
        return hit.ends
    if _THROWN.search(hit.text) and 0 < _crash(scan) - hit.last <= _NEAR:
        return True  # one thread threw it, and another wrote some lines until the program was ended
    return hit.line > scan.alive and not (scan.behind(hit.line) and hit.rule.kind in ("cause", "killed"))


def _crash(scan: Scan) -> int:
    """The line by which a crash is told; 0 where none is."""
    lines = [hit.line for hit in scan.hits.values() if hit.rule.kind in ("crash", "abort") and hit.ends]
    return min((line for line in lines if line > scan.alive), default=0)


def _unknown(scan: Scan, well: bool) -> Iterator[Cause]:
    """The fatal line and the exception that no rule knows, as they are."""
    if scan.fatal is not None:
        number, line = scan.fatal
        source, mark, message = line.decode(errors="replace").partition("] ")
        where = f" in {source.split(' ')[-1]}" if mark else ""
        yield Cause(
            "unknown", f"the program ended itself{where}: {shown((message or source).encode())}",
            "no rule knows this check: it is in Caffe's source, in that file and line",
            ("compare what that layer reads with what it wants: provision net show FILE tells all shapes",
             "the lines above it tell what it was doing"), number, shown(line),
        )  # fmt: skip
    for raised in scan.raised:
        if raised.line > scan.alive and not (well and scan.behind(raised.line)):
            yield Cause(
                "exception", f"Python code failed: {shown(raised.text)}", "no rule knows this exception",
                ("read the code at the place that is named", "the lines above it are its traceback"),
                raised.line, shown(raised.text),
            )  # fmt: skip
            return


def _of_the_net(cause: Cause) -> bool:
    """Whether the place in the net belongs to the cause: fatal lines, and crashes, whose stack names a layer."""
    return cause.kind == "crash" or is_fatal(cause.text.encode())
