"""The guard: what keeps a training's work when its machine dies. Runs on the host as root, with Python 3.6+ alone.

Every turn it pushes what is new of each run to the run's prefix in S3: log and complete snapshots. On the spot notice
(or power-off) it tells the container to save and end as the recipe says, pushes the rest and marks the run
interrupted. Its credentials are the instance's role, which may touch its runs' prefixes alone.

A run's folder here is /var/lib/provision/runs/ID; its run.json tells all that the guard must know:
    id, bucket, prefix, region, endpoint, attempt, container, snapshots {pattern, parts, keep}, stop {signal,
    timeout, said}, outputs [globs], push_seconds, instance, resumed_from (iteration, 0: from nothing), power_off_after
In S3, below the prefix: log/ATTEMPT-OFFSET (pieces of the log), snapshots/ITERATION/FILE, and last
snapshots/ITERATION/complete.json, without which a snapshot does not exist; outputs/FILE; state.json.

A half-written snapshot must never count: a set is pushed if it was closed while its container ran, or if that
ended well. One thread pushes; another sees the notice and tells the trainings, so that no upload hides it.

Of complete snapshots the newest `keep` stay. complete.json goes first: one that is half deleted is no snapshot. A newer
one is in S3 before an older one goes, so that there is always one to resume from.
"""

import calendar
import contextlib
import datetime
import functools
import glob
import hashlib
import hmac
import html
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

RUNS = os.environ.get("PROVISION_RUNS", "/var/lib/provision/runs")
IMDS = "http://169.254.169.254/latest/"
PUSH_BEFORE_END_S = 15  # of the notice's time, kept for the last push
TIME = "%Y-%m-%dT%H:%M:%SZ"
TURN_S = 1.0
START_S = 600  # a container that was announced and does not come has failed
POWER_OFF_S = 90  # of the unit's TimeoutStopSec
IDLE_S = 120
DOCKER_S = 20
PATIENCE_S = 5.0
PAUSE_S = 0.5
KEYS_S = 600
BIG = 1 << 30  # larger files go in parts: S3 takes 5 GB at once
PART = 256 << 20
FINAL = ("finished", "failed", "stopped")


def log(text):
    print(text.encode("ascii", "backslashreplace").decode(), flush=True)  # a C locale prints no more


def words_of(words):
    """Exit code and output; code 124 where there was no answer."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DOCKER_S)
    except (OSError, subprocess.SubprocessError) as error:
        return 124, "%s: %s" % (words[0], type(error).__name__)
    return done.returncode, (done.stdout.strip() or done.stderr.strip()).decode(errors="replace")


class Metadata:
    """IMDSv2: a token first, renewed before it ends."""

    def __init__(self):
        self.token = None
        self.until = 0.0

    def get(self, path):
        """Text of a metadata path; None where there is none."""
        if time.monotonic() > self.until:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": "3600"}
            request = urllib.request.Request(IMDS + "api/token", method="PUT", headers=headers)
            self.token = urllib.request.urlopen(request, timeout=2).read().decode()
            self.until = time.monotonic() + 3000
        request = urllib.request.Request(IMDS + "meta-data/" + path, headers={"X-aws-ec2-metadata-token": self.token})
        try:
            return urllib.request.urlopen(request, timeout=2).read().decode()
        except urllib.error.HTTPError as error:
            if error.code == 401:
                self.until = 0.0
            return None

    def notice(self):
        """Seconds left when AWS has announced the end of this instance, else None."""
        text = self.get("spot/instance-action")
        if not text:
            return None
        return max(0.0, seconds_until(json.loads(text)["time"]))

    def credentials(self):
        """The role's temporary keys."""
        role = self.get("iam/security-credentials/")
        keys = json.loads(self.get("iam/security-credentials/" + role.split()[0]) or "{}") if role else {}
        if "AccessKeyId" not in keys:
            raise ConnectionError("this instance's role has no keys")  # at first
        return keys


def seconds_until(text):
    return calendar.timegm(time.strptime(text, TIME)) - time.time()


# S3, signed with AWS Signature Version 4 (docs.aws.amazon.com/general/latest/gr/sigv4_signing.html)


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


def open_inodes():
    """(device, inode) of every file that a process has open, as one that is being written."""
    found = set()
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            at = os.stat(path)
        except OSError:
            continue
        found.add((at.st_dev, at.st_ino))
    return found


def snapshot_files(folder, pattern):
    """Every file of a snapshot: iteration, part, path relative to the folder."""
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.relpath(os.path.join(base, name), folder)
            match = re.fullmatch(pattern, path)
            if match:
                yield int(match.group("iteration")), match.group("part"), path


