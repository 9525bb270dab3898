"""What a diagnosis finds: causes, with the line that shows each, and what is known besides the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from provision.logs.failures import Failure

_LONGEST = 300


@dataclass(frozen=True)
class Cause:
    """One thing that went wrong: what, why, what helps (the likeliest first), and the line that shows it with its
    number from 1; 0 where no line does. `place`: the layer or the code where it happened, "" where nobody knows."""

    name: str
    what: str
    why: str = ""
    mends: tuple[str, ...] = ()
    line: int = 0
    text: str = ""
    kind: str = "cause"
    place: str = ""


@dataclass(frozen=True)
class Facts:
    """What is known besides the log. `state` is the run's (running, failed …), "" where nobody knows; `where` tells of
    the machine, such as its image's architectures and its GPU's."""

    state: str = ""
    exit_code: int | None = None
    out_of_memory: bool = False
    where: str = ""
    failures: Sequence[Failure] = ()


@dataclass(frozen=True)
class Ending:
    """How an attempt ended: well, failed, or `open` where it tells no end; and that as half a sentence."""

    word: str
    text: str


@dataclass(frozen=True)
class Earlier:
    """An attempt before the last: its number from 1, its lines, how it ended, and by what (None: nothing is known)."""

    number: int
    first: int
    last: int
    ending: Ending
    cause: Cause | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What a log tells of its last attempt: what went wrong, the cause first (empty where nothing did); how it ended;
    what was seen on the way and stopped nothing. `attempts` counts the starts of the program. `heard`:
    whether any line is as Caffe or Detectron writes them; `alive`: the last line that shows that it went on."""

    causes: list[Cause]
    ending: Ending
    seen: list[Cause] = field(default_factory=list)
    earlier: list[Earlier] = field(default_factory=list)
    attempts: int = 1
    heard: bool = True
    alive: int = 0


def shown(line: bytes) -> str:
    """The line as text, cut where it is too long to be read."""
    text = line.decode(errors="replace").strip()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def as_dict(cause: Cause) -> Mapping[str, object]:
    """The cause as a mapping for JSON."""
    return {
        "name": cause.name, "what": cause.what, "why": cause.why, "mends": list(cause.mends), "line": cause.line,
        "text": cause.text, "kind": cause.kind, "place": cause.place,
    }  # fmt: skip


def told(diagnosis: Diagnosis) -> Mapping[str, object]:
    """The diagnosis as a mapping for JSON."""
    return {
        "ended": diagnosis.ending.word, "end": diagnosis.ending.text, "attempts": diagnosis.attempts,
        "causes": [as_dict(cause) for cause in diagnosis.causes],
        "seen": [as_dict(cause) for cause in diagnosis.seen],
        "earlier": [
            {
                "attempt": one.number, "first_line": one.first, "last_line": one.last, "ended": one.ending.word,
                "end": one.ending.text, "cause": as_dict(one.cause) if one.cause else None,
            }
            for one in diagnosis.earlier
        ],
    }  # fmt: skip
