"""What a check of a net, a solver or of data found."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where (a file, or a database), what, and the mend.

    Of a net or solver also the rule that found it, the line, why it matters, and `fold`, which findings of one kind
    share: they are told as one.
    """

    level: Level
    where: str
    what: str
    mend: str = ""
    rule: str = ""
    line: int = 0
    why: str = ""
    fold: str = field(default="", compare=False)

    def as_json(self) -> dict[str, Any]:
        if not self.rule:
            return {"level": self.level, "where": self.where, "what": self.what, "mend": self.mend}
        return {
            "level": self.level, "rule": self.rule, "file": self.where, "line": self.line, "what": self.what,
            "why": self.why, "mend": self.mend,
        }  # fmt: skip


def folded(findings: Iterable[Finding]) -> list[tuple[Finding, tuple[Finding, ...]]]:
    """The first finding of each kind, with the others of that kind, in the order of the first ones."""
    kinds: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.where, finding.level, finding.rule, finding.fold), []).append(finding)
    return [(alike[0], tuple(alike[1:])) for alike in kinds.values()]
