"""The least that `provision` has to be allowed: statements as data (`permissions.yaml`), and the IAM policy of them.

That IAM accepts and enforces it has not been tried on AWS: the emulator enforces S3's prefixes, and none of EC2's
conditions. Whoever may write the policy of a role and give it to a machine may have, through that machine, all that the
account's other rules do not forbid; set a permissions boundary where that matters.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from infra.border import load_yaml

PATH = Path(__file__).parent / "permissions.yaml"
TAG = "provision:name"


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is allowed on what, why, and only `when`. `tagged`: only with our tag in the call, or on what carries it."""

    id: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why: str
    tagged: Literal["request", "resource", ""] = ""
    when: dict[str, dict[str, str | tuple[str, ...]]] = {}

    @property
    def condition(self) -> dict[str, Any]:
        """As IAM writes it; `Null` false means that the tag is there."""
        keys = {"request": f"aws:RequestTag/{TAG}", "resource": f"ec2:ResourceTag/{TAG}"}
        return {**({"Null": {keys[self.tagged]: "false"}} if self.tagged else {}), **self.when}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    statements: tuple[Statement, ...]


@cache
def statements() -> tuple[Statement, ...]:
    """The table."""
    return load_yaml(PATH, _File).statements


def actions() -> set[str]:
    """All actions that are allowed anywhere, such as ec2:RunInstances."""
    return {action for one in statements() for action in one.actions}


def policy() -> dict[str, Any]:
    """The policy for the user, as IAM takes it."""
    return {"Version": "2012-10-17", "Statement": [_statement(one) for one in statements()]}


def _statement(one: Statement) -> dict[str, Any]:
    words: dict[str, Any] = {
        "Sid": one.id, "Effect": "Allow", "Action": list(one.actions), "Resource": list(one.resources),
    }  # fmt: skip
    return {**words, "Condition": one.condition} if one.condition else words
