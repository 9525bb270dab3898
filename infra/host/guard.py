"""The guard: what keeps a training's work when its machine dies. Runs on the host as root, with Python alone.

Every turn it pushes what is new of each run to the run's own prefix in S3: the log, every complete snapshot. On the
spot notice (or when the machine is powered off) it tells the container to save and end in the way that the recipe
says, pushes the rest and marks the run interrupted. It needs no laptop. Its credentials are the instance's role,
which may touch the prefixes of this instance's runs and nothing else.

A run's folder here is /var/lib/provision/runs/ID; its run.json tells all that the guard must know:
    id, bucket, prefix, region, endpoint, attempt, container, snapshots {pattern, parts}, stop {signal, timeout,
    said}, outputs [globs], push_seconds, instance
In S3, below the prefix: log/ATTEMPT-OFFSET (pieces of the log), snapshots/ITERATION/FILE, and last
snapshots/ITERATION/complete.json, without which a snapshot does not exist; outputs/FILE; state.json.
"""

import datetime
import functools
import glob
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

RUNS = os.environ.get("PROVISION_RUNS", "/var/lib/provision/runs")
IMDS = "http://169.254.169.254/latest/"
PUSH_BEFORE_END_S = 15  # of the notice's time, kept for the last push
TURN_S = 1.0
START_S = 600  # a container that was announced and did not come within this time has failed


def log(text):
    print(text, flush=True)


# the metadata service


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
        at = datetime.datetime.strptime(json.loads(text)["time"], "%Y-%m-%dT%H:%M:%SZ")
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        return max(0.0, (at - now).total_seconds())

    def credentials(self):
        """The role's temporary keys."""
        role = self.get("iam/security-credentials/")
        if not role:
            raise OSError("this instance has no role")
        return json.loads(self.get("iam/security-credentials/" + role.split()[0]))


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
    proof = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        keys["AccessKeyId"], scope, names, proof)  # fmt: skip
    del headers["host"]
    return headers


