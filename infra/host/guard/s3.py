"""S3 with the instance's role, in the standard library alone.

Signed with AWS Signature Version 4 (docs.aws.amazon.com/general/latest/gr/sigv4_signing.html).
"""

import concurrent.futures
import contextlib
import datetime
import functools
import hashlib
import hmac
import html
import http.client
import itertools
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from .files import written
from .host import seconds_until

PATIENCE_S = 5.0
TRIES = 4  # at least
PAUSE_S = 0.5
KEYS_S = 600
SILENT_S = 15
PART = 16 << 20  # larger files go in parts: a broken one alone is sent again
PARTS = 9000  # S3 takes 10,000
THREADS = 6  # one connection seldom fills a line
COPY = 4 << 30  # S3 copies 5 GB at once
ERRORS = (OSError, http.client.HTTPException)
TAG = "provision-expires=yes"  # the bucket's rule deletes what has it, a time after it was written


def hmac256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature_headers(method, url, region, keys, digest, now, more=(), service="s3"):
    """Headers that sign a request whose body has the sha256 `digest` (hex); `more` are other headers of it."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    parts = urllib.parse.urlsplit(url)
    headers = dict(more, **{"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp})
    if keys.get("Token"):
        headers["x-amz-security-token"] = keys["Token"]
    names = ";".join(sorted(headers))
    lines = "".join("%s:%s\n" % (name, headers[name]) for name in sorted(headers))
    query = "&".join(sorted(parts.query.split("&"))) if parts.query else ""
    canonical = "\n".join([method, parts.path, query, lines, names, digest])
    scope = "%s/%s/%s/aws4_request" % (day, region, service)
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + keys["SecretAccessKey"]).encode()
    for word in (day, region, service, "aws4_request"):
        key = hmac256(key, word)
    proof = hmac256(key, text).hex()
    headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        keys["AccessKeyId"], scope, names, proof)  # fmt: skip
    del headers["host"]
    return headers


def passing(error):
    """Whether a later try may succeed: 403 may be a fresh role."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code == 403 or error.code >= 500
    return isinstance(error, (urllib.error.URLError, ConnectionError, socket.timeout, http.client.HTTPException))


def patient(act):
    """A Bucket's method, again after a passing error until its patience and some tries are over, or the machine."""

    @functools.wraps(act)
    def trying(self, *words):
        until, pause, tries = time.monotonic() + self.patience, PAUSE_S, 0
        while True:
            try:
                return act(self, *words)
            except ERRORS as error:
                tries += 1
                late = tries >= TRIES and time.monotonic() + pause > max(until, self.last)
                if late or not passing(error):
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 1 if self.last else 8)

    return trying


