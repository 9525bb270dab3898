"""What a call is about: each action, resource and context that AWS would judge it by.

Known are objects and buckets, roles and instance profiles, schedules, state machines and their executions, topics, and
of EC2 what a call names by its id, what a launch makes (with the tags that it is to have) and the role that it passes.
Of all other calls only the action is known. CreateTags at creation is not asked for, nor the subnet of a launch.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from html import unescape
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends

Context = dict[str, list[str]]
Asked = tuple[str, str, Context]
UNKNOWN = "*"  # a call whose resource we do not know
SAME_AS = {"s3:HeadBucket": "s3:ListBucket", "s3:ListAllMyBuckets": "s3:ListAllMyBuckets"}
MADE = {
    "ec2:CreateFleet": ("fleet",),
    "ec2:CreateImage": ("image", "snapshot"),
    "ec2:CreateLaunchTemplate": ("launch-template",),
    "ec2:CreateSecurityGroup": ("security-group",),
    "ec2:CreateVolume": ("volume",),
}
NAMED = {  # kinds of things by how their ids begin
    "ami": "image",
    "i": "instance",
    "lt": "launch-template",
    "sg": "security-group",
    "snap": "snapshot",
    "vol": "volume",
}
SPOT = "spot-instances-request"
LAUNCHED = ("instance", "network-interface", "volume")
EC2, SCHEDULER, STATES = "ec2.amazonaws.com", "scheduler.amazonaws.com", "states.amazonaws.com"


def of(request: Any, resource: str) -> list[Asked]:
    """All that must be allowed for moto's request."""
    action = SAME_AS.get(request._action, request._action)
    if request._service == "s3":
        return _s3(request, action, resource)
    found = list(_FAMILIES.get(request._service, _any)(request, action))
    return found or [(action, UNKNOWN, {})]


def _any(request: Any, action: str) -> Iterator[Asked]:
    yield from ()


def instance(account: str, region: str, instance_id: str) -> tuple[str, Context]:
    """An instance as a resource, and the context that its tags give."""
    found = ec2_backends[account][region].get_instance_by_id(instance_id)
    tags = found.get_tags() if found else []
    return f"arn:aws:ec2:{region}:{account}:instance/{instance_id}", _has((tag["key"], tag["value"]) for tag in tags)


def _has(tags: Iterable[tuple[str, str]]) -> Context:
    """The context of a resource with these tags."""
    return {f"{prefix}:resourcetag/{key}".lower(): [value] for key, value in tags for prefix in ("aws", "ec2", "iam")}


def _gets(tags: Mapping[str, str]) -> Context:
    """The context of a call that gives these tags."""
    names: Context = {"aws:tagkeys": list(tags)} if tags else {}
    return {**names, **{f"aws:requesttag/{key}".lower(): [value] for key, value in tags.items()}}


def _passes(arn: str, service: str) -> Asked:
    return "iam:PassRole", arn, {"iam:passedtoservice": [service]}


def _form(request: Any) -> dict[str, str]:
    return {name: values[0] for name, values in request._data.items() if values}


def _json(request: Any) -> dict[str, Any]:
    return dict(json.loads(request._body or b"{}"))


# EC2


def _ec2(request: Any, action: str) -> Iterator[Asked]:
    form, place = _form(request), (request.account_id, request._region)
    if action == "ec2:RunInstances":
        yield from _launch(place, _tags_of(form))
    elif action in MADE:
        for kind in MADE[action]:
            yield action, _arn(place, kind, "*"), _gets(_tags_of(form).get(kind, {}))
        if action == "ec2:CreateImage":
            yield from _thing(place, action, form.get("InstanceId", ""))
    elif not action.startswith("ec2:Describe"):
        for name in _named(place, form):
            yield from _thing(place, action, name)
    if action == "ec2:CreateFleet":
        yield from _fleet(place, action, form)
    if action in ("ec2:RunInstances", "ec2:AssociateIamInstanceProfile"):
        yield from _profile(place[0], form.get("IamInstanceProfile.Name"), form.get("IamInstanceProfile.Arn"))


def _named(place: tuple[str, str], form: Mapping[str, str]) -> Iterator[str]:
    """The ids of what a call names, by its id or by its name."""
    backend = ec2_backends[place[0]][place[1]]
    for field, value in form.items():
        if re.fullmatch(r"(InstanceId|ImageId|ResourceId|LaunchTemplateId|GroupId|SnapshotId|VolumeId)\.?\d*", field):
            yield value
        elif field == "LaunchTemplateName":
            yield backend.launch_template_name_to_ids.get(value, "")
        elif field == "GroupName":
            group = backend.get_security_group_from_name(value)
            yield group.id if group else ""


