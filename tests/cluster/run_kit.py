"""Digits trainings on the tests' cluster, by the engine's own functions."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from infra.docker_engine import open_local
from infra.shell import LocalShell
from infra.ssh_folder import SshFolder
from provision.engines.slurm import cluster as clusters
from provision.engines.slurm import image as images
from provision.engines.slurm import looking
from provision.engines.slurm.engine import Slurm, State
from provision.engines.slurm.submitting import Limits
from provision.hosts import image
from provision.runs import inputs, store
from provision.runs.manifest import Manifest, RunSettings
from provision.runs.store import AnyRun
from provision.training import request
from provision.training.request import Host, TrainRequest
from tests.cluster.cluster_kit import Cluster, docker, until

_IMAGES = "/shared/alice/images"
LONG = {"iterations": "4000", "snapshot_every": "100", "test_every": "2000"}
ENDED = ("finished", "failed", "stopped", "lost")


@dataclass
class Bench:
    """An engine on one place of the cluster. `said`: what it told."""

    slurm: Cluster
    known: clusters.Cluster
    place: SshFolder
    said: list[str]

    @property
    def engine(self) -> Slurm:
        return Slurm(self.known, self.place, self.said.append)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, slurm: Cluster, shared: str, **words: str) -> Iterator["Bench"]:
        noted = clusters.made("campus", "campus", shared=shared, **words)
        door = clusters.door(noted)
        try:
            slurm.alice("sh", "-c", f"mkdir -p -m 700 {shared} {_IMAGES}; ln -sfn {_IMAGES} {shared}/images")
            known = looking.check(noted, door)
            made = cls(slurm, known, SshFolder(door, "campus"), [])
            made.seed()
            yield made
        finally:
            door.close()
            slurm.alice("scancel", "-u", "alice", check=False)
            until(lambda: not slurm.queue(), "the queue is empty")

    def seed(self) -> None:
        """Let the cluster have Caffe's image, past the slow line; `test_image.py` brings one as users do."""
        found = image.obtain("caffe-debian")
        name = images.name_of(found.digest)
        if images.is_there(self.place, found.digest, "charliecloud"):
            return
        tar = f"{_IMAGES}/{name}.tar.gz"
        container = docker("create", found.tag, "true").strip()
        try:
            login = f"docker exec -i -u alice {self.slurm.name}-login sh -c 'cat > {tar}'"
            LocalShell().run(["sh", "-ec", f"docker export {container} | {login}"])
        finally:
            docker("rm", "-v", container)
        environment, entry = open_local().configuration(found.tag)
        about = {"id": found.digest, "tag": found.tag, "env": environment, "entry": entry}
        self.place.door.ask("unpack", name, "charliecloud", about)

    def planned(self, options: dict[str, str], command: tuple[str, ...] = ()) -> AnyRun:
        """A run that is written down; `command` in place of the recipe's."""
        plan = request.resolve(
            TrainRequest("digits", options, image="caffe-debian"), Host("gpu", 1, "V100", "470.256.02")
        )
        found = image.obtain(plan.stack)
        rendered = plan.rendered
        if command:
            import msgspec

            rendered = msgspec.structs.replace(rendered, command=command)
        manifest = Manifest(
            id=store.new_id("digits"), created="2026-11-30T00:00:00+00:00", recipe=plan.recipe, rendered=rendered,
            stack=plan.stack, image=found.tag, digest=found.digest, data=plan.data, project=plan.project, gpus=1,
            name="campus", type="gpu", market="slurm", region="", settings=RunSettings(push_seconds=1.0),
        )  # fmt: skip
        run = AnyRun(self.place, manifest.id)
        run.write_manifest(manifest)
        return run

    def begin(self, run: AnyRun, limits: Limits | None = None) -> str:
        """Queue the run; its job."""
        folder = inputs.local(run, "data", run.manifest.data)  # type: ignore[arg-type]
        binds = self.engine.bring(run.manifest, {"data": folder})
        return self.engine.submit(run, binds, limits or Limits(hours=1, attempts=6, grace_seconds=40)).job

    def state(self, run: AnyRun) -> State:
        return self.engine.how(run)

    def until(self, run: AnyRun, true: Callable[[State], object], what: str, seconds: float = 240.0) -> State:
        """Wait for how the run stands; the assertion shows how it stood, and what its jobs printed."""
        seen: list[State] = []

        def look() -> object:
            seen.append(self.state(run))
            return true(seen[-1])

        try:
            until(look, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it stands at {seen[-1]}; its jobs: {self.printed(run)}") from None
        return seen[-1]

    def ended(self, run: AnyRun, seconds: float = 400.0) -> State:
        return self.until(run, lambda now: now.word in ENDED, f"{run.id} ends", seconds)

    def snapshot(self, run: AnyRun) -> int:
        """The newest whole snapshot's iteration, once there is one."""
        until(lambda: run.snapshots(), "a snapshot")
        return run.snapshots()[-1].iteration

    def nothing_queued(self) -> None:
        until(lambda: not self.slurm.queue(), "the queue is empty")

    def printed(self, run: AnyRun) -> str:
        keys = [stored.key for stored in self.place.objects(run.key("control", "job-")) if stored.key.endswith(".txt")]
        return "\n".join((self.place.read(key) or b"").decode() for key in keys)

    def log(self, run: AnyRun) -> str:
        return "".join((self.place.read(piece.key) or b"").decode() for piece in run.log_pieces())

    def attempts(self, run: AnyRun) -> list[int]:
        """What each attempt went on from."""
        return [attempt.resumed_from for attempt in run.attempts()]

    def word(self, run: AnyRun) -> str:
        return str(json.loads(self.place.read(run.key("state.json")) or b"{}").get("state"))
