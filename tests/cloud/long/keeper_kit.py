"""A small state machine in the manner of the keeper's, and what a machine of it does."""

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.cloud.localcloud_kit import Cloud, docker, eventually

BUCKET = "provision-keeper-test"
OURS = {"Null": {"aws:ResourceTag/provision:name": "false"}}
TAGGED = {"Null": {"aws:RequestTag/provision:name": "false"}}
MARK = [{"Key": "provision:name", "Value": "kept"}]
# Inside an instance: signs a call to Step Functions with the role's keys, as a host does without the AWS SDK.
SEND = r"""
import datetime, hashlib, hmac, json, sys, urllib.error, urllib.request
endpoint, region, action, body = sys.argv[1:]
imds = "http://169.254.169.254/latest/"
def ask(page, method="GET", **headers):
    return urllib.request.urlopen(urllib.request.Request(imds + page, method=method, headers=headers)).read().decode()
token = ask("api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
mine = {"X-aws-ec2-metadata-token": token}
page = "meta-data/iam/security-credentials/"
keys = json.loads(ask(page + ask(page, **mine).strip(), **mine))
now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
host = endpoint.split("//")[1]
headers = {"host": host, "x-amz-date": now, "x-amz-security-token": keys["Token"],
           "x-amz-target": "AWSStepFunctions." + action}
signed = ";".join(sorted(headers))
said = "".join("%s:%s\n" % (name, headers[name]) for name in sorted(headers))
plain = "\n".join(["POST", "/", "", said, signed, hashlib.sha256(body.encode()).hexdigest()])
scope = "/".join([now[:8], region, "states", "aws4_request"])
text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(plain.encode()).hexdigest()])
key = ("AWS4" + keys["SecretAccessKey"]).encode()
for word in scope.split("/"):
    key = hmac.new(key, word.encode(), hashlib.sha256).digest()
signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
headers["authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
    keys["AccessKeyId"], scope, signed, signature)
headers["content-type"] = "application/x-amz-json-1.0"
try:
    urllib.request.urlopen(urllib.request.Request(endpoint, body.encode(), headers))
    print("ok")
except urllib.error.HTTPError as error:
    print(json.loads(error.read())["__type"].split("#")[-1])
"""


def trust(service: str) -> str:
    one = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [one]})


