"""Who may do what. moto checks signatures; the decision on policies is made here, as moto's reads too little.

Evaluated: Action and NotAction, Resource and NotResource with wildcards, and the conditions that our policies
use (strings, ARNs and Null, on s3:prefix, on resource tags, on the account of a bucket and on a role's permissions
boundary; DateLessThan on the time of the call). A condition that is not understood never allows, and always denies:
errors fall on the safe side. Resources are known for S3, for EC2 calls that name instances, and for the two calls that
give rights to a role; for all other calls only the action is compared. What a role may is what both its policies and
its permissions boundary allow.
"""

import fnmatch
import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from html import unescape
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.iam import access_control
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from moto.sts.models import sts_backends

Context = dict[str, list[str]]
UNKNOWN = "*"  # a call whose resource we do not know
SAME_AS = {"s3:HeadBucket": "s3:ListBucket", "s3:ListAllMyBuckets": "s3:ListAllMyBuckets"}


def install() -> None:
    """Make moto ask us; and refuse role sessions that are over."""
    access_control.IAMRequestBase.check_action_permitted = _check
    moto_key = access_control.create_access_key

    def living_key(account_id: str, partition: str, access_key_id: str, headers: Any) -> Any:
        session = sts_backends[account_id][partition].get_assumed_role_from_access_key(access_key_id)
        if session is not None and _over(session.expiration):
            raise access_control.CreateAccessKeyFailure(reason="InvalidToken")
        return moto_key(account_id, partition, access_key_id, headers)

    access_control.create_access_key = living_key


def _over(expiration: datetime) -> bool:
    return bool(expiration.replace(tzinfo=None) < utcnow().replace(tzinfo=None))


def _check(self: Any, resource: str) -> None:
    if self._action == "sts:GetCallerIdentity":
        return
    statements = [statement for policy in self._access_key.collect_policies() for statement in _statements(policy)]
    role_name = getattr(self._access_key, "_owner_role_name", "")
    role = self._access_key.backend.get_role(role_name) if role_name else None
    for action, target, context in _asked(self, resource):
        may = allowed(statements, action, target, context) and _within_boundary(role, action, target, context)
        if not may:
            self._raise_access_denied()


def _statements(policy: Any) -> list[dict[str, Any]]:
    found = access_control.IAMPolicy(policy)._policy_json["Statement"]
    return found if isinstance(found, list) else [found]


def role_may(role: Any, action: str, resource: str, context: Context) -> bool:
    """Whether a moto role's own policies allow it, and its permissions boundary."""
    policies = [*role.policies.values(), *role.managed_policies.values()]
    statements = (statement for policy in policies for statement in _statements(policy))
    return allowed(statements, action, resource, context) and _within_boundary(role, action, resource, context)


def trusts(role: Any, service: str) -> bool:
    """Whether a moto role's trust policy lets an AWS service in. Conditions are not looked at."""
    statements = json.loads(role.assume_role_policy_document).get("Statement", [])
    principals = [
        principal
        for statement in many(statements)
        if statement["Effect"] == "Allow" and isinstance(statement.get("Principal"), dict)
        for principal in many(statement["Principal"].get("Service", []))
    ]
    return service in principals


def _within_boundary(role: Any, action: str, resource: str, context: Context) -> bool:
    """Whether a moto role's permissions boundary, if it has one, allows it."""
    arn = role.permissions_boundary_arn if role is not None else None
    if not arn:
        return True
    boundary = iam_backends[role.account_id]["aws"].managed_policies.get(arn)
    return boundary is not None and allowed(_statements(boundary), action, resource, context)


def allowed(statements: Iterable[dict[str, Any]], action: str, resource: str, context: Context) -> bool:
    """Whether the statements allow it, by IAM's rule: some Allow, and no Deny."""
    permitted = False
    for statement in statements:
        denies = statement["Effect"] == "Deny"
        if _covers(statement, action, resource, denies) and _conditions_hold(statement, context, denies):
            if denies:
                return False
            permitted = True
    return permitted


def _covers(statement: dict[str, Any], action: str, resource: str, denies: bool) -> bool:
    if "NotAction" in statement:
        acts = not _any_match(statement["NotAction"], action.lower(), str.lower)
    else:
        acts = _any_match(statement["Action"], action.lower(), str.lower)
    if "NotResource" in statement:
        return acts and not _any_match(statement["NotResource"], resource)
    patterns = many(statement["Resource"])
    if resource == UNKNOWN:
        return acts and ("*" in patterns or not denies)
    return acts and _any_match(patterns, resource)


