"""What an attempt needs on its machine, step by step: those that do not wait for one another go side by side.

image ─────────────┬─ proof of the GPUs ─┐
files ─ snapshot ──┤                     ├─ plan ─ container
inputs, weights ───┴─────────────────────┘
"""

import errno
import functools
import json
import os
import sys
import threading
import time

from . import container, image, notes, registry, resume
from .host import log
from .programs import stable
from .s3 import ERRORS

HERE = os.path.dirname(os.path.abspath(__file__))
DOWNLOAD = os.path.join(os.path.dirname(HERE), "download.py")
SPOOL = os.path.join(os.path.dirname(notes.GUARD), "image")
READY = "/var/lib/provision/ready"
PROGRESS = "/run/provision/progress"
LOOK_S = 1.0
PROOF_S = 300
DOCKER_S = 300
PULLS = 4  # times that a registry is asked
FULL = (errno.ENOSPC, errno.EDQUOT)


# this machine cannot make the attempt, in words that are the same whenever that happens again
Unready = type("Unready", (Exception,), {})
Damage = type("Damage", (Exception,), {})  # S3 has something else than what stands beside it says


class Step(threading.Thread):
    """One step; `error` is what it raised."""

    def __init__(self, name, act):
        super().__init__(name=name, daemon=True)
        self.act, self.error = act, None

    def run(self):
        try:
            self.act()
        except OSError as error:
            full = error.errno in FULL or "no space left" in str(error)
            self.error = Unready("the machine's disk is full" if full else "%s: %s" % (self.name, stable(error)))
        except image.Unusable as error:
            self.error = Unready(str(error))
        except BaseException as error:  # what it did not do must not look done
            self.error = error
        if self.error:
            log("%s: %s: %s" % (self.name, type(self.error).__name__, self.error))


