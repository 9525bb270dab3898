"""Who may do what. moto checks signatures; the decision on policies is made here, as moto's reads too little.

Evaluated: Action and NotAction, Resource and NotResource with wildcards, and the conditions that our policies
use (strings, ARNs and Null, on s3:prefix, on tags of resources and of calls, on the account of a bucket, on a role's
permissions boundary and on whom a role is passed to; DateLessThan on the time of the call). A condition that is not
understood never allows, and always denies: errors fall on the safe side. What a call is about is told by `resources`;
where that is not known only the action is compared. What a role may is what both its policies and its permissions
boundary allow.
"""

import fnmatch
import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

from moto.core.utils import utcnow
from moto.iam import access_control
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from localcloud import resources
from localcloud.resources import UNKNOWN, Context


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
    role_name = getattr(self._access_key, "_owner_role_name", "")
    roles = self._access_key.backend.get_roles() if role_name else []
    role = next((one for one in roles if one.name == role_name), None)
    if role_name and role is None:  # its role was deleted under the session
        self._raise_access_denied()
    statements = [statement for policy in self._access_key.collect_policies() for statement in _statements(policy)]
    for action, target, context in resources.of(self, resource):
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
