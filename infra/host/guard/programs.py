"""Programs that `begin` starts, what they say, and whether they move; words that are the same for the same cause."""

import contextlib
import os
import re
import subprocess
import threading

from . import notes

# what differs from one machine to the next, and tells nothing of the cause
SHIFTING = re.compile(
    r"\bi-[0-9a-f]{6,}|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b|\b[0-9a-f]{12,}\b|0x[0-9a-f]+"
    r"|\b\d{4}-\d\d-\d\d[T ]?[\d:.]*(?:Z|UTC)?|\b\d\d:\d\d:\d\d\b|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
    r"|\b(?:pid|port) \d+"
)


def stable(error):
    """Its words, on one line and without what differs each time."""
    return " ".join(SHIFTING.sub("…", str(error)).split())[:300]


class Programs:
    """Programs of this process, several at once."""

    def __init__(self):
        self.children = set()
        self.lock = threading.Lock()

    def run(self, words, stdin=b"", user=False, limit=None):
        """Exit code, output and errors; code 124 where it took longer than `limit` s. `user`: as the login user."""
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=notes.drop if user else None, cwd="/",
        )  # fmt: skip
        self.children.add(process.pid)
        try:
            out, err = process.communicate(stdin, limit)
            code = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            code = 124
        finally:
            self.children.discard(process.pid)
        return code, out.decode(errors="replace"), err.decode(errors="replace")

    def moved(self):
        """What changes while anything moves: bytes that this process wrote, and that its programs read or wrote."""
        sums = [counted(os.getpid(), ("wchar",))]
        sums += [counted(pid, ("rchar", "wchar")) for pid in sorted(self.children)]
        return sums

    def end(self):
        for pid in list(self.children):
            with contextlib.suppress(OSError):
                os.kill(pid, 15)


def counted(pid, names):
    with contextlib.suppress(OSError, ValueError), open("/proc/%d/io" % pid) as data:
        known = dict(line.split(": ") for line in data.read().split("\n") if line)
        return sum(int(known[name]) for name in names)
    return 0
