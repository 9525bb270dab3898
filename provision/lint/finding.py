"""What a check of a net, a solver or of data found."""

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where (a file, or a database), what, and the mend.

    Of a net or solver also the rule that found it, the line, and why it matters.
    """

    level: Level
    where: str
    what: str
    mend: str = ""
    rule: str = ""
    line: int = 0
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        if not self.rule:
            return {"level": self.level, "where": self.where, "what": self.what, "mend": self.mend}
        return {
            "level": self.level, "rule": self.rule, "file": self.where, "line": self.line, "what": self.what,
            "why": self.why, "mend": self.mend,
        }  # fmt: skip