def allow(*statements: tuple[Any, Any, dict[str, Any]]) -> str:
    """A policy of (actions, resources, condition)."""
    rows = [{"Effect": "Allow", "Action": one[0], "Resource": one[1], "Condition": one[2]} for one in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": rows})


def keepers_rights(machines_role: str) -> str:
    return allow(
        (["ec2:CreateFleet", "ec2:RunInstances"], "*", TAGGED),
        (["ec2:CreateFleet", "ec2:RunInstances"], "arn:aws:ec2:*:*:launch-template/*", OURS),
        ("ec2:RunInstances", "arn:aws:ec2:*::image/*", {}),
        ("ec2:DescribeInstances", "*", {}),
        ("ec2:TerminateInstances", "*", OURS),
        ("iam:PassRole", machines_role, {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}),
        (["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{BUCKET}/runs/*", {}),
        ("sns:Publish", "*", {}),
    )


@dataclass(frozen=True)
class Account:
    """A cloud with a bucket, a keeper's role, a machines' role in a profile, and a launch template."""

    cloud: Cloud
    role: str
    template: str
    machines: list[str] = field(default_factory=list)

    @property
    def states(self) -> Any:
        return self.cloud.client("stepfunctions")

    @property
    def s3(self) -> Any:
        return self.cloud.client("s3")

    def make(self, definition: dict[str, Any]) -> str:
        """A state machine of this definition, under a name of its own."""
        words = {"definition": json.dumps(definition), "roleArn": self.role, "name": f"keeper-{secrets.token_hex(4)}"}
        return str(self.states.create_state_machine(**words)["stateMachineArn"])

    def start(self, machine: str, name: str, **given: Any) -> str:
        words = {"stateMachineArn": machine, "name": name, "input": json.dumps(given)}
        return str(self.states.start_execution(**words)["executionArn"])

    def status(self, execution: str) -> str:
        return str(self.states.describe_execution(executionArn=execution)["status"])

    def over(self, execution: str, seconds: float = 120.0) -> dict[str, Any]:
        """How it ended; its output as JSON."""
        eventually(lambda: self.status(execution) != "RUNNING", seconds)
        found: dict[str, Any] = self.states.describe_execution(executionArn=execution)
        return {**found, "output": json.loads(found.get("output", "null"))}

    def run(self, definition: dict[str, Any], **given: Any) -> dict[str, Any]:
        """Make it, start it, and see how it ends."""
        return self.over(self.start(self.make(definition), "once", **given))

    def events(self, execution: str) -> list[dict[str, Any]]:
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=execution)
        return [event for page in pages for event in page["events"]]

    def entered(self, execution: str) -> list[str]:
        """The states that it has been in."""
        told = [event.get("stateEnteredEventDetails") for event in self.events(execution)]
        return [one["name"] for one in told if one]

    def order(self, key: str, not_for: str = "") -> dict[str, str]:
        """What the keeper wrote for a machine, once it is for another one than that."""

        def written() -> Any:
            try:
                found = json.loads(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
            except self.s3.exceptions.NoSuchKey:
                return None
            return found if found["instance"] != not_for else None

        found: dict[str, str] = eventually(written, 120.0)
        return found

    @contextlib.contextmanager
    def telling(self, execution: str) -> Iterator[None]:
        """What fails inside the block tells where the execution stands."""
        try:
            yield
        except AssertionError as error:
            found = self.states.describe_execution(executionArn=execution)
            said = {name: found.get(name) for name in ("status", "error", "cause")}
            raise AssertionError(f"{error}: {said}, {self.entered(execution)[-12:]}") from error

    def awaited(self, key: str) -> dict[str, str] | None:
        """The order there, if its machine is still waited for."""
        found = self.order(key)
        try:
            self.states.send_task_heartbeat(taskToken=found["token"])
        except self.states.exceptions.TaskTimedOut:
            return None
        return found

    def send(self, instance: str, action: str, **body: Any) -> str:
        """Call Step Functions from inside an instance; `ok` or the error's code."""
        where = (self.cloud.record["endpoint"], self.cloud.record["region"])
        return docker("exec", self.cloud.container(instance), "python3", "-c", SEND, *where, action, json.dumps(body))


def account(cloud: Cloud) -> Account:
    iam = cloud.client("iam")
    cloud.client("s3").create_bucket(Bucket=BUCKET)
    machines = iam.create_role(RoleName="kept", Path="/provision/", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    sends = [f"states:SendTask{what}" for what in ("Success", "Failure", "Heartbeat")]
    iam.put_role_policy(RoleName="kept", PolicyName="states", PolicyDocument=allow((sends, "*", {})))
    iam.create_instance_profile(InstanceProfileName="kept")
    iam.add_role_to_instance_profile(InstanceProfileName="kept", RoleName="kept")
    words = {
        "RoleName": "keeper",
        "Path": "/provision-account/",
        "AssumeRolePolicyDocument": trust("states.amazonaws.com"),
    }
    role = iam.create_role(**words)["Role"]["Arn"]
    rights = keepers_rights(machines["Role"]["Arn"])
    iam.put_role_policy(RoleName="keeper", PolicyName="keeper", PolicyDocument=rights)
    kinds = ("instance", "network-interface", "spot-instances-request", "volume")
    tags = [{"ResourceType": kind, "Tags": MARK} for kind in kinds]
    data = {"ImageId": cloud.image(), "InstanceType": "t3.micro", "IamInstanceProfile": {"Name": "kept"}}
    made = cloud.ec2.create_launch_template(
        LaunchTemplateName="kept",
        LaunchTemplateData={**data, "TagSpecifications": tags},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": MARK}],
    )
    return Account(cloud, role, made["LaunchTemplate"]["LaunchTemplateId"])


def sdk(action: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A task that calls a service; the last state where `more` names no next one."""
    after = {} if "Next" in more else {"End": True}
    return {"Type": "Task", "Resource": f"arn:aws:states:::aws-sdk:{action}", "Parameters": parameters, **more, **after}


def catch(*names: str, to: str, path: str = "$.error") -> dict[str, Any]:
    return {"Catch": [{"ErrorEquals": list(names), "ResultPath": path, "Next": to}]}


def fleet_words(template: str, token: str) -> dict[str, Any]:
    """What `createFleet` is asked for; `token`: an intrinsic function that makes the client token."""
    return {
        "Type": "instant",
        "ClientToken.$": token,
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
        "LaunchTemplateConfigs": [
            {"LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "$Latest"}}
        ],
        "TagSpecifications": [{"ResourceType": "fleet", "Tags": MARK}],
    }


def refusals(**calls: tuple[str, dict[str, Any], str]) -> dict[str, Any]:
    """Calls (action, parameters, the error's name) one after the other; the error of NAME goes to $.NAME."""
    names = [*calls, "Done"]
    states: dict[str, Any] = {"Done": {"Type": "Succeed"}}
    for number, (name, (action, parameters, error)) in enumerate(calls.items(), 1):
        after = names[number]
        states[name] = sdk(action, parameters, Next=after, **catch(error, to=after, path=f"$.{name}"))
    return {"StartAt": names[0], "States": states}


NUMBER, MACHINES = "$.numbers[0]", "$.fleet.Instances[0].InstanceIds"


def keeper(template: str) -> dict[str, Any]:
    """Claim, ask, order and wait, end, look until it is gone; again until a machine says that it finished."""
    return {"StartAt": "Claim", "States": {**_until_it_works(template), **_until_it_is_gone(), **_what_then()}}


def _until_it_works(template: str) -> dict[str, Any]:
    claim = {
        "Bucket": BUCKET,
        "Key.$": f"States.Format('runs/{{}}/attempts/{{}}.json', $.run, {NUMBER})",
        "IfNoneMatch": "*",
        "Body": {"number.$": NUMBER},
    }
    order = {
        "Bucket": BUCKET,
        "Key.$": "States.Format('runs/{}/control/order', $.run)",
        "Body": {"instance.$": f"{MACHINES}[0]", "number.$": NUMBER, "token.$": "$$.Task.Token"},
    }
    fleet = fleet_words(template, f"States.Format('{{}}-{{}}', $.run, {NUMBER})")
    times = {"HeartbeatSeconds": 600, "TimeoutSeconds": 86400}
    silent = catch("States.HeartbeatTimeout", "States.Timeout", to="End", path="$.work")
    return {
        "Claim": sdk("s3:putObject", claim, ResultPath=None, Next="Ask", **catch("S3.S3Exception", to="Taken")),
        "Ask": sdk("ec2:createFleet", fleet, ResultPath="$.fleet", Next="Work"),
        "Work": sdk("s3:putObject.waitForTaskToken", order, ResultPath="$.work", Next="End", **times, **silent),
        "Taken": {"Type": "Fail", "Error": "Taken", "CausePath": "$.error.Cause"},
    }


def _until_it_is_gone() -> dict[str, Any]:
    ids = {"InstanceIds.$": MACHINES}
    state = {"name.$": "$.Reservations[0].Instances[0].State.Name"}
    gone = {"Variable": "$.state.name", "StringEquals": "terminated", "Next": "Next?"}
    return {
        "End": sdk("ec2:terminateInstances", ids, ResultPath="$.ended", Next="Look"),
        "Look": sdk("ec2:describeInstances", ids, ResultSelector=state, ResultPath="$.state", Next="Gone?"),
        "Gone?": {"Type": "Choice", "Choices": [gone], "Default": "Moment"},
        "Moment": {"Type": "Wait", "Seconds": 5, "Next": "Look"},
    }


def _what_then() -> dict[str, Any]:
    said, finished = {"IsPresent": True}, {"StringEquals": "finished"}
    done = {"And": [{"Variable": "$.work.state", **test} for test in (said, finished)], "Next": "Done"}
    left = {"run.$": "$.run", "numbers.$": "$.numbers[1:]"}
    return {
        "Next?": {"Type": "Choice", "Choices": [done], "Default": "Count"},
        "Count": {"Type": "Pass", "Parameters": left, "Next": "Claim"},
        "Done": {"Type": "Succeed"},
    }
