"""Which snapshot an attempt goes on from. The machines of earlier attempts wrote them: nothing is believed that S3's
own listing does not show. The rules are the laptop's (provision/runs/snapshots.py); a test holds the two together.
"""

import json
import re

from .host import log

MARK = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,9}))?/complete\.json\Z")
MARK_SIZE = 64 << 20


class Snapshot:
    """A whole one: its iteration, the attempt that made it, its prefix in S3, and the stem that the command takes."""

    def __init__(self, iteration, attempt, prefix, stem):
        self.iteration, self.attempt, self.prefix, self.stem = iteration, attempt, prefix, stem

    @property
    def folder(self):
        """Where its files belong, below the run's folder; "" for that itself."""
        return self.stem.rpartition("/")[0]


def snapshots(bucket, below, rule, chosen):
    """Those that the attempt may go on from, the best one last. `rule`: {"pattern", "parts"}; `chosen`: [[number,
    iteration], …] of attempts that went on by choice from an earlier one."""
    if not rule or not rule.get("pattern"):
        return []
    found = []
    sizes = {key: size for key, size, _ in bucket.list(below)}
    for key in sorted(sizes):
        mark = MARK.match(key[len(below) :])
        if mark and sizes[key] <= MARK_SIZE:
            found += whole(key, files_of(bucket, key), sizes, rule, int(mark.group(2) or 0))
    return counting(found, chosen)


def files_of(bucket, key):
    """[(path, size)] of a complete.json; none where it is damaged, or was just deleted with its snapshot."""
    try:
        files = json.loads(bucket.ask("GET", key))["files"]
        found = [(one["path"], one["size"], one.get("name", "")) for one in files]
        known = all(
            isinstance(path, str) and isinstance(size, int) and name in ("", path.rpartition("/")[2])
            for path, size, name in found
        )
        return [(path, size) for path, size, _ in found] if known else []
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        log("%s: %s" % (key, error))
        return []
    except OSError as error:
        if getattr(error, "code", None) != 404:
            raise
        return []


def whole(key, files, sizes, rule, attempt):
    """The snapshots of one complete.json, whose every file is there, as large as it says, below the run's folder."""
    prefix = key[: -len("complete.json")]
    for path, size in files:
        if path.startswith("/") or ".." in path.split("/") or sizes.get(prefix + path.rpartition("/")[2]) != size:
            return []
    sets = {}
    for path, _ in files:
        fits = re.compile(rule["pattern"]).fullmatch(path)
        if fits:
            stem = path[: fits.start("part")].rstrip(".")
            sets.setdefault((int(fits.group("iteration")), stem), set()).add(fits.group("part"))
    return [Snapshot(at, attempt, prefix, stem) for (at, stem), parts in sorted(sets.items())
            if parts >= set(rule["parts"])]  # fmt: skip


def counting(found, chosen):
    """Of one iteration the newest attempt's, and of earlier attempts none beyond the iteration from which a later one
    went on by choice; oldest first."""
    left = [one for one in found
            if all(one.attempt >= number or one.iteration <= iteration for number, iteration in chosen)]  # fmt: skip
    newest = {}
    for one in sorted(left, key=lambda one: (one.iteration, one.attempt)):
        newest[one.iteration] = one
    return [newest[iteration] for iteration in sorted(newest)]
