"""EC2's DryRun: whether these credentials may do something, without doing it.

The things named in these calls do not exist. So AWS sometimes answers "no such thing" and does not say whether the call
would be allowed: then it has at least not refused it, and we cannot learn more.
"""

from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained, translate
from infra.aws.session import Cloud, client
from infra.aws.tags import NAME
from infra.errors import CloudError

ALLOWED, DENIED, UNTOLD = "allowed", "denied", "untold"

_VERDICTS = {"DryRunOperation": ALLOWED, "UnauthorizedOperation": DENIED, "AccessDenied": DENIED}

_NO_INSTANCE, _NO_VOLUME, _NO_GROUP = "i-00000000000000000", "vol-00000000000000000", "sg-00000000000000000"
_NO_IMAGE, _NO_SNAPSHOT, _NAME = "ami-00000000000000000", "snap-00000000000000000", "provision-doctor"
_TAGS = [{"Key": NAME, "Value": "doctor"}]


def _marks(*kinds: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": _TAGS} for kind in kinds]


_RULE = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}]
_FLEET_OF = {"LaunchTemplateName": _NAME, "Version": "$Default"}

# action → what to call it with; the method's name follows from the action's
ACTIONS: dict[str, dict[str, Any]] = {
    "RunInstances": {
        "ImageId": _NO_IMAGE, "InstanceType": "g4dn.xlarge", "MinCount": 1, "MaxCount": 1,
        "TagSpecifications": _marks("instance", "volume"),
    },
    "CreateFleet": {
        "Type": "instant", "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": _FLEET_OF}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
        "TagSpecifications": _marks("fleet"),
    },
    "CreateLaunchTemplate": {
        "LaunchTemplateName": _NAME, "LaunchTemplateData": {"InstanceType": "g4dn.xlarge"},
        "TagSpecifications": _marks("launch-template"),
    },
    "DeleteLaunchTemplate": {"LaunchTemplateName": _NAME},
    "CreateSecurityGroup": {
        "GroupName": _NAME, "Description": "asks whether it may be made", "TagSpecifications": _marks("security-group"),
    },
    "AuthorizeSecurityGroupIngress": {"GroupId": _NO_GROUP, "IpPermissions": _RULE},
    "RevokeSecurityGroupIngress": {"GroupId": _NO_GROUP, "IpPermissions": _RULE},
    "DeleteSecurityGroup": {"GroupId": _NO_GROUP},
    "CreateTags": {"Resources": [_NO_INSTANCE], "Tags": _TAGS},
    "TerminateInstances": {"InstanceIds": [_NO_INSTANCE]},
    "GetConsoleOutput": {"InstanceId": _NO_INSTANCE},
    "CancelSpotInstanceRequests": {"SpotInstanceRequestIds": ["sir-00000000"]},
    "ModifyInstanceAttribute": {
        "InstanceId": _NO_INSTANCE,
        "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": False}}],
    },
    "AttachVolume": {"Device": "/dev/sdf", "InstanceId": _NO_INSTANCE, "VolumeId": _NO_VOLUME},
    "DeleteVolume": {"VolumeId": _NO_VOLUME},
    "DeleteSnapshot": {"SnapshotId": _NO_SNAPSHOT},
    "DeleteKeyPair": {"KeyName": _NAME},
    "DeleteNetworkInterface": {"NetworkInterfaceId": "eni-00000000000000000"},
    "ReleaseAddress": {"AllocationId": "eipalloc-00000000000000000"},
    "CreateImage": {"InstanceId": _NO_INSTANCE, "Name": _NAME, "TagSpecifications": _marks("image", "snapshot")},
    "DeregisterImage": {"ImageId": _NO_IMAGE},
}  # fmt: skip


def ask(cloud: Cloud, action: str) -> tuple[str, str]:
    """ALLOWED, DENIED or UNTOLD for an action out of ACTIONS, and AWS's code. AuthError for bad credentials."""
    call = getattr(client(cloud, "ec2"), xform_name(action))
    with explained(f"ask whether {action} is allowed"):
        try:
            call(DryRun=True, **ACTIONS[action])
        except ClientError as error:
            code = code_of(error)
            if code in _VERDICTS:
                return _VERDICTS[code], code
            if "NotFound" in code or isinstance(translate(error, ""), CloudError):  # of the thing, not of the caller
                return UNTOLD, code
            raise
    return UNTOLD, "no answer to DryRun"
