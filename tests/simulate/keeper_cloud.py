"""AWS as the keeper sees it, and its machines, in a dictionary and in virtual time. What is drawn comes from one seed.

A machine lives as infra/host/guard has it: it boots, says that it is there, looks for its order for ten minutes, beats
each minute, trains from the newest snapshot, saves at a notice, answers with a word. Each has its mishap. Whatever the
keeper must never do is written down in `broken` when it does it.
"""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from tests.simulate.asl import EPOCH, Execution
from tests.simulate.asl_values import Broken
from tests.simulate.keeper_drive import Keeper, Time, Waiting

BEAT_S, ORDER_S, HOUR = 60.0, 600.0, 3600.0
SLOW_S, BOOT_S, SEEN_S = 1200.0, 2100.0, 480.0  # a boot at most; one that is none; until an early end is seen
COMING = ("Here?", "Here now?", "Boots?")
LIVING = ("pending", "running", "shutting-down")
MISHAPS = ("notice", "notice", "notice", "taken", "hung", "hung at once", "no boot", "slow boot", "early end",
           "no host", "unready", "fails", "mute", "person", "")  # fmt: skip


@dataclass
class Machine:
    """One instance. `mishap` befalls it `after` seconds from the begin of its training, or at its boot."""

    id: str
    launched: float
    launch: str
    tokens: str
    market: str
    mishap: str
    after: float
    why: str = ""
    state: str = "pending"
    reason: str = ""
    ended: float = 0.0
    order: tuple[int, str] | None = None
    beaten: float = 0.0
    hung: bool = False
    mute: bool = False
    person: bool = False
    unread: bool = False
    noticed: float | None = None
    saved: bool = False
    word: str = ""
    training: float | None = None
    base: int = 0
    brought: int = 0
    here: bool = False
    armed: float = float("inf")
    free: bool = False
    clean: bool = False
    stubborn: float = 40.0

    @property
    def alive(self) -> bool:
        return self.state in ("pending", "running")


@dataclass
class Image:
    """A machine image, and its snapshot of the same id; `of` is the machine of which it is made."""

    id: str
    run: str
    of: Machine | None
    begun: float
    state: str = "pending"
    settled: float = 0.0