class Bucket:
    """S3 with the instance's role; `patience` s for each object."""

    def __init__(self, metadata, name, region, endpoint=None, owner="", patience=PATIENCE_S):
        self.metadata = metadata
        self.name = name
        self.region = region
        self.owner = owner  # the account that must own it
        host = "s3.%s.amazonaws.com" % region
        self.base = "https://%s.%s" % (name, host)
        if endpoint or "." in name:  # TLS knows no dots there
            self.base = "%s/%s" % (endpoint or "https://" + host, name)
        self.patience = patience
        self.last = 0.0  # monotonic end of the machine, once it is known
        self.keys = None
        self.until = 0.0
        self.renewing = threading.Lock()

    def fresh_keys(self):
        """The role's keys, new ones 5 minutes before they expire."""
        with self.renewing:
            if not self.keys or time.monotonic() > self.until:
                try:
                    self.keys = self.metadata.credentials()
                    left = seconds_until(self.keys["Expiration"]) - 300 if "Expiration" in self.keys else KEYS_S
                    self.until = time.monotonic() + max(1.0, min(left, KEYS_S))
                except ERRORS + (ValueError,):
                    if not self.keys:
                        raise
            return self.keys

    def call(self, method, key, query="", body=None, more=()):
        """One signed request, with more headers; the open answer."""
        url = self.base + "/" + urllib.parse.quote(key, errors="surrogateescape") + ("?" + query if query else "")
        headers = dict(more)
        if self.owner:
            headers["x-amz-expected-bucket-owner"] = self.owner
        if (method, query) in (("PUT", ""), ("POST", "uploads=")):
            headers["x-amz-tagging"] = TAG
        now = datetime.datetime.now(datetime.timezone.utc)
        digest = hashlib.sha256(body or b"").hexdigest()
        headers = signature_headers(method, url, self.region, self.fresh_keys(), digest, now, headers)
        if body is not None:
            headers["Content-Length"] = str(len(body))
            headers["Content-Type"] = "application/octet-stream"  # urllib would call it a form
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=SILENT_S)
        except urllib.error.HTTPError as error:
            if error.code in (400, 403):  # perhaps the keys have expired
                self.until = 0.0
            raise

    @patient
    def ask(self, method, key, query="", body=None, more=()):
        """The answer's text. S3 says of some that they failed with code 200."""
        with self.call(method, key, query, body, more) as answer:
            text = answer.read().decode()
        if method != "GET" and "<Error>" in text:
            raise ConnectionError("S3 did not %s %s" % (method, key))
        return text

    @patient
    def put(self, key, data, query=""):
        """Store bytes; the ETag."""
        with self.call("PUT", key, query, data) as answer:
            return answer.headers["ETag"]

    def put_file(self, key, fd, going=lambda: None):
        """Upload an open file; name, size and sha256 of what was sent. `going` is asked now and then, and may raise."""
        digest, sent = hashlib.sha256(), []
        total = os.fstat(fd).st_size
        part = max(PART, total // PARTS)

        def pieces():
            while True:
                going()
                piece = os.pread(fd, part, sum(sent))
                digest.update(piece)
                sent.append(len(piece))
                if not piece:
                    return
                yield piece

        def send(number, upload, piece):
            return self.put(key, piece, "partNumber=%d&%s" % (number, upload))

        if total > part:
            self.in_parts(key, send, pieces())
        else:
            self.put(key, b"".join(itertools.islice(pieces(), 1)))
        return {"name": os.path.basename(key), "size": sum(sent), "sha256": digest.hexdigest()}

    def in_parts(self, key, send, pieces):
        """An object of parts, several at a time; `send` gives a part's ETag."""
        found = re.search(r"<UploadId>(.*?)</UploadId>", self.ask("POST", key, "uploads=", b""))
        upload = "uploadId=" + urllib.parse.quote(html.unescape(found.group(1)), safe="")
        room, failed, tags = threading.Semaphore(THREADS), [], []

        def one(number, piece):
            try:
                return send(number, upload, piece)
            except Exception as error:
                failed.append(error)
                raise
            finally:
                room.release()

        try:
            with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
                for number, piece in enumerate(pieces, 1):
                    room.acquire()  # so many parts in memory
                    if failed:
                        raise failed[0]
                    tags.append(pool.submit(one, number, piece))
            parts = ["<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % (number, tag.result())
                     for number, tag in enumerate(tags, 1)]  # fmt: skip
            whole = "<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % "".join(parts)
            self.ask("POST", key, upload, whole.encode())
        except Exception:
            with contextlib.suppress(Exception):
                self.call("DELETE", key, upload).close()
            raise

    def renew(self, key, size):
        """Copy an object onto itself: its age begins anew."""
        source = "/%s/%s" % (self.name, key)
        more = {"x-amz-copy-source": urllib.parse.quote(source, errors="surrogateescape")}
        if size <= COPY:
            for word in ("metadata", "tagging"):
                more["x-amz-%s-directive" % word] = "REPLACE"
            self.ask("PUT", key, "", b"", more)
            return

        def send(number, upload, at):
            span = {"x-amz-copy-source-range": "bytes=%d-%d" % (at, min(at + COPY, size) - 1)}
            text = self.ask("PUT", key, "partNumber=%d&%s" % (number, upload), b"", dict(more, **span))
            return re.search(r"<ETag>(.*?)</ETag>", text).group(1)

        self.in_parts(key, send, range(0, size, COPY))

    @patient
    def get_file(self, key, folder, path, clear=False):
        with self.call("GET", key) as answer, written(folder, path, clear) as out:
            for chunk in iter(lambda: answer.read(1 << 20), b""):
                out.write(chunk)
            if out.tell() != int(answer.headers.get("Content-Length", out.tell())):
                raise ConnectionError("%s was cut off" % key)

    def list(self, prefix):
        """Keys under `prefix` with their sizes and times."""
        found, mark = [], ""
        while True:
            query = "list-type=2&prefix=" + urllib.parse.quote(prefix, safe="")
            if mark:
                query = "continuation-token=%s&%s" % (urllib.parse.quote(mark, safe=""), query)
            text = self.ask("GET", "", query)
            for block in re.findall(r"<Contents>(.*?)</Contents>", text, re.S):
                key, size, at = (
                    re.search("<%s>(.*?)</%s>" % (word, word), block, re.S).group(1)
                    for word in ("Key", "Size", "LastModified")
                )
                found.append((html.unescape(key), int(size), at))
            more = re.search(r"<NextContinuationToken>(.*?)</NextContinuationToken>", text)
            if not more:
                return found
            mark = html.unescape(more.group(1))
