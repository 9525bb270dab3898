"""apt.sh: how a build installs packages of a distribution, also past the release's end.

The script is handed to builds beside the Dockerfile, and to containers that fetch source packages. It is one file, so
that both look in the same places.
"""

from pathlib import Path

SCRIPT = (Path(__file__).parent / "apt.sh").read_text(encoding="utf-8")
