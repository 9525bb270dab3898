"""Fetch files to a host: trained weights, of which some have half a gigabyte and come from slow servers. Runs on the
host with Python 3.6+ alone; sent over SSH when it is needed, behind transfer.py: python3 - JSON < both

JSON is a list of {url, mirrors, path, sha256, sha1 ("": not known), size (0: not known)}; the mirrors are tried in
their order where the url fails. For each file one line of JSON on standard output, {path, size, sha256, fetched} or
{path, error, what}; progress on standard error. Exit code 1 after an error. `error` is one of mismatch, size, page,
refused, broken, full.

A file gets its name only whole and with the right sum. Proxy and certificates are the host's own: from the environment,
or where sshd does not give it, from /etc/environment.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import sys
import time

from infra.host.transfer import TIMEOUT_S, TRIES, Refused, Transfer, say, size_of

SAY_S = 5.0
ROOM = 64 << 20  # what a disk has to keep free
ENVIRONMENT = "/etc/environment"
FEW = 3  # tries of an address that another one follows


def host_environment():
    """The host's proxy and certificates, where this process was not given them."""
    with contextlib.suppress(OSError), open(ENVIRONMENT) as lines:
        for line in lines:
            name, _, value = line.strip().partition("=")
            if re.match(r"(?i)((https?|no|all)_proxy|ssl_cert_(file|dir))$", name):
                os.environ.setdefault(name, value.strip("\"'"))


def sums_of(path):
    digests = {"sha256": hashlib.sha256(), "sha1": hashlib.sha1()}
    with open(path, "rb") as data:
        for chunk in iter(lambda: data.read(1 << 20), b""):
            for digest in digests.values():
                digest.update(chunk)
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


class Download(Transfer):
    """One file that is wanted, with its sums."""

    def __init__(self, wish):
        self.want = {kind: wish[kind] for kind in ("sha256", "sha1") if wish.get(kind)}
        super().__init__(wish["url"], wish["path"], bool(self.want))
        self.addresses = [wish["url"]] + list(wish.get("mirrors") or [])
        self.unproven = not self.want
        self.size = int(wish.get("size") or 0)
        self.said = time.monotonic()

    def fetch(self):
        """What is there now: {path, size, sha256, fetched}."""
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two trainings may want it at once
            return self.there() or self.arrived()

    def there(self):
        """The file of an earlier training; one that is not wanted is fetched again."""
        if not os.path.exists(self.path):
            return None
        found = sums_of(self.path)
        return self.answer(found, False) if self.fits(found) else None

    def fits(self, found):
        return all(found[kind] == want for kind, want in self.want.items())

    def answer(self, found, fetched):
        return {"path": self.path, "size": size_of(self.path), "sha256": found["sha256"], "fetched": fetched}

    def arrived(self):
        """The file from the first address that has it. Refused as the first one did where none has."""
        first = None
        for number, url in enumerate(self.addresses, 1):
            self.url, self.joined = url, False
            self.tries = TRIES if number == len(self.addresses) else FEW
            try:
                return self.came()
            except Refused as error:
                first = first or error
                if error.kind == "full":
                    raise
                if number < len(self.addresses):
                    say("%s: %s; trying %s" % (os.path.basename(self.path), error, self.addresses[number]))
                    if not self.want:
                        self.forget()  # two servers' parts would be joined, and nothing could tell
        raise first

    def came(self):
        found = {}

        def fits():
            found.update(sums_of(self.part))
            return self.fits(found)

        if not self.arrive(fits):
            self.forget()
            raise Refused("mismatch", found["sha256" if "sha256" in self.want else "sha1"])
        os.chmod(self.part, 0o644)
        os.replace(self.part, self.path)
        self.forget()
        return self.answer(found, True)

    def look(self, answer, whole, begin):
        """Refuse before half a gigabyte has come: a page in place of the file, another size, a full disk."""
        super().look(answer, whole, begin)
        if whole and self.size and whole != self.size:
            self.wrong_size(whole)
        free = shutil.disk_usage(os.path.dirname(self.path)).free
        if whole and whole - begin + ROOM > free:
            sizes = ((whole - begin) >> 20, free >> 20)
            raise Refused("full", "%d MB are to come, and the disk has %d MB free" % sizes)

    def progress(self, at, whole):
        if time.monotonic() - self.said > SAY_S:
            self.said = time.monotonic()
            of = " of %d" % (whole >> 20) if whole else ""
            say("%s: %d%s MB" % (os.path.basename(self.path), at >> 20, of))


def main(wishes):
    """Fetch one after the other; the exit code."""
    host_environment()
    socket.setdefaulttimeout(TIMEOUT_S)
    for wish in wishes:
        try:
            print(json.dumps(Download(wish).fetch()), flush=True)
        except (Refused, OSError) as error:  # the second of a folder that cannot be made
            kind = getattr(error, "kind", "full")
            print(json.dumps({"path": wish["path"], "error": kind, "what": str(error)}), flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
