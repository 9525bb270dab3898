"""One simulation: a plan played on a world, and the breaches of rules that come of it.

`prepare` makes the world once in a process; each simulation then runs in a fork of it, so that none sees another's.
"""

import faulthandler
import gc
import io
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.simulate import baton, clock

baton.install()
clock.install()

from infra.shell import Result  # noqa: E402
from tests.simulate import clients, cloud, hosts, plans, rules, trainings, wire  # noqa: E402
from tests.simulate.baton import BATON, Endless  # noqa: E402
from tests.simulate.clients import Client, Laptop, Meeting  # noqa: E402

ALL_END_S = 27 * 3600.0  # the longest deadline of a plan, the schedule's grace, and what AWS takes
STUCK_S = 900  # of real time, after which a simulation that deadlocked is ended
SERVICES = ("ec2", "iam", "sts", "s3", "scheduler", "ssm", "service-quotas")


@dataclass
class Outcome:
    """`breaches` of rules; `met`: faults that really met a call; `seconds` of virtual time."""

    seed: int
    breaches: list[rules.Breach] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    seconds: float = 0.0
    calls: int = 0
    passed: int = 0
    cpu: float = 0.0
    log: str = ""


def prepare(folder: Path) -> cloud.World:
    """The world before anything has happened, and all that any simulation imports."""
    from provision import clouds
    from tests.faults.clients import warm

    wire.install()
    clients.install()
    os.environ["PROVISION_LOCAL_HOME"] = str(folder)
    warm()
    world = cloud.World(folder)
    clouds.local = lambda *_, **__: Result(0, json.dumps(world.record()))  # type: ignore[assignment]
    _install_seams()
    _install_trainings()
    _warm_calls(folder)
    return world


def _install_seams() -> None:
    """Where the product reaches a host, it reaches ours."""
    from infra import keys
    from infra.aws import session_manager
    from provision.machines import bootstrap, login

    sys.stdin = io.StringIO()  # nobody answers a question
    login.SshShell = hosts.Shell  # type: ignore[misc,assignment]
    bootstrap.wait_for_port = hosts.port_answers  # type: ignore[attr-defined]
    session_manager.require_plugin = lambda: None
    pair = keys.new_pair("simulated")
    keys.new_pair = lambda _: pair


def _install_trainings() -> None:
    """Images and engines: what a training needs of them is that they are there."""
    from infra import docker_engine
    from provision.hosts import image, turn
    from provision.training import gpu_check

    def obtained(words: str, *_: object, **__: object) -> image.RunImage:
        return image.RunImage(image.target_of(words), "provision/counting:1", "sha256:1")

    _everywhere(docker_engine.open_remote, trainings.open_remote)
    _everywhere(docker_engine.open_local, lambda: trainings.Engine(None, "this laptop", lambda: None))
    _everywhere(turn.turn, trainings.turn)
    _everywhere(image.obtain, obtained)
    _everywhere(image.deliver, lambda *_, **__: True)
    _everywhere(gpu_check.prove, lambda *_, **__: None)


def _everywhere(one: Any, other: Any) -> None:
    """Put `other` wherever a module of the product calls `one` by a name."""
    for module in [module for name, module in sys.modules.items() if name.split(".")[0] in ("infra", "provision")]:
        for name in [name for name, value in vars(module).items() if value is one]:
            setattr(module, name, other)


