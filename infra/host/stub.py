"""The first program of a machine: it fetches all others, which its user data has no room for.

Runs with Python 3.6+ alone, out of the user data. order.json names the bundle by the sha256 that it must have; it comes
from the bucket with the keys of the machine's role, which may be fresh: S3 and the metadata service are asked for some
minutes. What fails is written to the console, and the machine ends, as nobody could use it (`runcmd` of
user_data.render).
"""

import datetime
import hashlib
import hmac
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = "/opt/provision"
IMDS = "http://169.254.169.254/latest/"
CONSOLE = "/dev/console"
PATIENCE_S = 300
PAUSE_S = 0.5
SILENT_S = 20


def ask(url, method="GET", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=named, method=method)
    return urllib.request.urlopen(request, timeout=SILENT_S).read()


def role_keys():
    """The role's temporary keys, by IMDSv2."""
    token = ask(IMDS + "api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60").decode()
    at = IMDS + "meta-data/iam/security-credentials/"
    role = ask(at, X_aws_ec2_metadata_token=token).decode().split()[0]
    return json.loads(ask(at + role, X_aws_ec2_metadata_token=token).decode())


def address(order):
    host = "s3.%s.amazonaws.com" % order["region"]
    base = "https://%s.%s" % (order["bucket"], host)
    if order["s3"] or "." in order["bucket"]:  # TLS knows no dots there
        base = "%s/%s" % (order["s3"] or "https://" + host, order["bucket"])
    return "%s/host/%s.tar.gz" % (base, order["bundle"])


def signed(order, url, keys, now):
    """Headers that sign a GET by AWS's Signature Version 4."""
    parts = urllib.parse.urlsplit(url)
    empty, stamp = hashlib.sha256().hexdigest(), now.strftime("%Y%m%dT%H%M%SZ")
    said = {"host": parts.netloc, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    said["x-amz-expected-bucket-owner"] = order["owner"]
    said["x-amz-security-token"] = keys["Token"]
    names = ";".join(sorted(said))
    lines = "".join("%s:%s\n" % (name, said[name]) for name in sorted(said))
    text = "\n".join(["GET", parts.path, "", lines, names, empty])
    scope = [stamp[:8], order["region"], "s3", "aws4_request"]
    place = "/".join(scope)
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, place, hashlib.sha256(text.encode()).hexdigest()])
    key = ("AWS4" + keys["SecretAccessKey"]).encode()
    for word in scope + [text]:
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    said["Authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        keys["AccessKeyId"], place, names, key.hex())  # fmt: skip
    del said["host"]
    return said


def bundle(order):
    """The bundle's bytes, for which S3 and the role are given some minutes. ValueError where they are another's."""
    until, url = time.monotonic() + PATIENCE_S, address(order)
    while True:
        try:
            now = datetime.datetime.now(datetime.timezone.utc)
            found = ask(url, **signed(order, url, role_keys(), now))
            break
        except (OSError, ValueError, LookupError) as error:
            gone = getattr(error, "code", 0) == 404 and error.filename == url
            if gone or time.monotonic() > until:
                raise
        time.sleep(PAUSE_S)
    if hashlib.sha256(found).hexdigest() != order["bundle"]:
        raise ValueError("the host's files in S3 are not those that were ordered")
    return found


def unpack(packed):
    """Plain files alone, below our folder; an older guard of a machine image gives way."""
    shutil.rmtree(HERE + "/guard", ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for entry in tar:
            if not entry.isfile() or entry.name.startswith("/") or ".." in entry.name.split("/"):
                raise ValueError("an odd file: " + entry.name)
            path = os.path.join(HERE, entry.name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                shutil.copyfileobj(tar.extractfile(entry), out)


def main():
    """The exit code of what the bundle begins with."""
    try:
        with open(HERE + "/order.json") as data:
            unpack(bundle(json.load(data)))
        return subprocess.call(["sh", HERE + "/start.sh"])
    except Exception as error:
        with open(CONSOLE, "w") as out:
            out.write("provision: failed: %s: %s\n" % (type(error).__name__, error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