def snapshot_sets(folder, pattern, parts):
    """Snapshots whose every part is there: {iteration: [path relative to the folder, ...]}."""
    found = {}
    for iteration, part, path in snapshot_files(folder, pattern):
        found.setdefault(iteration, {})[part] = path
    return {at: sorted(have.values()) for at, have in found.items() if set(have) >= set(parts)}


class Run:
    """One run on this host."""

    def __init__(self, folder, metadata, words=words_of):
        self.folder = folder
        self.words = words
        with open(os.path.join(folder, "run.json")) as data:
            self.plan = json.load(data)
        plan = self.plan
        self.bucket = Bucket(metadata, plan["bucket"], plan["region"], plan.get("endpoint"))
        self.log = os.path.join(folder, "log", "attempt-%03d.txt" % plan["attempt"])
        self.note = os.path.join(folder, ".guard-%03d.json" % plan["attempt"])
        self.memory = {"offset": 0, "snapshots": [], "state": None}
        self.pushed_log_at = 0.0
        self.began = os.path.getmtime(os.path.join(folder, "run.json"))
        self.seen = {}  # sets that were closed while the container ran, with their sizes
        self.told = None  # why the training was told to save and end
        self.signalled = False
        self.telling = threading.Lock()
        with contextlib.suppress(OSError, ValueError), open(self.note) as data:
            self.memory = json.load(data)

    @property
    def done(self):
        return self.memory["state"] not in (None, "running")

    def remember(self):
        try:
            with open(self.note + ".part", "w") as out:
                json.dump(self.memory, out)
            os.replace(self.note + ".part", self.note)
        except OSError as error:  # a full disk must not stop the pushing
            log("%s: %s" % (self.plan["id"], error))

    def key(self, *parts):
        return "/".join((self.plan["prefix"].rstrip("/"),) + parts)

    def push_log(self, all_of_it=False):
        """New bytes of the log as one more piece."""
        if not os.path.exists(self.log):
            return
        waited = time.monotonic() - self.pushed_log_at
        if waited < self.plan["push_seconds"] and not all_of_it:
            return
        with open(self.log, "rb") as data:
            data.seek(self.memory["offset"])
            piece = data.read(32 << 20)
        if piece:
            name = "%03d-%012d" % (self.plan["attempt"], self.memory["offset"])
            self.bucket.put(self.key("log", name), piece)
            self.memory["offset"] += len(piece)
            self.remember()
        self.pushed_log_at = time.monotonic()

    def closed_sets(self):
        """This attempt's snapshots that are all there, closed, not in S3 yet: {iteration: (paths, sizes)}."""
        rule, closed, busy = self.plan["snapshots"], {}, None
        known = self.memory["snapshots"]
        for at, paths in snapshot_sets(self.folder, rule["pattern"], rule["parts"]).items() if rule else ():
            if at in known or at <= (self.plan.get("resumed_from") or -1) or at < self.memory.get("oldest", 0):
                continue
            stats = [os.stat(os.path.join(self.folder, path)) for path in paths]
            if min(stat.st_mtime for stat in stats) < self.began - 1:
                continue  # an earlier attempt's
            busy = open_inodes() if busy is None else busy
            if not any((stat.st_dev, stat.st_ino) in busy for stat in stats):
                closed[at] = paths, [stat.st_size for stat in stats]
        return closed

    def push_snapshots(self):
        """Every snapshot that is surely whole: a crash closes files too, half-written."""
        closed = self.closed_sets()
        if not closed:
            return
        status, exit_code, _ = self.container()  # after the look, as it may have crashed just before
        if status in ("running", "paused"):
            self.seen.update(closed)
        well = status == "exited" and exit_code == 0
        whole = [at for at in sorted(closed) if well or self.seen.get(at) == closed[at]]
        keep = self.plan["snapshots"].get("keep") or 0
        for at in sorted(whole[-keep:], reverse=self.told is not None):  # the newest first when time is short
            self.push_snapshot(at, closed[at][0])
        if whole and keep and self.told is None:
            try:
                self.rotate(keep)
            except (OSError, http.client.HTTPException) as error:  # after the next snapshot, then
                log("%s: old snapshots: %s" % (self.plan["id"], error))

    def push_snapshot(self, iteration, paths):
        place = "%09d" % iteration
        files = []
        for path in paths:
            key = self.key("snapshots", place, os.path.basename(path))
            files.append(dict(self.bucket.put_file(key, os.path.join(self.folder, path)), path=path))
        whole = {"iteration": iteration, "files": files, "instance": self.plan["instance"], "time": now_text()}
        self.bucket.put(self.key("snapshots", place, "complete.json"), json.dumps(whole).encode())
        self.memory["snapshots"].append(iteration)
        self.remember()
        log("%s: snapshot %d is in S3" % (self.plan["id"], iteration))

    def rotate(self, keep):
        """Delete what is older than the newest `keep`, in S3 and here."""
        base, found = self.key("snapshots") + "/", {}
        for key, _ in self.bucket.list(base):
            place = key[len(base) :].split("/")[0]
            if place.isdigit():
                found.setdefault(int(place), []).append(key)
        whole = sorted(at for at, keys in found.items() if any(key.endswith("/complete.json") for key in keys))
        if len(whole) < keep:
            return
        oldest = whole[-keep]
        for at in sorted(found):
            for key in sorted(found[at], key=lambda key: not key.endswith("/complete.json")) if at < oldest else ():
                self.bucket.ask("DELETE", key)
        self.memory["oldest"] = oldest
        self.memory["snapshots"] = [at for at in self.memory["snapshots"] if at >= oldest]
        self.remember()
        for at, _, path in list(snapshot_files(self.folder, self.plan["snapshots"]["pattern"])):
            if at < oldest:
                os.remove(os.path.join(self.folder, path))

    def push_outputs(self):
        """Push the recipe's outputs; the names of those that cannot be pushed."""
        failed = []
        for pattern in self.plan["outputs"]:
            for path in sorted(glob.glob(os.path.join(self.folder, pattern), recursive=True)):
                name = os.path.relpath(path, self.folder)
                try:
                    if os.path.isfile(path):
                        self.bucket.put_file(self.key("outputs", name), path)
                except OSError as error:
                    if passing(error) and getattr(error, "code", None) != 403:
                        raise
                    log("%s: output %s: %s" % (self.plan["id"], name, error))
                    failed.append(name)
        return failed

    def container(self):
        """docker's status (or "gone", "unknown"), exit code, whether out of memory."""
        form = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}"
        code, text = self.words(["docker", "inspect", "-f", form, self.plan["container"]])
        if code != 0:
            return ("gone" if "no such" in text.lower() else "unknown"), None, False
        status, exit_code, killed = text.split()
        return status, int(exit_code), killed == "true"

    def set_state(self, state, **more):
        """Write state.json; what is not in S3 is not remembered, so that it is tried again."""
        value = {
            "state": state, "attempt": self.plan["attempt"], "instance": self.plan["instance"], "time": now_text(),
            "snapshots": self.memory["snapshots"],
        }  # fmt: skip
        value.update(more)
        self.bucket.put(self.key("state.json"), json.dumps(value).encode())
        self.memory["state"] = state
        self.remember()

    def ended_state(self, status, exit_code):
        """The word for how the container ended."""
        if os.path.exists(os.path.join(self.folder, "stop-requested")):
            return "stopped"
        said = self.plan["stop"].get("said")
        heard = bool(said) and said in tail(self.log)
        if self.told and (exit_code != 0 or heard or not said):  # else it came to its own end
            return "interrupted"
        if status == "gone" or exit_code != 0:
            return "failed"
        return "stopped" if heard else "finished"

    def turn(self):
        """Look once: push what is new, or, when the container has ended, the rest."""
        status, exit_code, killed = self.container()
        if status == "gone" and self.memory["state"] is None and time.time() - self.began < START_S:
            return  # its plan is written before its container is started
        if status in ("exited", "dead", "gone"):
            self.finish(self.ended_state(status, exit_code), exit_code=exit_code, out_of_memory=killed)
            return
        if self.memory["state"] is None and status == "running":
            self.set_state("running")
        self.push_log()
        self.push_snapshots()

    def finish(self, state, **more):
        """Push the rest and say how it ended."""
        self.push_all()
        if state == "interrupted":
            more["reason"] = self.told
        else:
            failed = self.push_outputs()
            more.update({"outputs_failed": failed} if failed else {})
        self.set_state(state, **more)
        log("%s: %s" % (self.plan["id"], state))

    def push_all(self):
        """Everything, however long the log."""
        before = -1
        while before != self.memory["offset"]:
            before = self.memory["offset"]
            self.push_log(all_of_it=True)
        self.push_snapshots()

    def tell(self, reason):
        """Ask the training to save and end, once."""
        with self.telling:
            if self.signalled or self.container()[0] != "running":
                return
            stop = self.plan["stop"]
            log("%s: %s to %s" % (self.plan["id"], stop["signal"], self.plan["container"]))
            self.told = reason  # before the signal: the other thread may see its effect
            code, text = self.words(["docker", "kill", "-s", stop["signal"], self.plan["container"]])
            self.signalled = code == 0
            if code != 0 and "not running" in text:
                self.told = None  # it ended by itself in between

    def farewell(self, reason, over):
        """A turn in the machine's last minutes; the last one with `over`."""
        self.tell(reason)
        self.turn()
        if over and not self.done:
            log("%s: did not end in time; its last snapshot counts" % self.plan["id"])
            self.told = reason
            self.finish("interrupted")


