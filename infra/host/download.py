"""Fetch files to a host: trained weights, of which some have half a gigabyte and come from slow servers. Runs on the
host with Python 3.6+ alone; sent over SSH when it is needed: python3 - JSON < download.py

JSON is a list of {url, path, sha256, sha1 ("": not known), size (0: not known)}. For each file one line of JSON on
standard output, {path, size, sha256, fetched} or {path, error, what}; progress on standard error. Exit code 1 after an
error. `error` is one of mismatch, size, page, refused, broken, full.

What has arrived is kept in PATH.part and goes on with a Range request, if the server's file is still the one that was
begun (If-Range). A file gets its name only whole and with the right sum. Proxy and certificates are the host's own:
from the environment, or where sshd does not give it, from /etc/environment.
"""

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request

TRIES = 6  # in a row that bring nothing new
PAUSE_S = 1.0
LONGEST_S = 30.0
TIMEOUT_S = 60
SAY_S = 5.0
CHUNK = 1 << 18
ROOM = 64 << 20  # what a disk has to keep free
ENVIRONMENT = "/etc/environment"
FINAL = (400, 401, 403, 404, 405, 410, 451)


class Refused(Exception):
    """No later try will do: the kind of error, and what happened."""

    def __init__(self, kind, what):
        super().__init__(what)
        self.kind = kind


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


def size_of(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def mark_of(headers):
    """What tells a changed file: a strong ETag, or the date."""
    tag = headers.get("ETag") or ""
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified") or ""


def read_text(path):
    with contextlib.suppress(OSError), open(path) as data:
        return data.read()
    return ""


class Download:
    """One file on its way to `path`."""

    def __init__(self, wish):
        self.url, self.path = wish["url"], wish["path"]
        self.want = {kind: wish[kind] for kind in ("sha256", "sha1") if wish.get(kind)}
        self.size = int(wish.get("size") or 0)
        self.part, self.mark = self.path + ".part", self.path + ".part.of"
        self.joined = False  # out of more than one answer
        self.said = time.monotonic()

    def fetch(self):
        """What is there now: {path, size, sha256, fetched}."""
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two trainings may want it at once
            there = self.there()
            return there or self.arrived()

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
        self.receive()
        found = sums_of(self.part)
        if not self.fits(found) and self.joined:  # its beginning may be another file's
            self.forget()
            self.receive()
            found = sums_of(self.part)
        if not self.fits(found):
            self.forget()
            raise Refused("mismatch", found["sha256" if "sha256" in self.want else "sha1"])
        os.chmod(self.part, 0o644)
        os.replace(self.part, self.path)
        self.forget()
        return self.answer(found, True)

    def forget(self):
        for path in (self.part, self.mark):
            with contextlib.suppress(OSError):
                os.remove(path)

    def receive(self):
        """All of the file in PATH.part, over as many connections as it takes."""
        tries, pause = 0, PAUSE_S
        while True:
            before = size_of(self.part)
            try:
                self.connection(before)
                return
            except urllib.error.HTTPError as error:
                if error.code in FINAL:
                    raise Refused("refused", "the server says %d %s" % (error.code, error.reason)) from None
                why = "%d %s" % (error.code, error.reason)
            except (OSError, http.client.HTTPException, ssl.CertificateError) as error:
                self.bear(error)
                why = str(getattr(error, "reason", None) or error or type(error).__name__)
            tries = 0 if size_of(self.part) > before else tries + 1
            pause = PAUSE_S if tries == 0 else min(2 * pause, LONGEST_S)
            if tries >= TRIES:
                raise Refused("broken", "%s (after %d tries, at %d bytes)" % (why, tries, size_of(self.part)))
            say("%s: %s; going on in %g s" % (os.path.basename(self.path), why, pause))
            time.sleep(pause)

    def bear(self, error):
        """Only an error of the network is borne."""
        reason = getattr(error, "reason", None)
        cause = reason if isinstance(reason, Exception) else error
        if isinstance(cause, ssl.CertificateError) or "CERTIFICATE_VERIFY" in str(cause):
            raise Refused("refused", "the server's certificate is not trusted: %s" % cause)
        if isinstance(error, OSError) and error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise Refused("full", "no room for %s" % self.path)
        if isinstance(error, PermissionError):
            raise Refused("full", str(error))

    def connection(self, begin):
        """One connection's worth, from byte `begin` on; ConnectionError where it ends too soon."""
        request = urllib.request.Request(self.url, headers={"User-Agent": "provision", "Accept-Encoding": "identity"})
        mark = read_text(self.mark)
        if begin:
            request.add_header("Range", "bytes=%d-" % begin)
            if mark:
                request.add_header("If-Range", mark)
        try:
            answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            if error.headers.get("Content-Range") == "bytes */%d" % begin and self.size in (0, begin):
                self.joined = True
                return  # it was all there
            self.forget()
            raise ConnectionError("the server's file has changed") from None
        with answer:
            goes_on = self.goes_on(answer, begin)
            self.joined = self.joined or goes_on
            self.write(answer, begin if goes_on else 0)

    def goes_on(self, answer, begin):
        """Whether the answer begins where we are."""
        if answer.getcode() != 206:
            return False
        span = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
        if not span or int(span.group(1)) != begin:
            self.forget()
            raise ConnectionError("the server sent another part than was asked for")
        return True

    def write(self, answer, begin):
        length = answer.headers.get("Content-Length")
        whole = begin + int(length) if length else 0
        self.look(answer, whole, begin)
        with open(self.mark, "w") as out:
            out.write(mark_of(answer.headers))
        with open(self.part, "r+b" if begin else "wb") as out:
            out.seek(begin)
            for chunk in iter(lambda: answer.read(CHUNK), b""):
                out.write(chunk)
                self.progress(out.tell(), whole)
            out.flush()
            os.fsync(out.fileno())
            got = out.tell()
        if whole and got < whole:
            raise ConnectionError("the connection ended at %d of %d bytes" % (got, whole))
        if self.size and got != self.size:
            self.wrong_size(got)

    def look(self, answer, whole, begin):
        """Refuse before half a gigabyte has come: a page in place of the file, another size, a full disk."""
        kind = (answer.headers.get("Content-Type") or "").split(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml"):
            self.forget()
            raise Refused("page", "the server sent a web page (%s) in place of the file" % kind)
        if whole and self.size and whole != self.size:
            self.wrong_size(whole)
        free = shutil.disk_usage(os.path.dirname(self.path)).free
        if whole and whole - begin + ROOM > free:
            raise Refused(
                "full", "%d MB are to come, and the disk has %d MB free" % ((whole - begin) >> 20, free >> 20)
            )

    def wrong_size(self, found):
        self.forget()
        raise Refused("size", "the server's file has %d bytes, not %d" % (found, self.size))

    def progress(self, at, whole):
        if time.monotonic() - self.said > SAY_S:
            self.said = time.monotonic()
            of = " of %d" % (whole >> 20) if whole else ""
            say("%s: %d%s MB" % (os.path.basename(self.path), at >> 20, of))


def say(text):
    sys.stderr.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    sys.stderr.flush()


def main(wishes):
    """Fetch one after the other; the exit code."""
    host_environment()
    socket.setdefaulttimeout(TIMEOUT_S)
    for wish in wishes:
        try:
            print(json.dumps(Download(wish).fetch()), flush=True)
        except Refused as error:
            print(json.dumps({"path": wish["path"], "error": error.kind, "what": str(error)}), flush=True)
            return 1
        except OSError as error:  # a folder that cannot be made
            print(json.dumps({"path": wish["path"], "error": "full", "what": str(error)}), flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
