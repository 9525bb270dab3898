"""The documents and the commands in them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def commands(text: str) -> list[list[str]]:
    """The words of each command, in order: `$ …` lines of ```console blocks, and rows of tables that begin with one."""
    found = []
    for block, row in re.findall(r"```console\n(.*?)```|^\| `\$ ([^`]+)` \|", text, re.S | re.M):
        found += [line[2:] for line in block.splitlines() if line.startswith("$ ")] + [row] * bool(row)
    return [shlex.split(line) for line in found]


def every_page() -> list[Path]:
    """All Markdown that is written for people: DOCUMENTS, the write-ups, and what lies beside the README."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


# those with commands, which tests/cloud/long/test_docs.py runs; clusters have tests of their own (tests/cluster)
CLUSTERS = "docs/clusters.md"
RUN = [name for name in DOCUMENTS if name != CLUSTERS and commands((ROOT / name).read_text(encoding="utf-8"))]
