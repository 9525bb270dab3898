"""Who may do what. moto checks signatures; the decision on policies is made here, as moto's reads too little.

Evaluated: Action and NotAction, Resource and NotResource with wildcards, and the conditions that our policies
use (strings, ARNs and Null, on s3:prefix and on resource tags). A condition that is not understood never allows, and
always denies: errors fall on the safe side. Resources are known for S3 and for EC2 calls that name instances;
for all other calls only the action is compared.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from html import unescape
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.iam import access_control
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
    statements = [one for policy in self._access_key.collect_policies() for one in _statements(policy)]
    for action, target, context in _asked(self, resource):
        if not allowed(statements, action, target, context):
            self._raise_access_denied()


def _statements(policy: Any) -> list[dict[str, Any]]:
    found = access_control.IAMPolicy(policy)._policy_json["Statement"]
    return found if isinstance(found, list) else [found]


def role_may(role: Any, action: str, resource: str, context: Context) -> bool:
    """Whether a moto role's own policies allow it."""
    policies = [*role.policies.values(), *role.managed_policies.values()]
    return allowed((one for policy in policies for one in _statements(policy)), action, resource, context)


def allowed(statements: Iterable[dict[str, Any]], action: str, resource: str, context: Context) -> bool:
    """IAM's rule: some Allow, and no Deny."""
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
    """What IAM lets be written as one or as a list."""
    return list(value) if isinstance(value, list) else [value]


def _conditions_hold(statement: dict[str, Any], context: Context, denies: bool) -> bool:
    return all(
        _holds(operator, context.get(key.lower()), [str(one) for one in many(wanted)], denies)
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def _holds(operator: str, have: list[str] | None, wanted: list[str], denies: bool) -> bool:
    name = operator.split(":")[-1]
    if have is None and name.endswith("IfExists"):
        return True
    name = name.removesuffix("IfExists")
    if name in ("StringEquals", "ArnEquals"):
        return have is not None and any(one in wanted for one in have)
    if name in ("StringLike", "ArnLike"):
        return have is not None and any(_like(pattern, one) for one in have for pattern in wanted)
    if name == "StringNotEquals":
        return have is None or not any(one in wanted for one in have)
    if name == "StringNotLike":
        return have is None or not any(_like(pattern, one) for one in have for pattern in wanted)
    if name == "Null":
        return (have is None) == (wanted[0].lower() == "true")
    return denies


def _asked(request: Any, resource: str) -> list[tuple[str, str, Context]]:
    """Each action, resource and context that the call needs."""
    action = SAME_AS.get(request._action, request._action)
    if request._service == "s3":
        return _asked_s3(request, action, resource)
    ids = [value[0] for name, value in request._data.items() if re.match(r"(InstanceId|ResourceId)\.?\d*$", name)]
    instances = [one for one in ids if one.startswith("i-")]
    if request._service == "ec2" and instances and not action.startswith("ec2:Describe"):
        return [(action, *instance(request.account_id, request._region, one)) for one in instances]
    return [(action, UNKNOWN, {})]


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
    if action == "s3:DeleteObject" and "delete" in query:  # many keys in one call
        keys = re.findall(r"<Key>(.*?)</Key>", request._body.decode(errors="replace"), re.DOTALL)
        return [(action, f"{resource}/{unescape(key)}", {}) for key in keys]
    context: Context = {"s3:prefix": query["prefix"]} if "prefix" in query else {}
    asked = [(action, resource, context)]
    source = request._headers.get("X-Amz-Copy-Source")
    if source:
        asked.append(("s3:GetObject", "arn:aws:s3:::" + unquote(source).lstrip("/").split("?")[0], {}))
    return asked