@dataclass
class Cloud:
    """The account. `ends` is the run's end; `droughts` are times without capacity for a market; `faults` is how often
    a call fails, or its answer is lost."""

    seed: int
    ends: float
    total: int
    droughts: dict[str, list[tuple[float, float]]]
    faults: float = 0.03
    mishaps: tuple[str, ...] = MISHAPS
    time: Time = field(default_factory=Time)
    machines: dict[str, Machine] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)
    snapshots: list[int] = field(default_factory=list)
    schedules: dict[str, tuple[float, str]] = field(default_factory=dict)
    things: set[tuple[str, str]] = field(default_factory=set)
    policies: dict[str, list[str]] = field(default_factory=dict)
    fleets: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    keepers: list[Keeper] = field(default_factory=list)
    lost_fleets: set[str] = field(default_factory=set)
    refused: str = "InsufficientInstanceCapacity"
    row: dict[str, int] = field(default_factory=dict)  # of an action's faults, one after another
    unlucky: bool = False
    often: dict[str, float] = field(default_factory=dict)  # actions that have more faults
    alone: bool = False  # a keeper was stopped
    deaf: float = 0.0  # how often what a machine says to its keeper is lost; it says it again
    stuck: bool = False  # no machine can be ended
    images: dict[str, Image] = field(default_factory=dict)
    pieces: dict[str, Image] = field(default_factory=dict)  # the images' snapshots, by the same id
    bakes: str = ""  # the name of the image that a machine becomes
    slow_images: bool = False

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    # calls

    def keep(self, execution: Execution) -> Keeper:
        """Start the execution, with all that a laptop makes before."""
        launch = execution.given["launch"]
        templates = [launch, f"{launch}-on-demand"][: len(execution.given["markets"])]
        self.things |= {("template", name) for name in templates}
        self.things |= {(kind, launch) for kind in ("group", "role", "profile", "in profile")}
        self.policies[launch] = ["run", "data"]
        self.keepers.append(Keeper(execution, self.time, self.answer, self.waiting))
        return self.keepers[-1]

    def answer(self, service: str, action: str, words: dict[str, Any], execution: Execution) -> tuple[Any, float]:
        """The answer and how long it took. A fault comes before the call has done anything, or after."""
        fault = self.draw.random()
        kind = service.capitalize()
        busy = Broken(f"{kind}.{kind}Exception", f"slow down (Service: {kind}, Status Code: 503, Request ID: 1)")
        faults = self.often.get(action, self.faults)
        bad = fault < faults or fault > 1 - faults
        self.row[action] = self.row.get(action, 0) + 1 if bad else 0
        self.unlucky = self.unlucky or self.row[action] > 2
        if fault < faults:
            return busy, 1.0
        try:
            value = getattr(self, f"_{service}_{action}")(words)
        except Broken as broken:
            return broken, 0.2
        if fault > 1 - faults:
            if action == "createFleet":
                self.lost_fleets.add(words["ClientToken"])
            hasty = fault > 1 - faults / 2 and "/control/" not in str(words.get("Key"))  # that state's limit is days
            lost = Broken("States.Timeout") if hasty else Broken(f"{kind}.SdkClientException", "")
            return lost, 60.0
        return value, 0.2

    def say(self, rule: str) -> None:
        """A rule is broken."""
        self.broken.append(f"{self.time.now:.0f} {rule}")

    # S3

    def _s3_putObject(self, words: dict[str, Any]) -> Any:
        key = words["Key"]
        if words.get("IfNoneMatch") == "*" and key in self.objects:
            raise Broken("S3.S3Exception", "a condition did not hold (Service: S3, Status Code: 412, Request ID: 1)")
        if "/control/" in key:
            self._ordered(key.rsplit("/", 1)[-1], words["Body"])
        if "/attempts/" in key:
            self._noted(key, words["Body"])
        self.objects[key] = json.loads(json.dumps(words["Body"]))
        return {"ETag": "1"}

    def _noted(self, key: str, body: Any) -> None:
        before = self.objects.get(key)
        if before and before["launch"] != body["launch"]:
            self.say("one number is of two launches")
        if before and before["instance"] and before["instance"] != body["instance"]:
            self.say("one number is of two machines")

    def _s3_getObject(self, words: dict[str, Any]) -> Any:
        if words["Key"] not in self.objects:
            raise Broken("S3.NoSuchKeyException", "no such key (Service: S3, Status Code: 404, Request ID: 1)")
        body = self.objects[words["Key"]]
        return {"Body": body if isinstance(body, str) else json.dumps(body), "ContentLength": 1}

    def _s3_headObject(self, words: dict[str, Any]) -> Any:
        if words["Key"] not in self.objects:
            raise Broken("S3.NoSuchKeyException", "no such key (Service: S3, Status Code: 404, Request ID: 1)")
        return {"ContentLength": 1}

    def _ordered(self, instance: str, body: Any) -> None:
        """What must be so when a machine gets its order."""
        machine = self.machines[instance]
        machine.beaten = self.time.now
        if not machine.here:
            self.say("an order to a machine that is not there")
        number = int(body["number"])
        others = [one for one in self.machines.values() if one.order and one is not machine]
        if any(one.state != "terminated" for one in others):
            self.say("two machines have an order")
        if any(one.order and one.order[0] == number for one in others):
            self.say("one number has two orders")
        if any(one.word in ("failed", "finished", "stopped") and not one.unread for one in others):
            self.say("a training that was over is repeated")
        if any(one.person for one in others) and not self.unlucky:
            self.say("a machine that a person ended is replaced")
        if self.schedules.get(machine.launch, (0, ""))[1] != instance:
            self.say("an order without a second end")
        last = others[-2:]
        if len(last) == 2 and all(one.word == "unready" for one in last) and last[0].why == last[1].why:
            self.say("a third machine after two that were unready for one reason")

    # EC2

    def _ec2_createFleet(self, words: dict[str, Any]) -> Any:
        token, market = words["ClientToken"], words["TargetCapacitySpecification"]["DefaultTargetCapacityType"]
        if self.time.now > self.ends - 900 + 400:  # with the tries of an asking
            self.say("a machine is asked for after the time")
        self._asked_anew(token, market)
        known = self.fleets.get(token)
        if known and known["Errors"] and token not in self.lost_fleets and not self._dry(market):
            self.say("an old refusal is taken for a new one")
        if token not in self.fleets:
            self.fleets[token] = self._launched(words, token, market)
        return self.fleets[token]

    def _dry(self, market: str) -> bool:
        return any(start <= self.time.now < end for start, end in self.droughts.get(market, ()))

    def _asked_anew(self, token: str, market: str) -> None:
        attempt = token.rsplit("-", 1)[0]
        for one in self.machines.values():
            known = one.tokens.rsplit("-", 1)[0] == attempt and one.market == market
            if known and one.tokens != token and one.alive and one.tokens in self.lost_fleets and not one.order:
                self.say("a machine whose launch's answer was lost is forgotten")

    def _launched(self, words: dict[str, Any], token: str, market: str) -> dict[str, Any]:
        if self._dry(market):
            return {"FleetId": "f", "Errors": [{"ErrorCode": self.refused, "ErrorMessage": "no"}] * 2, "Instances": []}
        name = words["LaunchTemplateConfigs"][0]["LaunchTemplateSpecification"]["LaunchTemplateName"]
        ours = [one for one in self.machines.values() if one.launch == name.removesuffix("-on-demand")]
        last = [one.mishap for one in ours if one.armed <= self.time.now][-2:]  # others it never saw boot
        if last in (["no host"] * 2, ["no boot"] * 2) and not self.unlucky:
            self.say("a third machine after two that ended in the same way before they were there")
        machine = Machine(
            f"i-{len(self.machines) + 1}", self.time.now, name.removesuffix("-on-demand"), token, market,
            self.draw.choice(self.mishaps), self.draw.uniform(30, 3 * HOUR),
        )  # fmt: skip
        machine.stubborn = self.draw.uniform(5, 120)
        if market != "spot" and machine.mishap == "notice":
            machine.mishap = ""
        self.machines[machine.id] = machine
        self.time.after(self.draw.uniform(1, 20), lambda: self._running(machine))
        self.time.at(self.ends, lambda: self._off(machine, "Client.InstanceInitiatedShutdown"))
        return {"FleetId": "f", "Errors": [], "Instances": [{"InstanceIds": [machine.id], "InstanceType": "p3"}]}

    def _ec2_describeInstances(self, words: dict[str, Any]) -> Any:
        wanted = {one["Name"]: one["Values"] for one in words["Filters"]}
        ids, launches = wanted.get("instance-id"), wanted.get("tag:provision:resource")
        rows = [
            {"InstanceId": one.id, "State": {"Name": one.state}, "LaunchTime": f"{EPOCH:%Y-%m-%dT%H:%M:%S}Z",
             "Placement": {"AvailabilityZone": "us-east-1a"},
             **({"StateReason": {"Code": one.reason}} if one.reason else {})}
            for one in self.machines.values()
            if self.time.now - one.launched > 8 and (not ids or one.id in ids)
            and (not launches or one.launch in launches) and one.state in wanted.get("instance-state-name", [one.state])
        ]  # fmt: skip
        return {"Reservations": [{"Instances": [row]} for row in rows]}

    def _ec2_terminateInstances(self, words: dict[str, Any]) -> Any:
        for instance in words["InstanceIds"]:
            machine = self.machines[instance]
            self._may_end(machine)
            self._off(machine, "Client.UserInitiatedShutdown")
        return {"TerminatingInstances": []}

    def _may_end(self, machine: Machine) -> None:
        """What must be so when the keeper ends a machine."""
        if not machine.alive:
            return
        now, token = self.time.now, machine.order[1] if machine.order else ""
        armed, age = self.schedules.get(machine.launch, (0, ""))[1] == machine.id, now - machine.launched
        if armed and not machine.here and not machine.hung and age < SLOW_S and not self.unlucky:
            self.say("a machine that boots is ended")
        if token in self.waiting and not machine.hung and not machine.mute:
            self.say("a machine that works is ended")
        if machine.noticed is not None and not machine.saved:
            self.say("a machine is ended before it has saved")
        if any(one.of is machine and one.state == "pending" for one in self.images.values()) and not self.unlucky:
            self.say("a machine is ended while its image is made")
        made = [one.settled for one in self.images.values() if one.of is machine and one.state != "pending"]
        if made and now > max(made) + 200 and not (self.unlucky or self.stuck):  # a lost answer takes a minute
            self.say("a machine is paid for after its image is made")
        if machine.free and machine.noticed is not None and now < machine.noticed + 120:
            self.say("a free hour is paid for")

    def _ec2_deleteLaunchTemplate(self, words: dict[str, Any]) -> Any:
        return self._gone(("template", words["LaunchTemplateName"]), "Ec2.Ec2Exception")

    def _ec2_deleteSecurityGroup(self, words: dict[str, Any]) -> Any:
        if any(one.launch == words["GroupName"] and one.state in LIVING for one in self.machines.values()):
            raise Broken("Ec2.Ec2Exception", "a dependent object (Service: Ec2, Status Code: 400, Request ID: 1)")
        return self._gone(("group", words["GroupName"]), "Ec2.Ec2Exception")

    def _gone(self, thing: tuple[str, str], error: str) -> Any:
        if thing not in self.things:
            raise Broken(error, f"no {thing}")
        self.things.discard(thing)
        return {}

    # machine images

    def image(self, run: str, machine: Machine | None) -> Image:
        """AWS begins to make an image of that name, which it gives once."""
        if self.images:
            raise Broken("Ec2.Ec2Exception", "the name is taken (Service: Ec2, Status Code: 400, Request ID: 1)")
        one = Image(f"ami-{len(self.pieces) + 1}", run, machine, self.time.now)
        self.images[one.id] = self.pieces[one.id] = one
        takes = self.draw.uniform(1500, 9000) if self.slow_images else self.draw.uniform(30, 900)
        self.time.after(takes, lambda: self._settled(one, "failed" if self.draw.random() < 0.2 else "available"))
        return one

    def _settled(self, one: Image, state: str) -> None:
        one.state, one.settled = state, self.time.now

    def _ec2_createImage(self, words: dict[str, Any]) -> Any:
        machine = self.machines[words["InstanceId"]]
        if not machine.clean or machine.word != "finished":
            self.say("an image of a machine that is not clean")
        if any(one.run != "r" and self.time.now - one.begun > 600 and one.state != "failed"
               for one in self.images.values()):  # fmt: skip
            self.say("an image is asked for that is there")
        if machine.state != "running":
            raise Broken("Ec2.Ec2Exception", "it does not run (Service: Ec2, Status Code: 400, Request ID: 1)")
        return {"ImageId": self.image("r", machine).id}

    def _ec2_describeImages(self, words: dict[str, Any]) -> Any:
        wanted = {one["Name"]: one["Values"] for one in words["Filters"]}
        runs, states = wanted.get("tag:provision:run"), wanted.get("state")
        rows = [
            {"ImageId": one.id, "State": one.state}
            for one in self.images.values()
            if (not runs or one.run in runs) and (not states or one.state in states)
        ]
        return {"Images": rows}

    def _ec2_describeSnapshots(self, words: dict[str, Any]) -> Any:
        [run] = next(one["Values"] for one in words["Filters"] if one["Name"] == "tag:provision:run")
        return {"Snapshots": [{"SnapshotId": one.id} for one in self.pieces.values() if one.run == run]}

    def _ec2_deregisterImage(self, words: dict[str, Any]) -> Any:
        one = self.images.pop(words["ImageId"], None)
        if one is None or one.run != "r":
            raise Broken("Ec2.Ec2Exception", "no image (Service: Ec2, Status Code: 400, Request ID: 1)")
        if one.state == "available" and not self.unlucky:
            self.say("an image that is whole is deleted")
        return {}

    def _ec2_deleteSnapshot(self, words: dict[str, Any]) -> Any:
        if words["SnapshotId"] in self.images or words["SnapshotId"] not in self.pieces:
            raise Broken("Ec2.Ec2Exception", "in use (Service: Ec2, Status Code: 400, Request ID: 1)")
        del self.pieces[words["SnapshotId"]]
        return {}

    # the others

    def _scheduler_createSchedule(self, words: dict[str, Any]) -> Any:
        if words["Name"] in self.schedules:
            raise Broken("Scheduler.ConflictException", "is there")
        return self._scheduler_updateSchedule(words)

    def _scheduler_updateSchedule(self, words: dict[str, Any]) -> Any:
        instance = json.loads(words["Target"]["Input"])["InstanceIds"][0]
        self.schedules[words["Name"]] = (self.ends, instance)
        self.machines[instance].armed = min(self.machines[instance].armed, self.time.now)
        self.time.at(self.ends, lambda: self._second_end(words["Name"], instance))
        return {}

    def _second_end(self, name: str, instance: str) -> None:
        if self.schedules.get(name) == (self.ends, instance):
            self._off(self.machines[instance], "Client.UserInitiatedShutdown")
            del self.schedules[name]

    def _scheduler_deleteSchedule(self, words: dict[str, Any]) -> Any:
        if any(one.launch == words["Name"] and one.state in LIVING for one in self.machines.values()):
            self.say("a machine lives when its launch is cleared")
        if words["Name"] not in self.schedules:
            raise Broken("Scheduler.ResourceNotFoundException", "no schedule")
        del self.schedules[words["Name"]]
        return {}

    def _iam_listRolePolicies(self, words: dict[str, Any]) -> Any:
        return {"PolicyNames": list(self.policies.get(words["RoleName"], [])), "IsTruncated": False}

    def _iam_deleteRolePolicy(self, words: dict[str, Any]) -> Any:
        if words["PolicyName"] not in self.policies[words["RoleName"]]:
            raise Broken("Iam.NoSuchEntityException", "no policy")
        self.policies[words["RoleName"]].remove(words["PolicyName"])
        return {}

    def _iam_removeRoleFromInstanceProfile(self, words: dict[str, Any]) -> Any:
        return self._gone(("in profile", words["RoleName"]), "Iam.NoSuchEntityException")

    def _iam_deleteInstanceProfile(self, words: dict[str, Any]) -> Any:
        if ("in profile", words["InstanceProfileName"]) in self.things:
            raise Broken("Iam.DeleteConflictException", "a role is in it")
        return self._gone(("profile", words["InstanceProfileName"]), "Iam.NoSuchEntityException")

    def _iam_deleteRole(self, words: dict[str, Any]) -> Any:
        if self.policies.get(words["RoleName"]) or ("in profile", words["RoleName"]) in self.things:
            raise Broken("Iam.DeleteConflictException", "it has policies")
        return self._gone(("role", words["RoleName"]), "Iam.NoSuchEntityException")

    def _sns_publish(self, words: dict[str, Any]) -> Any:
        self.told.append(words["Message"])
        return {"MessageId": "1"}

    # a machine's life

    def _off(self, machine: Machine, reason: str) -> None:
        if machine.alive:
            if machine.hung and machine.beaten and self.time.now - machine.beaten > 2 * 900 and not self.alone:
                self.say("a silent machine is kept for long")
            if machine.hung and not machine.here and self.time.now - machine.armed > BOOT_S and not self.alone:
                self.say("a machine that never came is kept for long")
            if not machine.here:
                self.time.after(SEEN_S, lambda: self._seen_ended(machine))
            machine.state, machine.reason = "shutting-down", reason
            if self.stuck:
                return
            self.time.after(machine.stubborn, lambda: self._terminated(machine))

    def _seen_ended(self, machine: Machine) -> None:
        """A machine that ended while it booted is not waited for."""
        newest = machine is list(self.machines.values())[-1]
        waited_for = any(not one.over and one.execution.entered[-1][1] in COMING for one in self.keepers)
        if newest and waited_for:
            self.say("a machine that ended before it was there is waited for")

    def _terminated(self, machine: Machine) -> None:
        machine.state, machine.ended = "terminated", self.time.now

    def _running(self, machine: Machine) -> None:
        if not machine.alive:
            return
        machine.state = "running"
        boots = self.draw.uniform(*((900, SLOW_S - 30) if machine.mishap == "slow boot" else (40, 300)))
        if machine.mishap == "no boot":
            machine.hung = True
        elif machine.mishap == "early end":
            self.time.after(boots / 2, lambda: self._off(machine, "Server.SpotInstanceTermination"))
        elif machine.mishap == "no host":  # what it begins with is missing: the stub powers it off
            self.time.after(boots + 60, lambda: self._off(machine, "Client.InstanceInitiatedShutdown"))
        else:
            self.time.after(boots, lambda: self._come(machine))

    def _come(self, machine: Machine) -> None:
        """It says that it is there, and looks for its order."""
        if machine.alive:
            machine.here = True
            self.objects[f"runs/r/keys/{machine.id}"] = "ssh-ed25519 AAAA"
            self._look_for_order(machine, self.time.now + ORDER_S)

    def _look_for_order(self, machine: Machine, until: float) -> None:
        if not machine.alive:
            return
        key = next((key for key in self.objects if key.endswith(f"/control/{machine.id}")), None)
        if key is None:
            if self.time.now > until:
                self._off(machine, "Client.InstanceInitiatedShutdown")
            else:
                self.time.after(10, lambda: self._look_for_order(machine, until))
            return
        order = self.objects[key]
        machine.order, machine.beaten = (int(order["number"]), order["token"]), self.time.now
        self._beat(machine)
        if machine.mishap == "hung at once":
            self.time.after(30, lambda: self._hang(machine))
        if machine.mishap == "unready":
            machine.why = self.draw.choice(["image", "image", "gpu"])
            self.time.after(30, lambda: self._over(machine, "unready", why=machine.why))
        else:
            self.time.after(self.draw.uniform(30, 240), lambda: self._train(machine))

    def _beat(self, machine: Machine) -> None:
        if not self._goes(machine) or not machine.order or machine.mute:
            return
        if waiting := self.waiting.get(machine.order[1]):
            machine.beaten = self.time.now
            waiting.heard = waiting.heard if self.draw.random() < self.deaf else self.time.now
        else:  # an order whose answer was lost is written again, with another token
            key = next(key for key in self.objects if key.endswith(f"/control/{machine.id}"))
            machine.order = (machine.order[0], self.objects[key]["token"])
        self.time.after(BEAT_S, lambda: self._beat(machine))

    def _train(self, machine: Machine) -> None:
        if not self._goes(machine):
            return
        machine.training, machine.base = self.time.now, max(self.snapshots, default=0)
        self._save(machine)
        left = self.total - machine.base
        acts = {"notice": self._notice, "taken": self._taken, "hung": self._hang, "fails": self._fails,
                "mute": self._mute, "person": self._person}  # fmt: skip
        if machine.mishap == "mute":
            machine.after = left - machine.after / 20  # its last word may come before its silence is too long
        if machine.mishap in acts and 0 < machine.after < left:
            self.time.after(machine.after, lambda: acts[machine.mishap](machine))
        self.time.after(left, lambda: self._finish(machine))

    def iteration(self, machine: Machine) -> int:
        """One iteration a second."""
        return machine.base + int(self.time.now - (machine.training or self.time.now))

    def _goes(self, machine: Machine) -> bool:
        return machine.alive and not machine.hung and not machine.word

    def _save(self, machine: Machine) -> None:
        if self._goes(machine) and machine.noticed is None:
            machine.brought = self.iteration(machine)
            self.snapshots.append(machine.brought)
            self._state(machine, "running", "")
            self.time.after(600, lambda: self._save(machine))

    def _state(self, machine: Machine, word: str, reason: str) -> None:
        """state.json, with the newest snapshot of this attempt."""
        assert machine.order
        self.objects["runs/r/state.json"] = {
            "state": word, "attempt": machine.order[0], "instance": machine.id, "reason": reason,
            "iteration": machine.brought,
        }  # fmt: skip

    def _finish(self, machine: Machine) -> None:
        if self._goes(machine) and machine.noticed is None:
            machine.brought = self.total
            self.snapshots.append(self.total)
            self._over(machine, "finished")

    def _fails(self, machine: Machine) -> None:
        if self._goes(machine):
            self._over(machine, "failed")

    def _hang(self, machine: Machine) -> None:
        machine.hung = machine.hung or self._goes(machine)

    def _taken(self, machine: Machine) -> None:
        self._off(machine, "Server.SpotInstanceTermination")

    def _person(self, machine: Machine) -> None:
        machine.person = machine.alive
        self._off(machine, "Client.UserInitiatedShutdown")

    def _mute(self, machine: Machine) -> None:
        """From now on Step Functions cannot be reached from there; S3 can."""
        machine.mute = True

    def _notice(self, machine: Machine) -> None:
        if not self._goes(machine):
            return
        machine.noticed = self.time.now
        machine.free = self.time.now - machine.launched < HOUR
        iteration = self.iteration(machine)
        self.time.after(self.draw.uniform(5, 60), lambda: self._saved(machine, iteration))
        self.time.after(120, lambda: self._taken(machine))

    def _saved(self, machine: Machine, iteration: int) -> None:
        if machine.alive:
            self.snapshots.append(iteration)
            machine.saved, machine.brought = True, iteration
            left = int((machine.noticed or 0) + 120 - self.time.now)
            self._over(machine, "interrupted", reason="spot interruption", free=machine.free, left=left)

    def _over(self, machine: Machine, word: str, **more: Any) -> None:
        """The last word: state.json first, then the token. A machine that was rented for one run powers off."""
        if not machine.alive or not machine.order:
            return
        machine.word = word
        machine.clean = word == "finished" and bool(self.bakes) and self.draw.random() < 0.9
        token = machine.order[1]
        self._state(machine, word, more.get("reason", ""))
        machine.unread = self.draw.random() < 0.02 and machine.mute  # nobody can know its word
        if machine.unread:
            self.objects["runs/r/state.json"] = "{damaged"
        said = {"state": word, "reason": more.get("reason", ""), "iteration": max(self.snapshots, default=0),
                "free": more.get("free", False), "left": more.get("left", 0), "why": more.get("why", ""),
                "clean": machine.clean}  # fmt: skip
        self._tell(machine, token, said)
        if word != "interrupted":
            stays = 2400 if machine.clean else 600
            self.time.after(stays, lambda: self._off(machine, "Client.InstanceInitiatedShutdown"))
        if machine.mishap == "taken after" and machine.market == "spot":
            self.time.after(self.draw.uniform(1, 900), lambda: self._taken(machine))

    def _tell(self, machine: Machine, token: str, said: dict[str, Any]) -> None:
        """Its word, until it arrives."""
        waiting = self.waiting.get(token)
        if not waiting or machine.mute or not machine.alive:
            return
        if self.draw.random() < self.deaf:
            self.time.after(5, lambda: self._tell(machine, token, said))
        else:
            waiting.keeper.reply(token, said)
