"""A file on its way over HTTP: in parts, over many connections if need be, and never a web page in its place.

`download.py` is made of it, and the laptop's own downloads (infra/download.py); so it has to run with Python 3.6. What
has arrived is kept in PATH.part and goes on with a Range request, if the server's file is still the one that was begun
(If-Range). A server that is moved, asks for a login or has shut its service often answers 200 with a page: what says
that it is one, by its type or its first bytes, is refused unless the address itself names a page.
"""

import contextlib
import http.client
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

TRIES = 8  # in a row that bring nothing new
PAUSE_S = 1.0
LONGEST_S = 30.0
TIMEOUT_S = 60
CHUNK = 1 << 18
AGAIN = (408, 425, 429)  # of the codes 4xx; all 5xx may pass too
# types of what servers send in place of a file, and the endings of the names that may be of such a type
PAGES = {
    "text/html": "html?|xhtml|svg|xml",
    "application/xhtml+xml": "html?|xhtml|svg|xml",
    "application/json": "json",
    "text/xml": "xml|svg",
    "application/xml": "xml|svg",
}
PAGE = re.compile(rb"(?i)<(!doctype\s+html|html|head|title|body|script|meta|error)\b")
ARCHIVES = ("zip", "gz", "tgz", "bz2", "tbz2", "xz", "7z", "tar")  # endings of what never begins as a text
TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]+")
POINTER = b"version https://git-lfs.github.com/spec/"
PACKED = ("gzip", "x-gzip", "deflate", "compress", "br", "zstd")  # Content-Encodings that change the bytes


class Refused(Exception):
    """No later try will do: the kind of error, what happened, and the server's code if it was that."""

    def __init__(self, kind, what, code=0):
        super().__init__(what)
        self.kind, self.code = kind, code


class Broken(Exception):
    """The connection ended early, or the server is busy: worth another try."""


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


def is_page(path):
    """Whether the file begins as a web page does."""
    with open(path, "rb") as data:
        head = data.read(2048).replace(b"\xef\xbb\xbf", b"", 1).lstrip()
    for begin, end in ((b"<?xml", b"?>"), (b"<!--", b"-->")):
        if head.startswith(begin):
            head = head.partition(end)[2].lstrip()
    return PAGE.match(head) is not None


def opened(url, headers, method="GET"):
    """The server's answer. HTTPError with its code; other errors as urllib has them."""
    head = {"User-Agent": "provision", "Accept-Encoding": "identity"}
    head.update(headers)
    return urllib.request.urlopen(urllib.request.Request(url, headers=head, method=method), timeout=TIMEOUT_S)


def through_no_link(path, flags):
    """Open what has that name itself; OSError for a link, as what it points to is somebody's."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


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
        self.told = True  # the server said how long the file is, or where it ends

    def pause(self, seconds, why):
        """Wait before the next try."""
        say("%s: %s; going on in %g s" % (os.path.basename(self.path), why, seconds))
        time.sleep(seconds)

    def wants(self, kind):
        """Whether the address itself names something of that type; of JSON and XML also where it names nothing."""
        name = urllib.parse.urlsplit(self.url).path.rpartition("/")[2]
        if "." not in name and kind not in ("text/html", "application/xhtml+xml"):
            return True
        return kind not in PAGES or re.search(r"(?i)\.(%s)$" % PAGES[kind], name) is not None

    def look(self, answer, whole, begin):
        """Refuse before it has come: a page in place of the file. `whole`: bytes of all of it, 0: not known."""
        kind = (answer.headers.get("Content-Type") or "").split(";")[0].strip().lower()
        if not self.wants(kind):
            self.forget()
            raise Refused("page", "the server sent a page (%s) in place of the file" % kind)
        packed = (answer.headers.get("Content-Encoding") or "").strip().lower()
        name = urllib.parse.urlsplit(self.url).path
        if packed in PACKED and not ("gzip" in packed and re.search(r"(?i)gz$", name)):  # of a .gz it is the file's own
            self.forget()
            raise Refused("packed", "the server sent the file compressed (Content-Encoding: %s), unasked" % packed)

    def progress(self, at, whole):
        """So many bytes are here."""

    def arrive(self, fits):
        """Receive, and once more where `fits` (a function of nothing) says that what was joined of parts is wrong: its
        beginning may be another file's. Whether it fits at the end."""
        self.receive()
        if fits():
            return True
        if not self.joined:
            return False
        self.forget()
        self.joined = False
        self.receive()
        return fits()

    def forget(self):
        for path in (self.part, self.mark):
            with contextlib.suppress(OSError):
                os.remove(path)

    def receive(self) -> None:
        """All of the file in PATH.part, over many connections if need be. One that brings more than any before is a new
        first; a server that has it begin again and again is none."""
        failed, most = 0, size_of(self.part)
        while True:
            try:
                self.connection(size_of(self.part))
                return
            except urllib.error.HTTPError as error:
                why = ("%d %s" % (error.code, error.reason)).split("\n")[0]
                if error.code < 500 and error.code not in AGAIN:
                    raise Refused("refused", "the server says " + why, error.code) from None
            except (Broken, OSError, http.client.HTTPException, ssl.CertificateError) as error:
                cause = getattr(error, "reason", None) or error
                if isinstance(cause, ssl.CertificateError) or "CERTIFICATE_VERIFY" in str(cause):
                    raise Refused("refused", "the server's certificate is not trusted: %s" % cause) from None
                why = str(cause) or type(error).__name__
                if isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError):
                    why = "the server does not speak HTTP"
            failed = 1 if size_of(self.part) > most else failed + 1
            most = max(most, size_of(self.part))
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
        if answer.getcode() == 206:  # of a part, whose end may not be the file's
            total = re.search(r"/(\d+)$", answer.headers.get("Content-Range") or "")
            whole = int(total.group(1)) if total else whole
        self.told = bool(length) or bool(getattr(answer, "chunked", False))
        self.look(answer, whole, begin)
        try:
            got = self.store(answer, whole, begin)
        except OSError as error:
            raise Refused("full", "%s cannot be written: %s" % (self.path, error.strerror or error)) from error
        if whole and got < whole:
            raise Broken("the connection broke off at %d of %d bytes" % (got, whole))
        if self.size and got != self.size:
            self.wrong_size(got)
        if not got:
            self.forget()
            raise Refused("page", "the server sent nothing in place of the file")
        if not self.wants("text/html") and is_page(self.part):
            self.forget()
            raise Refused("page", "the server sent a page (HTML) in place of the file")
        with open(self.part, "rb") as data:
            head = data.read(512)
        if head.startswith(POINTER):
            self.forget()
            raise Refused("page", "the server sent a pointer of Git LFS in place of the file")
        ending = urllib.parse.urlsplit(self.url).path.rpartition(".")[2].lower()
        if not self.proven and ending in ARCHIVES and TEXT.fullmatch(head):  # of a server that is busy
            self.forget()
            raise Refused("page", "the server sent a text in place of the .%s" % ending)

    def store(self, answer, whole, begin):
        """Put the answer behind the first `begin` bytes; how many are there then. OSError of the disk alone."""
        with open(self.mark, "w", encoding="latin-1", opener=through_no_link) as out:
            out.write(mark_of(answer.headers))
        with open(self.part, "r+b" if begin else "wb", opener=through_no_link) as out:
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


def say(text):
    sys.stderr.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    sys.stderr.flush()