def _arn(place: tuple[str, str], kind: str, name: str) -> str:
    account, region = place
    return f"arn:aws:ec2:{region}:{'' if kind in ('image', 'snapshot') else account}:{kind}/{name}"


def _thing(place: tuple[str, str], action: str, name: str) -> Iterator[Asked]:
    """What a call names by its id."""
    kind = NAMED.get(name.partition("-")[0])
    if kind == "instance":
        yield (action, *instance(*place, name))
    elif kind:
        tags = ec2_backends[place[0]][place[1]].describe_tags(filters={"resource-id": [name]})
        yield action, _arn(place, kind, name), _has((tag["key"], tag["value"]) for tag in tags)


def _tags_of(form: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Kind of resource → the tags that the call gives to it."""
    found: dict[str, dict[str, str]] = {}
    for name, kind in form.items():
        if asked := re.fullmatch(r"(TagSpecification\.\d+\.)ResourceType", name):
            found[kind] = {**found.get(kind, {}), **_pairs(form, f"{asked[1]}Tag")}
    return found


def _pairs(form: Mapping[str, str], before: str) -> dict[str, str]:
    """Tags that stand in a form as BEFORE.1.Key and BEFORE.1.Value."""
    keys = [name for name in form if re.fullmatch(rf"{re.escape(before)}\.\d+\.Key", name)]
    return {form[name]: form.get(f"{name.removesuffix('Key')}Value", "") for name in keys}


def _fleet(place: tuple[str, str], action: str, form: Mapping[str, str]) -> Iterator[Asked]:
    """A fleet uses launch templates, and launches with its caller's right to do so."""
    backend = ec2_backends[place[0]][place[1]]
    for name, value in form.items():
        found = re.fullmatch(r"LaunchTemplateConfigs\.\d+\.LaunchTemplateSpecification\.LaunchTemplate(Id|Name)", name)
        number = backend.launch_template_name_to_ids.get(value) if found and found[1] == "Name" else value
        if found and number in backend.launch_templates:
            yield from _thing(place, action, number)
            yield from _launch_from(place, backend.launch_templates[number], form, name.rpartition(".")[0])


def _launch_from(place: tuple[str, str], template: Any, form: Mapping[str, str], prefix: str) -> Iterator[Asked]:
    data = template.get_version(form.get(f"{prefix}.Version", "$Default")).data
    tags = _tags_of(form)
    for one in data.get("TagSpecifications", []):
        given = {tag["Key"]: tag.get("Value", "") for tag in one.get("Tags", [])}
        tags[one["ResourceType"]] = {**given, **tags.get(one["ResourceType"], {})}
    profile = data.get("IamInstanceProfile") or {}
    yield from _launch(place, tags)
    yield from _profile(place[0], profile.get("Name"), profile.get("Arn"))
    interfaces = data.get("NetworkInterfaces") or []
    groups = [group for one in interfaces for group in one.get("Groups") or one.get("SecurityGroupId") or []]
    for name in (template.id, data.get("ImageId") or "", *groups, *(data.get("SecurityGroupIds") or [])):
        yield from _thing(place, "ec2:RunInstances", name)
    if "spot" in form.get("TargetCapacitySpecification.DefaultTargetCapacityType", ""):
        yield "ec2:RunInstances", _arn(place, SPOT, "*"), _gets(tags.get(SPOT, {}))


def _launch(place: tuple[str, str], tags: Mapping[str, Mapping[str, str]]) -> Iterator[Asked]:
    for kind in LAUNCHED:
        yield "ec2:RunInstances", _arn(place, kind, "*"), _gets(tags.get(kind, {}))


def _profile(account: str, name: str | None, arn: str | None) -> Iterator[Asked]:
    """Who gives a machine its profile passes on the profile's role."""
    for profile in list(iam_backends[account]["aws"].instance_profiles.values()):
        if (name and profile.name == name) or (arn and profile.arn == arn):
            yield from (_passes(role.arn, EC2) for role in profile.roles)


# IAM, the scheduler, Step Functions, SNS


def _iam(request: Any, action: str) -> Iterator[Asked]:
    backend, form = iam_backends[request.account_id]["aws"], _form(request)
    name, profile = form.get("RoleName"), form.get("InstanceProfileName")
    if profile:
        path = _path(backend.instance_profiles.values(), profile, form)
        yield action, f"arn:aws:iam::{request.account_id}:instance-profile{path}{profile}", {}
    elif name:
        role = next((one for one in backend.get_roles() if one.name == name), None)
        creating = action == "iam:CreateRole"
        boundary = form.get("PermissionsBoundary") if creating or role is None else role.permissions_boundary_arn
        path = form.get("Path", "/") if creating else _path(backend.get_roles(), name, form)
        bound: Context = {"iam:permissionsboundary": [boundary]} if boundary else {}
        context = {**bound, **_gets(_pairs(form, "Tags.member"))}
        yield action, f"arn:aws:iam::{request.account_id}:role{path}{name}", context
    if action == "iam:AddRoleToInstanceProfile":
        yield _passes(f"arn:aws:iam::{request.account_id}:role{_path(backend.get_roles(), name, form)}{name}", EC2)


def _path(known: Iterable[Any], name: str | None, form: Mapping[str, str]) -> str:
    return next((str(one.path) for one in known if one.name == name), form.get("Path", "/"))


def _scheduler(request: Any, action: str) -> Iterator[Asked]:
    parsed = urlparse(request._path)
    body, query = _json(request), parse_qs(parsed.query)
    kind, _, name = unquote(parsed.path).strip("/").partition("/")
    before = f"arn:aws:scheduler:{request._region}:{request.account_id}"
    if kind == "schedule-groups" and name:
        yield action, f"{before}:schedule-group/{name}", {}
    elif kind == "schedules" and name:
        group = body.get("GroupName") or query.get("groupName", ["default"])[0]
        yield action, f"{before}:schedule/{group}/{name}", {}
    if body.get("Target", {}).get("RoleArn"):
        yield _passes(body["Target"]["RoleArn"], SCHEDULER)


def _states(request: Any, action: str) -> Iterator[Asked]:
    body = _json(request)
    arn = next((body[name] for name in ("executionArn", "stateMachineArn", "resourceArn") if body.get(name)), None)
    if action == "states:CreateStateMachine":
        arn = f"arn:aws:states:{request._region}:{request.account_id}:stateMachine:{body.get('name', '')}"
    if arn:
        yield action, arn, _gets({tag["key"]: tag.get("value", "") for tag in body.get("tags", [])})
    if body.get("roleArn"):
        yield _passes(body["roleArn"], STATES)


def _sns(request: Any, action: str) -> Iterator[Asked]:
    form = _form(request)
    arn = form.get("TopicArn") or form.get("ResourceArn")
    if action == "sns:CreateTopic":
        arn = f"arn:aws:sns:{request._region}:{request.account_id}:{form.get('Name', '')}"
    if arn:
        yield action, arn, {}


_FAMILIES: dict[str, Callable[[Any, str], Iterator[Asked]]] = {
    "ec2": _ec2,
    "iam": _iam,
    "scheduler": _scheduler,
    "states": _states,
    "sns": _sns,
}


# S3


def _s3(request: Any, action: str, resource: str) -> list[Asked]:
    query = parse_qs(urlparse(request._path).query, keep_blank_values=True)
    account: Context = {
        "aws:resourceaccount": [_owner(resource) or request.account_id],  # a bucket that is not there is nobody's: 404
        "aws:principalaccount": [request.account_id],
    }
    if action == "s3:DeleteObject" and "delete" in query:  # many keys in one call
        keys = re.findall(r"<Key>(.*?)</Key>", request._body.decode(errors="replace"), re.DOTALL)
        return [(action, f"{resource}/{unescape(key)}", account) for key in keys]
    context = {**account, **({"s3:prefix": query["prefix"]} if "prefix" in query else {})}
    asked = [(action, resource, context)]
    source = request._headers.get("X-Amz-Copy-Source")
    if source:
        copied = "arn:aws:s3:::" + unquote(source).lstrip("/").split("?")[0]
        asked.append(("s3:GetObject", copied, {**account, "aws:resourceaccount": [_owner(copied)]}))
    return asked


def _owner(resource: str) -> str:
    """The account that a bucket, or an object's bucket, belongs to; "" where there is no such bucket."""
    name = resource.removeprefix("arn:aws:s3:::").partition("/")[0]
    return next(
        (str(backend["aws"].account_id) for backend in s3_backends.values() if name in backend["aws"].buckets), ""
    )