def tail(path, size=4096):
    try:
        with open(path, "rb") as data:
            data.seek(max(0, os.path.getsize(path) - size))
            return data.read().decode(errors="replace")
    except OSError:
        return ""


def now_text():
    return time.strftime(TIME, time.gmtime())


class Guard:
    """All runs of this host, turn by turn."""

    def __init__(self, metadata=None, words=words_of):
        self.metadata = metadata or Metadata()
        self.words = words
        self.runs = {}
        self.ending = False  # the unit is being stopped
        self.lock = threading.Lock()
        self.reason = None
        self.until = None  # monotonic end of this machine, once it is known
        self.idle_since = None
        self.noted = None

    def look(self):
        """Runs that go on here, new ones and new attempts included."""
        found = {}
        for path in glob.glob(os.path.join(RUNS, "*", "run.json")):
            try:
                stamp, known = os.stat(path).st_mtime_ns, self.runs.get(path)
                same = known is not None and known[0] == stamp
                found[path] = known if same else (stamp, Run(os.path.dirname(path), self.metadata, self.words))
            except Exception as error:
                log("%s: %s" % (path, error))
        self.runs = found
        return [run for run in self.known() if not run.done]

    def known(self):
        return [run for _, run in self.runs.values()]

    def each(self, runs, act):
        for run in runs:
            try:
                act(run)
            except Exception as error:  # a guard that dies saves nothing
                log("%s: %s: %s (tried again)" % (run.plan["id"], type(error).__name__, error))

    def turn(self):
        runs = self.look()
        if self.until is not None:
            self.save()
        else:
            self.each(runs, Run.turn)
            self.note([run for run in runs if not run.done])
            self.rest()

    def note(self, unfinished):
        """For idle.sh: the runs of which not all is in S3. A machine that has any is in use."""
        text = "".join(run.plan["id"] + "\n" for run in unfinished)
        if text != self.noted:
            with open(os.path.join(RUNS, ".unfinished"), "w") as out:
                out.write(text)
            self.noted = text

    def sentry(self):
        """In a thread of its own: sees the spot notice and the power-off."""
        silent = False
        while self.until is None:
            try:
                left = self.metadata.notice()
                silent = False
                if left is not None:
                    self.announce("spot interruption", left)
            except Exception as error:
                if not silent:
                    log("metadata: %s: %s" % (type(error).__name__, error))
                silent = True
            if self.ending and self.powering_off():
                self.announce("power-off", POWER_OFF_S)
            time.sleep(TURN_S)

    def announce(self, reason, seconds):
        """This machine ends in so many seconds: tell all trainings."""
        with self.lock:
            if self.until is not None:
                return
            log("%s: %d s left" % (reason, seconds))
            self.reason = reason
            self.until = time.monotonic() + max(seconds, PUSH_BEFORE_END_S + 2)
        self.each(self.known(), lambda run: None if run.done else run.tell(reason))

    def save(self):
        """Push each training once it has ended, and in the last seconds what there is of the others."""
        while True:
            over = time.monotonic() >= self.until - PUSH_BEFORE_END_S
            runs = self.look()
            self.each(runs, lambda run, over=over: run.farewell(self.reason, over))
            time.sleep(0.2)
            if all(run.done for run in runs) or time.monotonic() >= self.until:
                return

    def rest(self):
        """End a machine that was rented for one training and idles."""
        runs = self.known()
        now = time.monotonic()
        wanted = any(run.plan.get("power_off_after") for run in runs)
        if not wanted or not all(run.memory["state"] in FINAL for run in runs):
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = now
        elif now - self.idle_since > IDLE_S:
            self.idle_since = None
            if self.words(["docker", "ps", "-q", "--filter", "label=provision.run"]) == (0, ""):
                log("all trainings here have ended: power-off")
                self.words(["systemctl", "poweroff", "--no-block"])

    def watch(self):
        signal.signal(signal.SIGTERM, self.end)
        log("watching %s" % RUNS)
        threading.Thread(target=self.sentry, daemon=True).start()
        while not self.ending:
            try:
                self.turn()
            except Exception as error:
                log("turn: %s: %s" % (type(error).__name__, error))
            for _ in range(int(TURN_S * 10)):
                time.sleep(0.1)
                if self.ending or self.until is not None:
                    break
        self.last()

    def end(self, *_):
        self.ending = True

    def powering_off(self):
        return self.words(["systemctl", "is-system-running"])[1] == "stopping"

    def last(self):
        """The unit is being stopped. On power-off the trainings are saved; on a restart they go on."""
        if self.until is None and self.powering_off():
            self.announce("power-off", POWER_OFF_S)
        if self.until is not None:
            self.save()


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


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        Guard().watch()
    else:
        copy(*sys.argv[1:7])
