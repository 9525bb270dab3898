"""The report of `image matrix --verify`: for each row and stack how it stands, and what did not answer. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from images.answers import STATES, Finding, State
from images.asked import Kind, Question, Subject, unknown
from images.verify import NOT_ASKED, Known, Outcome

KINDS: tuple[Kind, ...] = get_args(Kind)
_SHOWN_BY = 3  # names of rows in a line, before "and N more"
_Group = tuple[Question, Finding, list[str]]


@dataclass(frozen=True)
class Report:
    """All findings. `date` is when asking began (2026-11-29T06:55:00Z), `seconds` how long it took."""

    date: str
    seconds: float
    subjects: Sequence[Subject]
    outcome: Outcome
    places: dict[str, str]

    def of(self, question: Question) -> Finding:
        return self.outcome.known.get(question, NOT_ASKED)


def state(known: Known, questions: Iterable[Question]) -> State | None:
    """The worst of the questions' states; None where there are none."""
    states = [known.get(question, NOT_ASKED).state for question in questions]
    return max(states, key=STATES.index, default=None)


def counts(report: Report) -> dict[State, int]:
    """How many rows and stacks are in each state."""
    found = [state(report.outcome.known, subject.questions) for subject in report.subjects]
    return {name: found.count(name) for name in STATES}


SHORT_COLUMNS = ["row", "state", "life ended", "not ok"]
COLUMNS = ["row", "state", *KINDS, "life ended"]


def short_cells(report: Report) -> list[list[str]]:
    """The table for a terminal: name, state, end of life, and the parts that are not ok."""
    return [[row[0], row[1], row[-1], _not_ok(row[2:-1])] for row in cells(report)]


def cells(report: Report) -> list[list[str]]:
    """The whole table: name, state, one cell for each kind of question, the end of life."""
    known = report.outcome.known
    return [
        [
            subject.name,
            state(known, subject.questions) or "",
            *(_cell(known, subject, kind) for kind in KINDS),
            subject.ended,
        ]
        for subject in report.subjects
    ]


def _not_ok(states: Sequence[str]) -> str:
    """`suites gone, base unreachable`: the worst first."""
    pairs = list(zip(KINDS, states, strict=True))
    return ", ".join(f"{kind} {cell}" for bad in reversed(STATES[1:]) for kind, cell in pairs if cell == bad)


def _cell(known: Known, subject: Subject, kind: Kind) -> str:
    return state(known, [question for question in subject.questions if question.kind == kind]) or ""


def troubles(report: Report) -> list[_Group]:
    """The findings that are not ok, the worst first, and who needs them. A host out of reach is listed once."""
    by_question: dict[Question, list[str]] = {}
    for subject in report.subjects:
        for question in subject.questions:
            if report.of(question).state != "ok":
                by_question.setdefault(question, []).append(subject.name)
    groups: dict[object, _Group] = {}
    for question, names in by_question.items():
        found = report.of(question)
        alike = (found.state, found.said, _host(found.url)) if found.status == 0 else question
        first = groups.setdefault(alike, (question, found, []))
        first[2].extend(name for name in names if name not in first[2])
    return sorted(groups.values(), key=lambda group: -STATES.index(group[1].state))


def lines(report: Report) -> list[str]:
    """The troubles for people, a line each."""
    found = []
    for question, finding, names in troubles(report):
        where = f"{question.name}: " if finding.status else f"{_host(finding.url)}: " if finding.url else ""
        at = "" if finding.status == 0 or finding.url in question.name else f" ({finding.url})"
        mend = f"; {finding.mend}" if finding.mend else ""
        text = f"{finding.state}: {where}{finding.said}{at}{mend}; needed by {_names(names)}"
        found.append("".join(letter if letter.isprintable() else "?" for letter in text))  # servers wrote some of it
    return found


def left_out(report: Report) -> str:
    """How many rows and stacks were asked about in part, as no mirror is known, and the mend. Empty: none."""
    missing = [
        {name for one in subject.questions if report.of(one).state == "not asked" and (name := unknown(one))}
        for subject in report.subjects
    ]
    names = sorted(set().union(*missing))
    if not names:
        return ""
    mends = ", ".join(f"--mirror {name}=URL" for name in names)
    return (
        f"{sum(map(bool, missing))} rows or stacks were asked about in part, for this machine knows no mirror of"
        f" {', '.join(names)}: name it with {mends}"
    )


def as_dict(report: Report) -> dict[str, Any]:
    """For JSON."""
    known = report.outcome.known
    questions = dict.fromkeys(question for subject in report.subjects for question in subject.questions)
    return {
        "date": report.date, "seconds": round(report.seconds, 1), "interrupted": report.outcome.interrupted,
        "places": report.places, "counts": counts(report),
        "rows": [
            {"name": subject.name, "life_ended": subject.ended or None, "state": state(known, subject.questions),
             "parts": {kind: cell for kind in KINDS if (cell := _cell(known, subject, kind))},
             "needs": [question.name for question in subject.questions]}
            for subject in report.subjects
        ],
        "answers": [
            {"kind": question.kind, "name": question.name, **vars(report.of(question))} for question in questions
        ],
    }  # fmt: skip


def as_markdown(report: Report) -> str:
    """For people, to be kept or shown to others."""
    said = [
        "# Whether what images are made of can still be had", "",
        f"Asked {report.date}, in {report.seconds:.0f} s, by `provision image matrix --verify`; {summary(report)}.", "",
        *(f"- {name}: {place}" for name, place in report.places.items()), "",
        *_table(COLUMNS, cells(report)), "", "## What did not answer as it should", "",
        *([f"- {line}" for line in lines(report)] or ["Nothing."]), "", "## Digests of the bases", "",
        *_table(["base", "digest"], _digests(report)), "",
    ]  # fmt: skip
    return "\n".join(said)


def summary(report: Report) -> str:
    """How many rows and stacks are in which state, in words."""
    found = ", ".join(f"{number} {name}" for name, number in counts(report).items() if number)
    return f"{found} of {len(report.subjects)} rows and stacks" + (
        "; interrupted, so not all was asked" if report.outcome.interrupted else ""
    )


def _digests(report: Report) -> list[list[str]]:
    found = {question.name: finding.digest for question, finding in report.outcome.known.items() if finding.digest}
    return [list(pair) for pair in sorted(found.items())]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return [*head, *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)]


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def _names(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_BY
    return ", ".join(names[:_SHOWN_BY]) + (f" and {more} more" if more > 0 else "")
