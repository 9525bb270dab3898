"""Copies between the host and S3 that someone asks for."""

import http.client
import json
import os
import sys

from .imds import Metadata
from .s3 import Bucket, sha256


def pull(place, prefix, folder):
    """Copy what is not there of `prefix` into `folder`; by sha256 where complete.json has it."""
    base = prefix.rstrip("/") + "/" if prefix else ""
    found = [(key, size) for key, size in place.list(prefix) if key.startswith(base) and not key.endswith("/")]
    known = digests(place, [key for key, _ in found])
    for key, size in found:
        name = key[len(base) :].lstrip("/")
        if ".." in name.split("/"):
            raise ValueError("%s leads out of the folder" % key)
        path = os.path.join(folder, name)
        if not is_there(path, size, known.get(key)):
            place.get_file(key, path)
            if not is_there(path, size, known.get(key)):
                os.remove(path)
                raise ValueError("%s is damaged (sha256)" % key)
    return len(found)


def digests(place, keys):
    """{key: sha256} out of every complete.json."""
    found = {}
    for mark in keys:
        if os.path.basename(mark) == "complete.json":
            for sent in json.loads(place.ask("GET", mark))["files"]:
                found[os.path.dirname(mark) + "/" + sent["name"]] = sent["sha256"]
    return found


def is_there(path, size, digest):
    there = os.path.exists(path) and os.path.getsize(path) == size
    return there and (digest is None or sha256(path) == digest)


def push(place, prefix, folder):
    """Copy the folder's files below `prefix`, and last an index: all is there."""
    index = []
    for base, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(base, name)
            relative = os.path.relpath(path, folder)
            index.append(dict(place.put_file(prefix + relative, path), path=relative))
    place.put(prefix.rstrip("/") + ".json", json.dumps(index).encode())
    return len(index)


def copy(verb, bucket, region, endpoint, prefix, folder):
    """pull or push; patient, as the role may be fresh."""
    place = Bucket(Metadata(), bucket, region, endpoint or None, patience=90.0)
    try:
        print({"pull": pull, "push": push}[verb](place, prefix, folder))
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.exit("%s s3://%s/%s: %s" % (verb, bucket, prefix, error))
