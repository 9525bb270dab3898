"""Copies between the host and S3 that someone asks for: as the login user, and through no link."""

import concurrent.futures
import hashlib
import http.client
import json
import os
import re
import sys

from . import notes
from .files import Tree, inside, opened, remove
from .host import log
from .imds import Metadata
from .s3 import THREADS, Bucket


def pull(place, prefix, folder, digest=""):
    """Copy what is not there of `prefix` into `folder`; by sha256 where complete.json or an index has it. With `digest`
    the index has to have that sum, and only what it names is copied."""
    base = prefix.rstrip("/") + "/" if prefix else ""
    found = [(key, size) for key, size, _ in place.list(prefix) if key.startswith(base) and not key.endswith("/")]
    if digest:
        known = sums(place, base[:-1] + ".json", base, digest)
        found = [(key, size) for key, size in found if key in known]
    else:
        known = digests(place, base, [key for key, _ in found])
    for key in sorted(set(known).difference(key for key, _ in found)):
        raise ValueError("%s is missing" % key)
    top = folder.strip("/") + "/"
    clear = ("/" + top).startswith(notes.RUNS + "/")  # what a training left may be in the way
    paths = {key: top + key[len(base) :].lstrip("/") for key, _ in found}
    for key, path in paths.items():
        if ".." in path.split("/"):
            raise ValueError("%s leads out of the folder" % key)
    for folder in sorted({top} | {path.rpartition("/")[0] + "/" for path in paths.values()}):
        with inside("/", folder, make=True, clear=clear):  # one after the other: threads would put them aside
            pass
    failed = []

    def one(key, size):
        try:
            if not failed:
                bring(place, key, paths[key], size, known.get(key), clear)
        except Exception as error:
            failed.append(error)
            raise

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda pair: one(*pair), found))
    return len(found)


def bring(place, key, path, size, digest, clear):
    """One file, unless it is there. ValueError where it is another than the sum says."""
    if not is_there(path, size, digest):
        place.get_file(key, "/", path, clear)
        if not is_there(path, size, digest):
            remove("/", path)
            raise ValueError("%s is damaged (sha256)" % key)


def digests(place, base, keys):
    """{key: sha256} out of every complete.json, and of a run's inputs out of their index."""
    found = {}
    for mark in keys:
        if os.path.basename(mark) == "complete.json":
            found.update(sums(place, mark, os.path.dirname(mark) + "/"))
    if re.match(r"runs/[^/]+/inputs/[^/]+/\Z", base):
        found.update(sums(place, base[:-1] + ".json", base))
    return found


def sums(place, mark, base, digest=""):
    """{key: sha256} of the files that a complete.json or an index names; ValueError where it is none, or not the one of
    that sum."""
    text, found = "", {}
    try:
        text = place.ask("GET", mark)
    except UnicodeDecodeError:
        pass
    except OSError as error:
        if not digest or getattr(error, "code", None) != 404:
            raise
        raise ValueError("%s is missing" % mark) from None
    if digest and hashlib.sha256(text.encode()).hexdigest() != digest:
        raise ValueError("%s is damaged: it is not the one that was ordered" % mark)
    try:
        value = json.loads(text)
        index = isinstance(value, list)
        for sent in value if index else value["files"]:
            name = sent["path"] if index else sent.get("name") or os.path.basename(sent["path"])
            found[base + name] = str(sent["sha256"])
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError("%s is damaged: %s" % (mark, error)) from error
    return found


def is_there(path, size, digest):
    try:
        with opened("/", path, os.getuid()) as fd:
            return os.fstat(fd).st_size == size and (digest is None or sha256(fd) == digest)
    except OSError:
        return False


def sha256(fd):
    digest = hashlib.sha256()
    with open(fd, "rb", closefd=False) as data:
        for chunk in iter(lambda: data.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def push(place, prefix, folder):
    """Copy the folder's files below `prefix`, and last an index: all is there. A link counts for what it leads to,
    which has to be in the folder, too."""
    index, top = [], os.path.realpath(folder)
    for name in sorted(Tree(top, "", sys.maxsize, sys.maxsize).files()):
        source = os.path.realpath(os.path.join(top, name))
        if not source.startswith(top + "/") or not os.path.isfile(source):
            log("%s is left out" % name)
            continue
        with opened(top, source[len(top) + 1 :], os.getuid(), sys.maxsize) as fd:
            index.append(dict(place.put_file(prefix + name, fd), path=name))
    place.put(prefix.rstrip("/") + ".json", json.dumps(index).encode())
    return len(index)


def copy(verb, bucket, region, endpoint, owner, prefix, folder, *digest):
    """pull or push; patient, as the role may be fresh. `digest`: as `pull` takes it."""
    notes.drop()
    place = Bucket(Metadata(), bucket, region, endpoint or None, owner, patience=90.0)
    try:
        print({"pull": pull, "push": push}[verb](place, prefix, folder, *digest))
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.exit("%s s3://%s/%s: %s" % (verb, bucket, prefix, error))