class Bucket:
    """Put, get and list with the instance's role."""

    def __init__(self, metadata, name, region, endpoint=None):
        self.metadata = metadata
        self.region = region
        self.base = "%s/%s" % (endpoint, name) if endpoint else "https://%s.s3.%s.amazonaws.com" % (name, region)
        self.keys = None
        self.until = 0.0

    def call(self, method, key, query="", body=None, size=0, digest=None):
        """One signed request; the open answer. `body` is bytes or an open file of `size` bytes."""
        if time.monotonic() > self.until:
            self.keys = self.metadata.credentials()
            self.until = time.monotonic() + 600
        url = self.base + "/" + urllib.parse.quote(key) + ("?" + query if query else "")
        digest = digest or hashlib.sha256(b"").hexdigest()
        now = datetime.datetime.now(datetime.timezone.utc)
        headers = signature_headers(method, url, self.region, self.keys, digest, now)
        if body is not None:
            headers["Content-Length"] = str(size)
            headers["Content-Type"] = "application/octet-stream"  # urllib would call it a form
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        return urllib.request.urlopen(request, timeout=60)

    def put(self, key, data):
        self.call("PUT", key, body=data, size=len(data), digest=hashlib.sha256(data).hexdigest()).close()

    def put_file(self, key, path):
        """Upload; size and sha256 of what was sent."""
        size, digest = os.path.getsize(path), sha256(path)
        with open(path, "rb") as data:
            self.call("PUT", key, body=data, size=size, digest=digest).close()
        return {"name": os.path.basename(path), "size": size, "sha256": digest}

    def get_file(self, key, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        part = path + ".part"
        with self.call("GET", key) as answer, open(part, "wb") as out:
            while True:
                chunk = answer.read(1 << 20)
                if not chunk:
                    break
                out.write(chunk)
        os.replace(part, path)

    def get_json(self, key):
        try:
            return json.loads(self.call("GET", key).read())
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def list(self, prefix):
        """Keys under `prefix` with their sizes."""
        found, mark = [], ""
        while True:
            query = "list-type=2&prefix=" + urllib.parse.quote(prefix, safe="")
            if mark:
                query = "continuation-token=%s&%s" % (urllib.parse.quote(mark, safe=""), query)
            text = self.call("GET", "", query).read().decode()
            for block in re.findall(r"<Contents>(.*?)</Contents>", text, re.S):
                key = re.search(r"<Key>(.*?)</Key>", block).group(1)
                size = re.search(r"<Size>(\d+)</Size>", block).group(1)
                found.append((xml_text(key), int(size)))
            more = re.search(r"<NextContinuationToken>(.*?)</NextContinuationToken>", text)
            if not more:
                return found
            mark = xml_text(more.group(1))


def xml_text(text):
    for mark, char in (
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", '"'),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ):
        text = text.replace(mark, char)
    return text


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as data:
        for chunk in iter(lambda: data.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


# one run


def open_inodes():
    """(device, inode) of every file that some process has open: a snapshot being written is one of them."""
    found = set()
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            at = os.stat(path)
        except OSError:
            continue
        found.add((at.st_dev, at.st_ino))
    return found


def snapshot_sets(folder, pattern, parts):
    """Snapshots whose every part is there: {iteration: [path relative to the folder, ...]}."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.relpath(os.path.join(base, name), folder)
            match = re.fullmatch(pattern, path)
            if match:
                found.setdefault(int(match.group("iteration")), {})[match.group("part")] = path
    return {at: sorted(have.values()) for at, have in found.items() if set(have) >= set(parts)}


def words_of(words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout.strip()


class Run:
    """One run on this host."""

    def __init__(self, folder, metadata):
        self.folder = folder
        with open(os.path.join(folder, "run.json")) as data:
            self.plan = json.load(data)
        plan = self.plan
        self.bucket = Bucket(metadata, plan["bucket"], plan["region"], plan.get("endpoint"))
        self.log = os.path.join(folder, "log", "attempt-%03d.txt" % plan["attempt"])
        self.note = os.path.join(folder, ".guard-%03d.json" % plan["attempt"])
        self.memory = {"offset": 0, "snapshots": [], "state": None}
        self.pushed_log_at = 0.0
        self.began = os.path.getmtime(os.path.join(folder, "run.json"))
        if os.path.exists(self.note):
            with open(self.note) as data:
                self.memory = json.load(data)

    @property
    def done(self):
        return self.memory["state"] not in (None, "running")

    def remember(self):
        with open(self.note + ".part", "w") as out:
            json.dump(self.memory, out)
        os.replace(self.note + ".part", self.note)

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

    def push_snapshots(self):
        """Every snapshot that is whole and closed, and not there yet; its complete.json last."""
        rule = self.plan["snapshots"]
        if not rule:
            return
        sets = snapshot_sets(self.folder, rule["pattern"], rule["parts"])
        new = {at: paths for at, paths in sets.items() if at not in self.memory["snapshots"]}
        if not new:
            return
        busy = open_inodes()
        for at, paths in sorted(new.items()):
            full = [os.path.join(self.folder, path) for path in paths]
            if any((os.stat(path).st_dev, os.stat(path).st_ino) in busy for path in full):
                continue
            self.push_snapshot(at, paths)

    def push_snapshot(self, iteration, paths):
        place = "%09d" % iteration
        files = []
        for path in paths:
            sent = self.bucket.put_file(
                self.key("snapshots", place, os.path.basename(path)), os.path.join(self.folder, path)
            )
            files.append(dict(sent, path=path))
        whole = {
            "iteration": iteration,
            "files": files,
            "instance": self.plan["instance"],
            "time": now_text(),
        }
        self.bucket.put(self.key("snapshots", place, "complete.json"), json.dumps(whole).encode())
        self.memory["snapshots"].append(iteration)
        self.remember()
        log("%s: snapshot %d is in S3" % (self.plan["id"], iteration))

    def push_outputs(self):
        for pattern in self.plan["outputs"]:
            for path in sorted(glob.glob(os.path.join(self.folder, pattern), recursive=True)):
                if os.path.isfile(path):
                    self.bucket.put_file(self.key("outputs", os.path.relpath(path, self.folder)), path)

    def container(self):
        """docker's status word and the exit code; ("gone", None) where the container is no more."""
        code, text = words_of(
            [
                "docker",
                "inspect",
                "-f",
                "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}",
                self.plan["container"],
            ]
        )
        if code != 0:
            return ("gone", None, False) if "No such" in text else ("unknown", None, False)
        status, exit_code, killed = text.split()
        return status, int(exit_code), killed == "true"

    def set_state(self, state, **more):
        """Write state.json here and in S3."""
        self.memory["state"] = state
        value = {
            "state": state, "attempt": self.plan["attempt"], "instance": self.plan["instance"], "time": now_text(),
            "snapshots": self.memory["snapshots"],
        }  # fmt: skip
        value.update(more)
        self.bucket.put(self.key("state.json"), json.dumps(value).encode())
        self.remember()

    def ended_state(self, status, exit_code):
        """The word for how the container ended."""
        if os.path.exists(os.path.join(self.folder, "stop-requested")):
            return "stopped"
        if status == "gone" or exit_code != 0:
            return "failed"
        said = self.plan["stop"].get("said")
        return "stopped" if said and said in tail(self.log) else "finished"

    def turn(self):
        """Look once: push what is new; when the container has ended, push the rest and say how it ended."""
        status, exit_code, killed = self.container()
        if status == "gone" and self.memory["state"] is None and time.time() - self.began < START_S:
            return  # its plan is written before its container is started
        if status in ("exited", "dead", "gone"):
            self.push_all()
            self.push_outputs()
            self.set_state(self.ended_state(status, exit_code), exit_code=exit_code, out_of_memory=killed)
            log("%s: %s" % (self.plan["id"], self.memory["state"]))
            return
        if self.memory["state"] is None and status == "running":
            self.set_state("running")
        self.push_log()
        self.push_snapshots()

    def push_all(self):
        """Everything, however long the log."""
        before = -1
        while before != self.memory["offset"]:
            before = self.memory["offset"]
            self.push_log(all_of_it=True)
        self.push_snapshots()

    def tell(self):
        """Ask the training to save and end; False where it has ended already."""
        if self.container()[0] in ("exited", "dead", "gone"):
            return False
        stop = self.plan["stop"]
        log("%s: %s to %s" % (self.plan["id"], stop["signal"], self.plan["container"]))
        words_of(["docker", "kill", "-s", stop["signal"], self.plan["container"]])
        return True

    def save(self, reason, until):
        """Wait for the end until `until` (monotonic s) at most, push all, and leave the run resumable."""
        while time.monotonic() < until and self.container()[0] == "running":
            time.sleep(0.2)
        if self.container()[0] == "running":
            log("%s: did not end in time; its last snapshot counts" % self.plan["id"])
        self.push_all()
        self.set_state("interrupted", reason=reason)
        log("%s: interrupted by %s, saved" % (self.plan["id"], reason))


def tail(path, size=4096):
    try:
        with open(path, "rb") as data:
            data.seek(max(0, os.path.getsize(path) - size))
            return data.read().decode(errors="replace")
    except OSError:
        return ""


def now_text():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# the loop


class Guard:
    """All runs of this host, turn by turn."""

    def __init__(self):
        self.metadata = Metadata()
        self.runs = {}
        self.ending = False
        self.noticed = False

    def look(self):
        """Runs that are new here, and runs that began another attempt."""
        for path in glob.glob(os.path.join(RUNS, "*", "run.json")):
            stamp = os.stat(path).st_mtime_ns
            if self.runs.get(path, (None, None))[0] != stamp:
                self.runs[path] = (stamp, Run(os.path.dirname(path), self.metadata))
        return [run for _, run in self.runs.values() if not run.done]

    def each(self, runs, act):
        for run in runs:
            try:
                act(run)
            except (OSError, ValueError, KeyError) as error:
                log("%s: %s (tried again next turn)" % (run.plan["id"], error))

    def turn(self):
        runs = self.look()
        left = None if self.noticed or not runs else self.metadata.notice()
        if left is None:
            self.each(runs, lambda run: run.turn())
            return
        self.noticed = True
        log("spot notice: %d s left" % left)
        self.save(runs, "spot interruption", left)

    def save(self, runs, reason, seconds):
        """Tell all trainings at once, then see each of them home: they share the time."""
        begun = time.monotonic()
        self.each(runs, lambda run: run.turn() if not run.tell() else None)
        for run in [run for run in runs if not run.done]:
            wait = max(2.0, min(run.plan["stop"]["timeout"], seconds - PUSH_BEFORE_END_S))
            self.each([run], functools.partial(Run.save, reason=reason, until=begun + wait))

    def watch(self):
        signal.signal(signal.SIGTERM, self.end)
        log("watching %s" % RUNS)
        while not self.ending:
            try:
                self.turn()
            except (OSError, ValueError) as error:
                log("turn: %s" % error)
            for _ in range(int(TURN_S * 10)):
                if not self.ending:
                    time.sleep(0.1)
        self.last()

    def end(self, *_):
        self.ending = True

    def last(self):
        """The unit is being stopped. On power-off the trainings are saved; on a mere restart they go on."""
        _, state = words_of(["systemctl", "is-system-running"])
        if state == "stopping":
            self.save(self.look(), "power-off", 90)


def pull(bucket, region, endpoint, prefix, folder, patience=90.0):
    """Copy every object below `prefix` into `folder`, those that differ in size only. Waits for a fresh role."""
    place = Bucket(Metadata(), bucket, region, endpoint or None)
    until = time.monotonic() + patience
    keys = patient(until, place, lambda: place.list(prefix))
    for key, size in keys:
        path = os.path.join(folder, key[len(prefix) :].lstrip("/"))
        if not (os.path.exists(path) and os.path.getsize(path) == size):
            place.get_file(key, path)
    print(len(keys))


def push(bucket, region, endpoint, prefix, folder, patience=90.0):
    """Copy the folder's files below `prefix`, and last an index of them that tells that all is there."""
    place = Bucket(Metadata(), bucket, region, endpoint or None)
    until = time.monotonic() + patience
    index = []
    for base, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(base, name)
            relative = os.path.relpath(path, folder)
            sent = patient(until, place, functools.partial(place.put_file, prefix + relative, path))
            index.append(dict(sent, path=relative))
    patient(until, place, lambda: place.put(prefix.rstrip("/") + ".json", json.dumps(index).encode()))
    print(len(index))


def patient(until, place, act):
    """`act`, again while a fresh role is not known everywhere yet (403, some seconds on AWS)."""
    while True:
        try:
            return act()
        except urllib.error.HTTPError as error:
            if error.code != 403 or time.monotonic() > until:
                raise
            place.until = 0.0
            time.sleep(2)


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        Guard().watch()
    elif sys.argv[1] == "pull":
        pull(*sys.argv[2:7])
    elif sys.argv[1] == "push":
        push(*sys.argv[2:7])
