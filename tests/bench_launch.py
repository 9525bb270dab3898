"""The launch's part of `make bench`: AWS calls, and the time from the command to a machine that is ready.

Against the emulator with delays like those of AWS: 150 ms a call, 30 s until an instance runs, 20 s more until its sshd
answers; hosts at the edge, whose bootstrap takes no time. The bound is what no client can beat: its own start, the
calls that must wait for each other (cold: look, make the group, launch; warm: launch), and those delays. The naive
client makes the same reads and writes one after the other, and waits with the waiter of boto3.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from localcloud.home import home

CALL_S, PENDING_S, BOOT_S = 0.15, 30.0, 20.0
NAME = "bench-launch"
KIND = "g4dn.12xlarge"


def launches() -> dict[str, float]:
    """Calls until the launch call (cold, warm) and seconds until ready (cold, warm, naive), with the bounds."""
    folder = Path(tempfile.mkdtemp())
    os.environ["PROVISION_LOCAL_HOME"] = str(folder / "clouds")
    delays = ["--edge", "--pending", str(PENDING_S), "--boot", str(PENDING_S + BOOT_S)]
    try:
        _run([sys.executable, "-m", "localcloud", "start", "--name", NAME, *delays])
        home(NAME).ask("latency", {"seconds": CALL_S})
        cold, warm = (_up(folder, name) for name in ("one", "two"))
        naive = _naive()
    finally:
        _run([sys.executable, "-m", "localcloud", "stop", "--name", NAME])
        os.environ.pop("PROVISION_LOCAL_HOME")
        shutil.rmtree(folder)
    waits = PENDING_S + BOOT_S
    return {
        "cold_calls": cold["calls"], "warm_calls": warm["calls"],
        "cold": cold["seconds"], "cold_bound": cold["start"] + 3 * CALL_S + waits,
        "warm": warm["seconds"], "warm_bound": warm["start"] + CALL_S + waits,
        "naive": naive,
    }  # fmt: skip


def _run(words: list[str], env: dict[str, str] | None = None) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)


def _up(folder: Path, name: str) -> dict[str, float]:
    """One `provision up`: seconds, seconds until its first call, and calls up to the answer of CreateFleet."""
    own = {f"XDG_{what}_HOME": str(folder / what) for what in ("CONFIG", "STATE", "CACHE")}
    before = len(_calls())
    begun = time.time()
    words = ["up", "--instance", KIND, "--name", name, "--cloud", f"local:{NAME}"]
    _run([sys.executable, "-m", "provision", *words], {**os.environ, **own})
    seconds = time.time() - begun
    made = _calls()[before:]
    fleet = next(number for number, call in enumerate(made, 1) if call["action"] == "CreateFleet")
    return {"seconds": seconds, "start": min(map(_moment, made)) - begun, "calls": fleet}


def _calls() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = home(NAME).ask("calls")
    return found


def _moment(call: dict[str, Any]) -> float:
    return datetime.fromisoformat(call["time"]).timestamp()


def _naive() -> float:
    """Seconds of a client that does one thing after the other, as tutorials do it."""
    facts = {key: str(value) for key, value in home(NAME).read().items()}
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", _CLIENT, json.dumps(facts), KIND], check=True)
    return time.monotonic() - begun


_CLIENT = f"""
import json, sys, time, socket, boto3
facts, kind = json.loads(sys.argv[1]), sys.argv[2]
keys = dict(region_name=facts["region"], endpoint_url=facts["endpoint"], aws_access_key_id=facts["access_key"],
            aws_secret_access_key=facts["secret_key"])
ec2, ssm, iam = (boto3.client(service, **keys) for service in ("ec2", "ssm", "iam"))
image = ssm.get_parameter(Name="/aws/service/debian/release/12/latest/amd64")["Parameter"]["Value"]
ec2.describe_instance_types(InstanceTypes=[kind])
ec2.describe_instance_type_offerings(Filters=[dict(Name="instance-type", Values=[kind])])
ec2.describe_spot_price_history(InstanceTypes=[kind], MaxResults=10)
[subnet, *_] = ec2.describe_subnets(Filters=[dict(Name="default-for-az", Values=["true"])])["Subnets"]
group = ec2.create_security_group(GroupName="naive", Description="naive")["GroupId"]
rule = dict(IpProtocol="tcp", FromPort=22, ToPort=22, IpRanges=[dict(CidrIp="0.0.0.0/0")])
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
iam.create_role(RoleName="naive", AssumeRolePolicyDocument=json.dumps(dict(Version="2012-10-17", Statement=[])))
iam.create_instance_profile(InstanceProfileName="naive")
iam.add_role_to_instance_profile(InstanceProfileName="naive", RoleName="naive")
found = ec2.run_instances(ImageId=image, InstanceType=kind, MinCount=1, MaxCount=1, SubnetId=subnet["SubnetId"],
                          SecurityGroupIds=[group], InstanceMarketOptions=dict(MarketType="spot"))
[one] = found["Instances"]
ec2.get_waiter("instance_running").wait(InstanceIds=[one["InstanceId"]])
time.sleep({BOOT_S})  # its own machine has no user data, and so no sshd at the edge
ec2.terminate_instances(InstanceIds=[one["InstanceId"]])
"""