class Steps:
    """The steps of one attempt: `begin` has its capsule, and what they work with; its order only when the container is
    to begin."""

    def __init__(self, begin):
        self.begin, self.capsule, self.run = begin, begin.capsule, begin.run
        self.words, self.programs, self.bucket = begin.words, begin.programs, begin.bucket
        self.folder = os.path.join(notes.RUNS, self.run)
        self.snapshot = None
        self.load = lambda chunks: image.docker_load(chunks, self.programs.children)
        about = os.stat(notes.RUNS)
        self.user = "%d:%d" % (about.st_uid, about.st_gid)

    @property
    def number(self):
        return self.begin.order.number

    @property
    def name(self):
        return container.name_of(self.run, self.number)

    def start(self):
        """All that goes side by side, begun."""
        steps = [Step("image", self.image_and_proof), Step("files", self.files_and_snapshot)]
        wishes = self.capsule.get("inputs") or ()
        steps += [Step(wish["kind"], functools.partial(self.bring, wish)) for wish in wishes]
        if self.capsule.get("weights"):
            steps.append(Step("weights", self.weights))
        for step in steps:
            step.start()
        return steps

    def preparing(self):
        """Whether the bootstrap still works; a unit of its own ends a machine that never gets ready."""
        return not os.path.exists(READY)

    def wait_ready(self):
        """Until Docker, and the GPUs in it, are there. Unready where the bootstrap failed."""
        while self.preparing():
            try:
                with open(PROGRESS, errors="replace") as data:
                    said = data.read().split("\n")
            except OSError:
                said = []
            failed = [line for line in said if line.startswith("failed")]
            if failed:
                raise Unready("the machine could not be prepared: %s" % stable(failed[-1].partition(": ")[2]))
            time.sleep(LOOK_S)

    # image

    def image_and_proof(self):
        wanted = self.capsule["image"]
        if not wanted.get("pull"):
            image.Image(self.bucket, wanted, SPOOL, self.words, self.load).bring(self.wait_ready)
        self.wait_ready()
        if wanted.get("pull"):
            self.pull(wanted["pull"], wanted.get("login"))
        self.gpus = self.free_gpus()
        self.prove()

    def pull(self, name, login):
        """`login`: of a registry that asks who pulls."""
        for last in range(PULLS):
            if self.words(["docker", "image", "inspect", "-f", "{{.Id}}", name])[0] == 0:
                return
            code, err = self.pulled(name, login)
            if code == 0:
                return
            time.sleep(LOOK_S * 5 * (last + 1))
        raise Unready("the image cannot be pulled: %s" % stable(err))

    def pulled(self, name, login):
        """Exit code and last words."""
        if not login:
            code, _, err = self.programs.run(["docker", "pull", "-q", name])
            return code, err
        try:
            return registry.pull(self.programs, name, login, self.bucket.fresh_keys)
        except ERRORS as error:  # a fresh role may be refused for a moment
            return 1, str(error)

    def free_gpus(self):
        """The GPUs that the attempt gets, and how: nobody else uses them here."""
        wanted = int(self.capsule.get("gpus") or 0)
        self.style = ""
        if not wanted:
            return []
        have = container.gpu_indices(self.words)
        if len(have) < wanted:
            raise Unready("the machine has %d GPUs that answer, not %d" % (len(have), wanted))
        self.style = container.gpu_style(self.words)
        if not self.style:
            raise Unready("Docker on this machine cannot give GPUs to containers: it has no toolkit of NVIDIA's")
        return have[:wanted]

    def prove(self):
        """Unready where the image does not find its GPUs."""
        proof = self.capsule.get("proof")
        if not proof or not self.gpus:
            return
        words = container.proof_words(self.capsule, self.user, self.style, self.gpus)
        name = words[words.index("--name") + 1]
        self.words(["docker", "rm", "-f", "-v", name])  # of one that was killed
        code, out, err = self.programs.run(words, limit=PROOF_S)
        if code == 124:
            self.words(["docker", "rm", "-f", "-v", name])
            raise Unready("the GPUs do not answer: asking for them took more than %d s" % PROOF_S)
        found = container.counted(proof, out + err) if code == 0 else 0
        if found != len(self.gpus):
            said = [line.strip() for line in (out + err).split("\n") if line.strip()]
            telling = [line for line in said if any(word in line.lower() for word in ("cuda", "driver", "gpu"))] or said
            last = ": %s" % stable(telling[-1]) if telling else ""
            raise Unready("the image finds %d of its %d GPUs%s" % (found, len(self.gpus), last))
        log("the image finds its %d GPUs" % found)

    # the run's folder

    def files_and_snapshot(self):
        guard = [sys.executable, HERE, "place", self.run]
        code, _, err = self.programs.run(guard, json.dumps(self.capsule["files"]).encode())
        if code != 0:
            raise OSError(err.strip() or "code %d" % code)
        below = self.begin.given["prefix"].rstrip("/") + "/snapshots/"
        found = resume.snapshots(self.bucket, below, self.capsule.get("stem"), self.capsule.get("chosen") or ())
        for one in reversed(found):
            log("%s: from the snapshot of iteration %d" % (self.run, one.iteration))
            folder = os.path.join(self.folder, one.folder) if one.folder else self.folder
            try:
                self.copied(self.begin.given, one.prefix, folder)
            except Damage as error:
                log("the snapshot of iteration %d is damaged: %s" % (one.iteration, error))
            else:
                self.snapshot = one
                return
        if found:
            raise Unready("no snapshot of the run is whole in S3")

    def copied(self, place, prefix, folder, digest=""):
        """Pull a prefix to a folder, as the login user; with `digest` what an index of that sum names, and no more.
        Damage where S3 has something else than it says."""
        given = self.begin.given
        words = [sys.executable, HERE, "pull", place["bucket"], place.get("region") or given["region"]]
        words += [place.get("endpoint") or given.get("s3") or "", place.get("owner") or "", prefix, folder]
        words += [digest] if digest else []
        code, _, err = self.programs.run(words)
        if code != 0:
            said = (err.strip().split("\n") or [""])[-1]
            damaged = "is damaged" in said or "is missing" in said
            raise (Damage if damaged else OSError)(said.partition("%s: " % prefix)[2] or said)

    # data, code, weights

    def bring(self, wish):
        """Data or code from S3 to its folder, and its copy."""
        try:
            self.copied(wish, wish["prefix"], wish["folder"], wish.get("sum") or "")
        except Damage as error:
            raise Unready("the %s of the run in S3: %s" % (wish["kind"], stable(error))) from None
        if wish.get("copy"):
            words = ["sh", "-ec", 'mkdir -p "$1" "$2"; cp -a "$1/." "$2"', "sh", wish["folder"], wish["copy"]]
            code, _, err = self.programs.run(words, user=True)
            if code != 0:
                raise OSError(err.strip() or "code %d" % code)

    def weights(self):
        words = [sys.executable, DOWNLOAD, json.dumps(self.capsule["weights"])]
        code, out, err = self.programs.run(words, user=True)
        answers = [json.loads(line) for line in out.split("\n") if line.startswith("{")]
        for answer in answers:
            if "error" in answer:
                kind, what = answer["error"], answer["what"]
                if kind == "full":
                    raise Unready("the machine's disk is full")
                more = ": %s" % stable(what) if kind in ("mismatch", "size", "page", "refused") else ""
                raise Unready("weights %s: %s%s" % (os.path.basename(answer["path"]), kind, more))
        if code != 0 or len(answers) < len(self.capsule["weights"]):
            raise OSError((err.strip().split("\n") or [""])[-1] or "code %d" % code)

    # the container

    def plan(self, snapshot):
        """The guard's plan of this attempt."""
        given = self.begin.given
        return dict(
            self.capsule["plan"], id=self.run, bucket=given["bucket"], prefix=given["prefix"], region=given["region"],
            endpoint=given.get("s3") or "", owner=given.get("owner", ""), attempt=self.number, container=self.name,
            instance=self.begin.instance, machine=self.capsule.get("name", ""),
            resumed_from=snapshot.iteration if snapshot else 0,
        )  # fmt: skip

    def begin_container(self):
        """The plan first, so that no container is unwatched; and nothing starts that somebody has stopped."""
        stem = self.snapshot.stem if self.snapshot else None
        self.words(["docker", "rm", "-v", self.name])  # one that was only made; docker removes none that runs
        notes.plan(self.run, self.plan(self.snapshot))
        words = container.create_words(self.capsule, self.number, self.user, self.style, self.gpus, stem)
        self.docker(words)
        self.begin.look_once()
        self.docker(["docker", "start", self.name])

    def docker(self, words):
        code, _, err = self.programs.run(words, limit=DOCKER_S)
        if code != 0:
            said = (err.strip().split("\n") or [""])[-1]
            raise Unready("the container cannot be started: %s" % stable(said or "code %d" % code))