def _warm_calls(folder: Path) -> None:
    """AWS's clients of the one cloud that there is, and what moto loads at its first call."""
    from infra.aws.session import client
    from provision import clouds, settings
    from provision.training.request import Host, TrainRequest, resolve

    os.environ.update(Laptop("nobody", folder / "nobody").environ())
    here = clouds.resolve(settings.Settings(cloud="local:sim"))
    for service in SERVICES:
        for more in ({}, {"attempts": 1}) if service == "ec2" else ({},):
            client(here, service, **more)
    ec2, iam, s3 = (client(here, name) for name in ("ec2", "iam", "s3"))
    for api, listing in ((ec2, "describe_instances"), (iam, "list_roles"), (s3, "list_objects_v2")):
        api.get_paginator(listing)
    client(here, "sts").get_caller_identity()
    client(here, "scheduler").get_paginator("list_schedules").paginate().build_full_result()
    group = ec2.create_security_group(GroupName="warm", Description="warm")["GroupId"]
    ec2.delete_security_group(GroupId=group)
    ec2.describe_instances()
    iam.create_role(Path="/warm/", RoleName="warm", AssumeRolePolicyDocument="{}")
    iam.delete_role(RoleName="warm")
    s3.create_bucket(Bucket="warm")
    s3.put_object(Bucket="warm", Key="warm", Body=b"warm")
    s3.list_objects_v2(Bucket="warm")
    s3.get_object(Bucket="warm", Key="warm")["Body"].read()
    s3.delete_object(Bucket="warm", Key="warm")
    s3.delete_bucket(Bucket="warm")
    resolve(TrainRequest(str(trainings.recipe(folder)), {}, gpus=0), Host(plans.KIND))


class Play:
    """One plan on one world. Runs in the thread that has the baton."""

    def __init__(self, world: cloud.World, plan: plans.Plan, folder: Path, mutate: Callable[[], None]) -> None:
        self.world, self.plan, self.folder = world, plan, folder
        self.watch = rules.Watch(world)
        self.clients: dict[str, Client] = {}
        self.laptops: dict[str, Laptop] = {}
        hosts.FOLDER = folder / "hosts"
        self.recipe = trainings.recipe(folder)
        trainings.ON_BEGIN.append(self.watch.on_begin)
        hosts.ON_POWER_OFF.append(lambda instance: self.watch.on_notice(instance, hosts.STOP_S))
        mutate()

    def laptop(self, name: str) -> Laptop:
        if name not in self.laptops:
            place = self.folder / name
            place.mkdir(parents=True, exist_ok=True)
            self.laptops[name] = Laptop(name, place)
        return self.laptops[name]

    def command(self, label: str, who: str, words: Sequence[str]) -> Client:
        meetings = [
            Meeting(event.nth, event.what, event.times)
            for event in self.plan.events
            if event.kind == "fault" and event.label == label
        ]
        made = Client(
            label, self.laptop(who), tuple(self._word(word) for word in words), meetings, on_call=self.watch.on_call
        )
        self.clients[label] = made
        made.start()
        return made

    def _word(self, word: str) -> str:
        """The recipe's place; the id of the newest run."""
        if word == plans.RUN:
            return max(self.watch.runs(), default="counting-none")
        return str(self.recipe) if word == plans.RECIPE else word

    def play(self) -> Outcome:
        for event in self.plan.events:
            BATON.sleep(max(0.0, event.at - BATON.now))
            self._happen(event)
        self._wait_for_all()
        for client in self.clients.values():
            self.watch.breaches += rules.of_client(self.watch, client, self.plan.events)
            client.group.kill()
        if self.plan.seed % 2 or any(event.kind == "price" for event in self.plan.events):
            BATON.sleep(ALL_END_S)
            self.watch.breaches += rules.after_deadlines(self.watch)
        self.watch.breaches += rules.at_end(self.watch)
        last = self.command("last", "stranger", ("down", "--all", "--force", "--volumes"))
        self._wait_for_all()
        self.watch.breaches += rules.after_down(self.watch, last)
        return self.outcome()

    def outcome(self) -> Outcome:
        met = [f"{label}: {one}" for label, client in self.clients.items() for one in client.met]
        calls = sum(client.calls for client in self.clients.values())
        log = "\n".join(
            f"--- {label} ({client.laptop.name}, {client.began:.0f} to {client.ended:.0f} s, exit {client.code}): "
            f"provision {' '.join(client.words)}\n{client.said}"
            for label, client in self.clients.items()
        )
        return Outcome(self.plan.seed, self.watch.breaches, met, BATON.now, calls, BATON.passed, log=log)

    def _wait_for_all(self) -> None:
        while any(client.code is None and not client.hangs for client in self.clients.values()):
            BATON.sleep(5.0)

    def _happen(self, event: plans.Event) -> None:
        act = getattr(self, f"_{event.kind}", None)
        if act:
            act(event)

    def _command(self, event: plans.Event) -> None:
        self.command(event.label, event.who, event.words)

    def _take(self, event: plans.Event) -> None:
        for one in self.world.living():
            name = cloud.tags_of(one).get(cloud.OURS, "")
            if (name == event.name or name.startswith("train-")) and one.lifecycle == "spot":
                self.world.machines.interrupt(one.id, event.seconds, "no-capacity")
                self.watch.on_notice(one.id, event.seconds)

    def _price(self, event: plans.Event) -> None:
        """The market moves; who said a lower price loses the machine."""
        from localcloud import hardware

        for zone in hardware.zones_of(plans.KIND, "us-east-1"):
            now = hardware.spot_price(plans.KIND, zone, datetime.now(timezone.utc))
            hardware.move_price(plans.KIND, zone, round(min(hardware.on_demand(plans.KIND), now * event.factor), 6))
        for one in self.world.living():
            price = hardware.spot_price(one.instance_type, one.placement.zone, datetime.now(timezone.utc))
            most = getattr(getattr(one, "spot_request", None), "price", "") or "inf"
            if one.lifecycle == "spot" and price > float(most):
                self.world.machines.interrupt(one.id, 120.0, "by-price")

    def _full(self, event: plans.Event) -> None:
        from localcloud import faults

        faults._set_capacity({"code": "InsufficientInstanceCapacity"})

        def over() -> None:
            BATON.sleep(event.seconds)
            faults._set_capacity({})

        BATON.spawn(BATON.world, over)

    def _offline(self, event: plans.Event) -> None:
        for client in self.clients.values():
            if client.laptop.name == event.who:
                client.offline_until = BATON.now + event.seconds

    def _sick(self, _: plans.Event) -> None:
        hosts.SICK.append(True)

    def _end(self, event: plans.Event) -> None:
        client = self.clients.get(event.label)
        if client and client.code is None:
            client.end(event.what)

    def _line(self, event: plans.Event) -> None:
        """The machines' line to S3 is down."""
        until = BATON.now + event.seconds
        for host in hosts.BY_ID.values():
            host.group.data["broken"] = lambda: BATON.now < until