def _any_match(patterns: Any, word: str, change: Callable[[str], str] = str) -> bool:
    return any(_like(change(pattern), word) for pattern in many(patterns))


def _like(pattern: str, word: str) -> bool:
    """IAM's wildcards are * and ? alone; a [ is a letter."""
    return fnmatch.fnmatchcase(word, pattern.replace("[", "[[]"))


def many(value: Any) -> list[Any]:
    """A value as a list: IAM lets one value be written without the list."""
    return list(value) if isinstance(value, list) else [value]


def _conditions_hold(statement: dict[str, Any], context: Context, denies: bool) -> bool:
    context = {"aws:currenttime": [f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"], **context}
    return all(
        _holds(operator, context.get(key.lower()), [_filled(str(value), context) for value in many(wanted)], denies)
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def _filled(value: str, context: Context) -> str:
    """The value with IAM's variables, ${aws:PrincipalAccount} and the like, as far as the call tells them."""
    return re.sub(r"\$\{([\w:-]+)\}", lambda name: context.get(name[1].lower(), [name[0]])[0], value)


def _holds(operator: str, have: list[str] | None, wanted: list[str], denies: bool) -> bool:
    name = operator.split(":")[-1]
    if have is None and name.endswith("IfExists"):
        return True
    name = name.removesuffix("IfExists")
    if name in ("StringEquals", "ArnEquals"):
        return have is not None and any(value in wanted for value in have)
    if name in ("StringLike", "ArnLike"):
        return have is not None and any(_like(pattern, value) for value in have for pattern in wanted)
    if name == "StringNotEquals":
        return have is None or not any(value in wanted for value in have)
    if name == "StringNotLike":
        return have is None or not any(_like(pattern, value) for value in have for pattern in wanted)
    if name == "DateLessThan":  # all times are written alike, in UTC
        return have is not None and any(value < until for value in have for until in wanted)
    if name == "Null":
        return (have is None) == (wanted[0].lower() == "true")
    return denies


def _asked(request: Any, resource: str) -> list[tuple[str, str, Context]]:
    """Each action, resource and context that the call needs."""
    action = SAME_AS.get(request._action, request._action)
    if request._service == "s3":
        return _asked_s3(request, action, resource)
    if action in ("iam:CreateRole", "iam:PutRolePolicy"):
        return [(action, *_role(request, action))]
    ids = [value[0] for name, value in request._data.items() if re.match(r"(InstanceId|ResourceId)\.?\d*$", name)]
    instances = [instance_id for instance_id in ids if instance_id.startswith("i-")]
    if request._service == "ec2" and instances and not action.startswith("ec2:Describe"):
        return [(action, *instance(request.account_id, request._region, instance_id)) for instance_id in instances]
    return [(action, UNKNOWN, {})]


def _role(request: Any, action: str) -> tuple[str, Context]:
    """The role that a call makes, or gives rights to, as a resource; its permissions boundary is the context."""
    backend = iam_backends[request.account_id]["aws"]
    asked = {name: value[0] for name, value in request._data.items() if value}
    path, boundary = asked.get("Path", "/"), asked.get("PermissionsBoundary")
    if action == "iam:PutRolePolicy":
        found = next((role for role in backend.get_roles() if role.name == asked.get("RoleName")), None)
        path, boundary = (found.path, found.permissions_boundary_arn) if found is not None else ("/", None)
    context: Context = {"iam:permissionsboundary": [boundary]} if boundary else {}
    return f"arn:aws:iam::{request.account_id}:role{path}{asked.get('RoleName', '')}", context


def instance(account: str, region: str, instance_id: str) -> tuple[str, Context]:
    """An instance as a resource, and the context that its tags give."""
    found = ec2_backends[account][region].get_instance_by_id(instance_id)
    tags = found.get_tags() if found else []
    context = {
        f"{prefix}:resourcetag/{tag['key']}".lower(): [tag["value"]] for tag in tags for prefix in ("aws", "ec2")
    }
    return f"arn:aws:ec2:{region}:{account}:instance/{instance_id}", context


def _asked_s3(request: Any, action: str, resource: str) -> list[tuple[str, str, Context]]:
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
