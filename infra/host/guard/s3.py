"""S3 with the instance's role, in the standard library alone.

Signed with AWS Signature Version 4 (docs.aws.amazon.com/general/latest/gr/sigv4_signing.html).
"""

import contextlib
import datetime
import functools
import hashlib
import hmac
import html
import http.client
import os
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request

from .host import seconds_until

PATIENCE_S = 5.0
PAUSE_S = 0.5
KEYS_S = 600
BIG = 1 << 30  # larger files go in parts: S3 takes 5 GB at once
PART = 256 << 20


def hmac256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature_headers(method, url, region, keys, digest, now):
    """Headers that sign a request whose body has the sha256 `digest` (hex)."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    parts = urllib.parse.urlsplit(url)
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    if keys.get("Token"):
        headers["x-amz-security-token"] = keys["Token"]
    names = ";".join(sorted(headers))
    lines = "".join("%s:%s\n" % (name, headers[name]) for name in sorted(headers))
    query = "&".join(sorted(parts.query.split("&"))) if parts.query else ""
    canonical = "\n".join([method, parts.path, query, lines, names, digest])
    scope = "%s/%s/s3/aws4_request" % (day, region)
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + keys["SecretAccessKey"]).encode()
    for word in (day, region, "s3", "aws4_request"):
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
    """A Bucket's method, again after a passing error until its patience is over."""

    @functools.wraps(act)
    def trying(self, *words):
        until, pause = time.monotonic() + self.patience, PAUSE_S
        while True:
            try:
                return act(self, *words)
            except (OSError, http.client.HTTPException) as error:
                if not passing(error) or time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 8)

    return trying


class Bucket:
    """S3 with the instance's role; `patience` s for each object."""

    def __init__(self, metadata, name, region, endpoint=None, patience=PATIENCE_S):
        self.metadata = metadata
        self.region = region
        self.base = "%s/%s" % (endpoint, name) if endpoint else "https://%s.s3.%s.amazonaws.com" % (name, region)
        self.patience = patience
        self.keys = None
        self.until = 0.0

    def fresh_keys(self):
        """The role's keys, new ones 5 minutes before they expire."""
        if not self.keys or time.monotonic() > self.until:
            try:
                self.keys = self.metadata.credentials()
                left = seconds_until(self.keys["Expiration"]) - 300 if "Expiration" in self.keys else KEYS_S
                self.until = time.monotonic() + max(1.0, min(left, KEYS_S))
            except (OSError, ValueError, http.client.HTTPException):
                if not self.keys:
                    raise
        return self.keys

    def call(self, method, key, query="", body=None, size=None, digest=None):
        """One signed request; the open answer. `body` is bytes, or an open file with size and digest."""
        url = self.base + "/" + urllib.parse.quote(key, errors="surrogateescape") + ("?" + query if query else "")
        digest = digest or hashlib.sha256(body or b"").hexdigest()
        now = datetime.datetime.now(datetime.timezone.utc)
        headers = signature_headers(method, url, self.region, self.fresh_keys(), digest, now)
        if body is not None:
            headers["Content-Length"] = str(len(body) if size is None else size)
            headers["Content-Type"] = "application/octet-stream"  # urllib would call it a form
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            if error.code in (400, 403):  # perhaps the keys have expired
                self.until = 0.0
            raise

    @patient
    def ask(self, method, key, query="", body=None):
        """The answer's text."""
        with self.call(method, key, query, body) as answer:
            return answer.read().decode()

    @patient
    def put(self, key, data, query="", size=None, digest=None):
        """Store bytes or an open file; the ETag."""
        if size is not None:
            data.seek(0)
        with self.call("PUT", key, query, data, size, digest) as answer:
            return answer.headers["ETag"]

    def put_file(self, key, path):
        """Upload; size and sha256 of what was sent."""
        size = os.path.getsize(path)
        if size > BIG:
            size, digest = self.put_parts(key, path)
        else:
            digest = sha256(path)
            with open(path, "rb") as data:
                self.put(key, data, "", size, digest)
        return {"name": os.path.basename(path), "size": size, "sha256": digest}

    def put_parts(self, key, path):
        """Upload in parts; size and sha256."""
        found = re.search(r"<UploadId>(.*?)</UploadId>", self.ask("POST", key, "uploads=", b""))
        upload = "uploadId=" + urllib.parse.quote(html.unescape(found.group(1)), safe="")
        size, digest, tags = 0, hashlib.sha256(), []
        try:
            with open(path, "rb") as data:
                for piece in iter(lambda: data.read(PART), b""):
                    tags.append(self.put(key, piece, "partNumber=%d&%s" % (len(tags) + 1, upload)))
                    size += len(piece)
                    digest.update(piece)
            parts = ["<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % tag for tag in enumerate(tags, 1)]
            whole = "<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % "".join(parts)
            if "<Error>" in self.ask("POST", key, upload, whole.encode()):  # S3 says so with code 200
                raise ConnectionError("S3 did not put %s together" % key)
        except Exception:
            with contextlib.suppress(Exception):
                self.call("DELETE", key, upload).close()
            raise
        return size, digest.hexdigest()

    @patient
    def get_file(self, key, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        part = path + ".part"
        with self.call("GET", key) as answer, open(part, "wb") as out:
            for chunk in iter(lambda: answer.read(1 << 20), b""):
                out.write(chunk)
            if out.tell() != int(answer.headers.get("Content-Length", out.tell())):
                raise ConnectionError("%s was cut off" % key)
        os.replace(part, path)

    def list(self, prefix):
        """Keys under `prefix` with their sizes."""
        found, mark = [], ""
        while True:
            query = "list-type=2&prefix=" + urllib.parse.quote(prefix, safe="")
            if mark:
                query = "continuation-token=%s&%s" % (urllib.parse.quote(mark, safe=""), query)
            text = self.ask("GET", "", query)
            for block in re.findall(r"<Contents>(.*?)</Contents>", text, re.S):
                key = re.search(r"<Key>(.*?)</Key>", block).group(1)
                size = re.search(r"<Size>(\d+)</Size>", block).group(1)
                found.append((html.unescape(key), int(size)))
            more = re.search(r"<NextContinuationToken>(.*?)</NextContinuationToken>", text)
            if not more:
                return found
            mark = html.unescape(more.group(1))


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as data:
        for chunk in iter(lambda: data.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()
