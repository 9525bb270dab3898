"""The least that `provision` has to be allowed: statements as data (`permissions.yaml`), and IAM policies of them.

That IAM accepts and enforces them has not been tried on AWS: the emulator enforces S3's prefixes and the permissions
boundary, and none of EC2's conditions. Whoever may make a role and write its policy has all that the role may be given:
without a permissions boundary that is the whole account, and `RISK` says so where the policy is printed.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from infra.aws import regions
from infra.border import load_yaml

PATH = Path(__file__).parent / "permissions.yaml"
TAG = "provision:name"
RISK = """\
This policy has no permissions boundary: whoever holds it can become administrator of the account, in two calls.
  iam:CreateRole makes a role below /provision/ that trusts the holder, iam:PutRolePolicy gives that role all rights.
  Names do not help against it, a permissions boundary does: no role can then do more than the boundary allows.
  → provision iam-policy --boundary > boundary.json
    aws iam create-policy --policy-name provision-boundary --policy-document file://boundary.json
    write the ARN that this prints into the settings, as permissions_boundary, and print this policy again"""


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is allowed on what, why, and only `when`; in names {partition}, {suffix}, {boundary} and {buckets} stand for
    what a region and the user's settings make of them.

    `tagged`: only with our tag in the call, or on what carries it; `ours`: only in the caller's account; `bounded`:
    where there is a permissions boundary, only for a role that has it; `with_boundary`: only where there is one.
    """

    id: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why: str
    tagged: Literal["request", "resource", ""] = ""
    ours: bool = False
    bounded: bool = False
    with_boundary: bool = False
    when: dict[str, dict[str, str | tuple[str, ...]]] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    statements: tuple[Statement, ...]
    prove: tuple[Statement, ...]
    boundary: tuple[Statement, ...]


@cache
def _file() -> _File:
    return load_yaml(PATH, _File)


def statements() -> tuple[Statement, ...]:
    """The table. UsageError with the key path where the file is wrong."""
    return _file().statements


def proving() -> tuple[Statement, ...]:
    """What `provision prove` takes besides."""
    return _file().prove


def proving_policy(region: str) -> dict[str, Any]:
    """A second policy for who calls `provision prove`, as IAM takes it in that region's partition."""
    return _policy(proving(), _words(region), "")


def actions() -> set[str]:
    """All actions that are allowed anywhere, such as ec2:RunInstances."""
    return {action for statement in statements() for action in statement.actions}


def policy(region: str, boundary: str = "") -> dict[str, Any]:
    """The policy for the user, as IAM takes it in that region's partition; `boundary` is the ARN of the permissions
    boundary that each role has to have ("": none)."""
    there = [statement for statement in statements() if boundary or not statement.with_boundary]
    return _policy(there, {"boundary": [boundary], **_words(region)}, boundary)


def boundary_policy(region: str, buckets: Sequence[str] = ()) -> dict[str, Any]:
    """A permissions boundary as IAM takes it: the most that the roles of machines and schedules may need in all.

    Of S3 that is the account's own buckets named provision-*, and reading `buckets`.
    """
    there = [statement for statement in _file().boundary if buckets or "{buckets}" not in statement.resources]
    named = [regions.arn(region, f"s3:::{bucket}{end}") for bucket in buckets for end in ("", "/*")]
    return _policy(there, {"buckets": named, **_words(region)}, "")


def _words(region: str) -> dict[str, list[str]]:
    return {"partition": [regions.partition(region)], "suffix": [regions.suffix(region)]}


def _policy(there: Sequence[Statement], words: dict[str, list[str]], boundary: str) -> dict[str, Any]:
    found = [_statement(statement, words, boundary) for statement in there]
    return {"Version": "2012-10-17", "Statement": found}


def _statement(statement: Statement, words: dict[str, list[str]], boundary: str) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "Sid": statement.id, "Effect": "Allow", "Action": _short(statement.actions),
        "Resource": _short([name for resource in statement.resources for name in _filled(resource, words)]),
    }  # fmt: skip
    condition = _condition(statement, boundary)
    filled = {test: {key: _value(wanted, words) for key, wanted in keys.items()} for test, keys in condition.items()}
    return {**plain, "Condition": filled} if filled else plain


def _short(values: Sequence[str]) -> str | list[str]:
    """One value without a list, as IAM allows: a policy may have 6,144 characters."""
    return values[0] if len(values) == 1 else list(values)


def _condition(statement: Statement, boundary: str) -> dict[str, dict[str, Any]]:
    """As IAM writes it; `Null` false means that the tag is there."""
    keys = {"request": f"aws:RequestTag/{TAG}", "resource": f"ec2:ResourceTag/{TAG}"}
    equal: dict[str, Any] = dict(statement.when.get("StringEquals", {}))
    if statement.ours:
        equal["aws:ResourceAccount"] = "${aws:PrincipalAccount}"
    if statement.bounded and boundary:
        equal["iam:PermissionsBoundary"] = boundary
    found: dict[str, dict[str, Any]] = {"Null": {keys[statement.tagged]: "false"}} if statement.tagged else {}
    return {**found, **statement.when, **({"StringEquals": equal} if equal else {})}


def _value(wanted: str | tuple[str, ...], words: dict[str, list[str]]) -> str | list[str]:
    return _filled(wanted, words)[0] if isinstance(wanted, str) else [_filled(one, words)[0] for one in wanted]


def _filled(text: str, words: dict[str, list[str]]) -> list[str]:
    """The text for each of a word's values: one, but for the buckets."""
    for word, values in words.items():
        if f"{{{word}}}" in text:
            return [name for value in values for name in _filled(text.replace(f"{{{word}}}", value), words)]
    return [text]
