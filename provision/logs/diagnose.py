"""Why a training failed, diverged or stands still, by its log and by what its run's folder says.

It speaks of the last attempt, and lists those before in a line each (`provision.logs.endings`). What one line alone
tells is a rule (causes/*.yaml). What only several lines tell is for `provision.logs.divergence` (and where it began),
`provision.logs.learning` and `provision.logs.standing`. What ended the program goes before what was merely seen
(`provision.logs.ranking`).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from provision.logs import apart, ranking, ranks, reader
from provision.logs.cause import Cause, Diagnosis, Earlier, Ending, Facts, as_dict, told
from provision.logs.endings import Cuts, Reading, of_trouble
from provision.logs.learning import Learning
from provision.logs.metrics.asked import AUTO, Asked
from provision.logs.read import Log
from provision.logs.rules import by_name
from provision.logs.text import whole_lines

__all__ = ["Cause", "Diagnosis", "Facts", "as_dict", "diagnose", "diagnose_pieces", "told"]

_NOTHING = Facts()
# what a shell's exit code means: 128 and the signal's number; -N is Python's way to tell the same
_OF_SIGNALS = {
    1: "interrupted", 2: "interrupted", 4: "illegal-instruction", 6: "aborted", 7: "bus-error", 8: "division-by-zero",
    11: "segmentation-fault", 15: "interrupted",
}  # fmt: skip
_SIGNALS = {
    126: "permission", 127: "program-missing",
    **{code: name for number, name in _OF_SIGNALS.items() for code in (128 + number, -number)},
}  # fmt: skip
_THEIRS = re.compile(rb"^[IWEF]\d{4,8} \d\d:|json_stats: |^[A-Z]+ \w+\.py: *\d+: |^Creating [Ll]ayer ", re.MULTILINE)
_OF_THE_GPU = ("no-kernel-image", "driver-too-old", "no-gpu", "gpu-out-of-memory")


def diagnose(log: Log, facts: Facts = _NOTHING) -> Diagnosis:
    """What went wrong, the cause first; no causes where nothing did. Ranks that wrote one log at the same time are
    diagnosed each by its own lines; how their container ended is told once, of all of them."""
    parts = apart.sources(log)
    if not parts:
        return diagnose_pieces(log.pieces(), facts, log.asked)
    each = replace(facts, exit_code=None, out_of_memory=False)
    found = ranks.joined({name: diagnose_pieces(part.pieces(), each, part.asked) for name, part in parts.items()})
    ends = list(_of_facts(facts, found.causes))
    if not ends:
        return found
    causes = ranking.in_order([*found.causes, *ends])
    ending = Ending("failed", f"it failed: {causes[0].what}") if causes[0] in ends else found.ending
    return replace(found, causes=causes, ending=ending)


def diagnose_pieces(pieces: Iterable[bytes], facts: Facts = _NOTHING, asked: Asked = AUTO) -> Diagnosis:
    """Diagnose a log that comes in pieces of any size."""
    reading, earlier, learning = Reading(1, facts.failures), list[Earlier](), Learning()
    parser, cuts, count, heard = reader.Parser(asked=asked), Cuts(), 0, False
    for text in whole_lines(pieces):
        heard = heard or _THEIRS.search(text) is not None
        for part, certain in _parts(text, cuts):
            if reading.told and certain is not None:
                earlier.append(reading.earlier(len(earlier) + 1))
                reading = Reading(count + 1, facts.failures)
            events = parser.read(part)
            reading.read(part, count, events, parser.told_line)
            learning.read(part, count, events)
            count += part.count(b"\n") + (not part.endswith(b"\n"))
    events = parser.end()
    reading.end(events)
    learning.read(b"", count, events)
    found = _of(reading, earlier, list(map(of_trouble, learning.troubles())), facts)
    return replace(found, heard=heard or parser.other)


def _parts(text: bytes, cuts: Cuts) -> Iterator[tuple[bytes, bool | None]]:
    """The text cut where an attempt may begin: each part, and whether one does for sure; None: none begins there."""
    begin, sure = 0, None
    for at, certain in cuts.of(text):
        if at > begin:
            yield text[begin:at], sure
        begin, sure = at, certain
    yield text[begin:], sure


def _of(reading: Reading, earlier: Sequence[Earlier], course: Sequence[Cause], facts: Facts) -> Diagnosis:
    """`course`: what the numbers of all attempts together tell."""
    notes = [cause for cause in (*map(of_trouble, reading.watch.notes()), *course) if cause.kind == "note"]
    found = [*reading.found(facts), *(cause for cause in course if cause.kind != "note")]
    found = ranking.in_order([*found, *_of_facts(facts, found)])
    found = [_with_place(cause, facts) for cause in found]
    seen = [*ranking.seen(reading.scan, found), *notes]
    return Diagnosis(
        found, reading.ending(found, facts.state), seen, list(earlier), len(earlier) + 1, alive=reading.scan.alive
    )


def _of_facts(facts: Facts, found: Sequence[Cause]) -> Iterator[Cause]:
    """What the container's end tells, where the log tells nothing. Exit code 137 means SIGKILL."""
    names = {cause.name for cause in found if ranking.ORDER[cause.kind] <= ranking.ORDER["crash"]}
    if facts.out_of_memory or (facts.exit_code == 137 and not names):
        rule = by_name()["host-out-of-memory"]
        told = (
            "the container was killed for this reason"
            if facts.out_of_memory
            else "exit code 137: the program was killed, most often for this reason"
        )
        yield Cause(rule.name, f"{rule.what}: {told}", rule.why, rule.mends, kind="verdict")
    elif not names and (name := _SIGNALS.get(facts.exit_code or 0)):
        rule = by_name()[name]
        yield Cause(rule.name, f"{rule.what} (exit code {facts.exit_code})", rule.why, rule.mends, kind=rule.kind)


def _with_place(cause: Cause, facts: Facts) -> Cause:
    if facts.where and cause.name in _OF_THE_GPU:
        return replace(cause, why=f"{cause.why}; {facts.where}")
    return cause
