"""What a folder of databases says of itself (data.json), held against what its databases hold.

A copy that lacks a file, or that was emptied, still has its data.json: whoever believes that one alone says "is there
already" of what is gone.
"""

import json
from pathlib import Path
from typing import Any

from infra.errors import UsageError
from provision.data.backends import reader

_PHASES = ("train", "test")


def facts(folder: Path) -> dict[str, Any]:
    """What data.json says; {} where there is none that can be read."""
    try:
        found = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def counts(folder: Path) -> dict[str, int]:
    """The records of each database, by its path in the folder ("." is itself), as data.json says."""
    told = facts(folder)
    if told.get("data") == "pictures" and isinstance(told.get("databases"), list):
        found = {str(name): told.get("records") for name in told["databases"]}
    elif told.get("data") in ("boxes", "digits"):
        found = {f"{phase}_lmdb": told.get(phase) for phase in _PHASES}
    else:
        found = {}
    return {name: count for name, count in found.items() if isinstance(count, int)}


def expected(database: Path) -> int | None:
    """How many records the data.json in or beside a database says that it has; None where none tells."""
    own = counts(database).get(".")
    return counts(database.parent).get(database.name) if own is None else own


def lost(folder: Path) -> str:
    """What of the databases that data.json names is not there any more; empty where all is whole."""
    for name, count in counts(folder).items():
        try:
            source = reader(folder / name)
        except UsageError as error:
            return error.what
        try:
            held = len(source)
        finally:
            source.close()
        if held != count:
            return f"{folder / name} holds {held} records, and its data.json says {count}"
    return ""
