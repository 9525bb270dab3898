"""Where pip on this machine takes packages from: its own variables and files, and what it does by itself."""

import configparser
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra import buildsecrets
from infra.shell import Shell

# Prints pip's help in lines so wide that no address is broken, of the first Python that has pip.
_HELP = 'for python in "$1" python3; do COLUMNS=300 "$python" -m pip --isolated install --help && exit; done'


def configured(shell: Shell, variables: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The indexes that pip asks, its main one first; empty where pip does not tell its main one.

    Only those over HTTP. An address may hold a password.
    """
    variables = os.environ if variables is None else variables
    return indexes([_text(path) for path in _files(variables)], variables, lambda: pips_own(shell))


def indexes(files: Sequence[str], variables: Mapping[str, str], pips_own: Callable[[], str]) -> tuple[str, ...]:
    """The same, out of the texts of pip's files, the strongest last. `pips_own` gives the main one if none is set."""
    parser = configparser.RawConfigParser()
    parser.read_string(buildsecrets.pip_config(files, variables) or "[global]")
    first = parser.get("global", "index-url", fallback="").split() or pips_own().split()
    extra = parser.get("global", "extra-index-url", fallback="").split()
    return tuple(dict.fromkeys([*first, *extra])) if first else ()


def pips_own(shell: Shell) -> str:
    """pip's default index, as its help names it; empty where there is no pip, or its help does not say."""
    said = shell.run(["sh", "-c", _HELP, "help", sys.executable], check=False).out
    match = re.search(r"Package\s+Index\s+\(default\s+(https?://[^\s)]+)\)", said)
    return match[1] if match else ""


def _files(variables: Mapping[str, str]) -> list[Path]:
    """pip's files (https://pip.pypa.io/en/stable/topics/configuration/), the strongest last."""
    home = Path.home()
    user = Path(variables.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    named = variables.get("PIP_CONFIG_FILE")
    found = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip" / "pip.conf", user]
    if named == os.devnull:
        return []
    return [*found, *([Path(named)] if named else [])]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
