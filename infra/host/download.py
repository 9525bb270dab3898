"""Fetch files to a host: trained weights, of which some have half a gigabyte and come from slow servers. Runs on the
host with Python 3.6+ alone; sent over SSH when it is needed: python3 - JSON < download.py

JSON is a list of {url, path, sha256, sha1 ("": not known), size (0: not known)}. For each file one line of JSON on
standard output, {path, size, sha256, fetched} or {path, error, what}; progress on standard error. Exit code 1 after an
error. `error` is one of mismatch, size, page, refused, broken, full.

What has arrived is kept in PATH.part and goes on with a Range request, if the server's file is still the one that was
begun (If-Range). A file gets its name only whole and with the right sum. Proxy and certificates are the host's own:
from the environment, or where sshd does not give it, from /etc/environment.

`Transfer` is the part that the laptop's own downloads are made of, too (infra/download.py).
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

TRIES = 8  # in a row that bring nothing new
PAUSE_S = 1.0
LONGEST_S = 30.0
TIMEOUT_S = 60
SAY_S = 5.0
CHUNK = 1 << 18
ROOM = 64 << 20  # what a disk has to keep free
ENVIRONMENT = "/etc/environment"
AGAIN = (408, 425, 429)  # of the codes 4xx; all 5xx may pass too


class Refused(Exception):
    """No later try will do: the kind of error, what happened, and the server's code if it was that."""

    def __init__(self, kind, what, code=0):
        super().__init__(what)
        self.kind, self.code = kind, code


class Broken(Exception):
    """The connection ended early, or the server is busy: worth another try."""


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
    with contextlib.suppress(OSError), open(path, encoding="latin-1") as data:
        return data.read()
    return ""


def opened(url, headers, method="GET"):
    """The server's answer. HTTPError with its code; other errors as urllib has them."""
    head = {"User-Agent": "provision", "Accept-Encoding": "identity"}
    head.update(headers)
    return urllib.request.urlopen(urllib.request.Request(url, headers=head, method=method), timeout=TIMEOUT_S)


class Transfer:
    """A file on its way to PATH, in PATH.part; PATH.part.of tells of which version of the server's file that is.

    `proven`: its sum will be looked at, so that a part may be gone on with though the server marks no versions.
    """

    def __init__(self, url, path, proven, tries=TRIES):
        self.url, self.path, self.proven, self.tries = url, path, proven, tries
        self.size = 0  # that it must have; 0: not known
        self.part, self.mark = path + ".part", path + ".part.of"
        self.joined = False  # out of more than one answer
        self.unproven = False  # no sum says what it has to be: then only https:// tells that nobody changed it

    def pause(self, seconds, why):
        """Wait before the next try."""
        say("%s: %s; going on in %g s" % (os.path.basename(self.path), why, seconds))
        time.sleep(seconds)

    def look(self, answer, whole, begin):
        """Refuse before it has come. `whole`: bytes of all of it, 0 where that is not known."""

    def progress(self, at, whole):
        """So many bytes are here."""

    def forget(self):
        for path in (self.part, self.mark):
            with contextlib.suppress(OSError):
                os.remove(path)

    def receive(self) -> None:
        """All of the file in PATH.part, over many connections if need be. One that brings something is a new first."""
        failed = 0
        while True:
            before = size_of(self.part)
            try:
                self.connection(before)
                return
            except urllib.error.HTTPError as error:
                why = "%d %s" % (error.code, error.reason)
                if error.code < 500 and error.code not in AGAIN:
                    raise Refused("refused", "the server says " + why, error.code) from None
            except (Broken, OSError, http.client.HTTPException, ssl.CertificateError) as error:
                cause = getattr(error, "reason", None) or error
                if isinstance(cause, ssl.CertificateError) or "CERTIFICATE_VERIFY" in str(cause):
                    raise Refused("refused", "the server's certificate is not trusted: %s" % cause) from None
                why = str(cause) or type(error).__name__
            failed = 1 if size_of(self.part) > before else failed + 1
            if failed >= self.tries:
                raise Refused("broken", "%s (after %d tries, at %d bytes)" % (why, failed, size_of(self.part)))
            self.pause(min(PAUSE_S * 2 ** (failed - 1), LONGEST_S), why)

    def connection(self, begin):
        """One connection's worth, from byte `begin` on; Broken where it ends too soon."""
        headers, mark = {}, read_text(self.mark)
        if begin and (mark or self.proven):
            headers["Range"] = "bytes=%d-" % begin
            if mark:
                headers["If-Range"] = mark
        try:
            answer = opened(self.url, headers)
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            if error.headers.get("Content-Range") == "bytes */%d" % begin and self.size in (0, begin):
                self.joined = True
                return  # it was all there
            self.forget()
            raise Broken("the server's file has changed") from None
        with answer:
            if self.unproven and self.url.startswith("https:") and not answer.geturl().startswith("https:"):
                raise Refused("refused", "the server leads to http://, where anyone on the way can change the file")
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
            raise Broken("the server sent another part than was asked for")
        return True

    def write(self, answer, begin):
        length = answer.headers.get("Content-Length")
        whole = begin + int(length) if length else 0
        self.look(answer, whole, begin)
        try:
            got = self.store(answer, whole, begin)
        except OSError as error:
            raise Refused("full", "%s cannot be written: %s" % (self.path, error.strerror or error)) from error
        if whole and got < whole:
            raise Broken("the connection broke off at %d of %d bytes" % (got, whole))
        if self.size and got != self.size:
            self.wrong_size(got)

    def store(self, answer, whole, begin):
        """Put the answer behind the first `begin` bytes; how many are there then. OSError of the disk alone."""
        with open(self.mark, "w", encoding="latin-1") as out:
            out.write(mark_of(answer.headers))
        with open(self.part, "r+b" if begin else "wb") as out:
            out.truncate(begin)
            out.seek(begin)
            self.progress(begin, whole)
            for chunk in iter(lambda: self.read(answer), b""):
                out.write(chunk)
                self.progress(out.tell(), whole)
            out.flush()
            os.fsync(out.fileno())
            return out.tell()

    def read(self, answer):
        """What has come; the network's errors as Broken, for those of the disk are OSErrors too."""
        try:
            return answer.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise Broken(str(error) or type(error).__name__) from error

    def wrong_size(self, found):
        self.forget()
        raise Refused("size", "the server's file has %d bytes, not %d" % (found, self.size))


class Download(Transfer):
    """One file that is wanted, with its sums."""

    def __init__(self, wish):
        self.want = {kind: wish[kind] for kind in ("sha256", "sha1") if wish.get(kind)}
        super().__init__(wish["url"], wish["path"], bool(self.want))
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
            sizes = ((whole - begin) >> 20, free >> 20)
            raise Refused("full", "%d MB are to come, and the disk has %d MB free" % sizes)

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
        except (Refused, OSError) as error:  # the second of a folder that cannot be made
            kind = getattr(error, "kind", "full")
            print(json.dumps({"path": wish["path"], "error": kind, "what": str(error)}), flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