def simulate(world: cloud.World, plan: plans.Plan, mutate: Callable[[], None] = lambda: None) -> Outcome:
    """Play the plan in a fork of this process, and hear what came of it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            faulthandler.dump_traceback_later(STUCK_S, exit=True)
            found = _played(world, plan, mutate)
            found.cpu = time.process_time()
            said = json.dumps(vars(found)).encode()
            with os.fdopen(writing, "wb") as out:
                out.write(said)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    if not said:
        return Outcome(plan.seed, [("no traceback", "the simulation itself died")])
    found = Outcome(**json.loads(said))
    found.breaches = [(rule, words) for rule, words in found.breaches]
    return found


def _played(world: cloud.World, plan: plans.Plan, mutate: Callable[[], None]) -> Outcome:
    gc.disable()  # what it frees may wake a thread, and when it comes is not the seed's to say
    BATON.cold = False
    cloud.seeded(plan.seed)
    if plan.seed % 3 == 0:
        trainings.every[:], trainings.whole[:] = [trainings.NEVER], [trainings.LONG]
    with tempfile.TemporaryDirectory(prefix="simulate-") as folder:
        play = Play(world, plan, Path(folder), mutate)
        try:
            return play.play()
        except Endless as error:
            found = play.outcome()
            found.breaches.append(("no hanging", str(error)))
            return found
        except BaseException:
            found = play.outcome()
            found.breaches.append(("no traceback", f"the simulation itself failed\n{traceback.format_exc()}"))
            return found
