"""Names that a user types, each checked once at the border.

A name goes into an EC2 filter, where `*` and `?` are wildcards, into the path of a file and into a command line. A text
that cannot be a name is refused before any of these. `literal` is for the filters themselves.
"""

import os
import re
from dataclasses import dataclass

from infra.errors import UsageError

_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Kind:
    """A kind of name: what it names (`a machine`), the pattern of the whole name, and the rule in words (the mend)."""

    what: str
    pattern: str
    may: str

    def fits(self, text: str) -> bool:
        return re.fullmatch(self.pattern, text, re.ASCII) is not None

    def check(self, text: str) -> str:
        """The same text; UsageError where it cannot be a name of this kind."""
        if not self.fits(text):
            raise UsageError(f"{shown(text)} cannot name {self.what}", self.may)
        return text


MACHINE = Kind(
    "a machine", r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", "use up to 40 letters, digits and hyphens, such as my-run"
)
BOX = Kind("a box", r"[a-z0-9][a-z0-9-]{0,30}", "use up to 31 small letters, digits and hyphens, such as my-box")
LOCAL = Kind("a local cloud", r"[a-z0-9][a-z0-9-]{0,30}", "use up to 31 small letters, digits and hyphens")
RUN = Kind(
    "a run",
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
    "write it as the list of runs shows it: digits-20261129-081225-a71a",
)
CLUSTER = Kind("a cluster", r"[a-z][a-z0-9-]{0,30}", "use up to 31 small letters, digits and hyphens, such as campus")
REGION = Kind("a region of AWS", r"[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}", "write it as AWS does: us-east-1")
TYPE = Kind(
    "an instance type", r"[A-Za-z0-9][A-Za-z0-9.-]{0,39}", "write it as AWS does: p3.8xlarge (letters, digits, . and -)"
)
IMAGE = Kind("a machine image", r"ami-[0-9a-f]{1,32}", "write its id, such as ami-0123456789abcdef0")
INSTANCE = Kind("an instance", r"i-[0-9a-f]{1,32}", "write its id, such as i-0123456789abcdef0")

BUCKET = Kind(
    "a bucket", r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "write its name alone: 3 to 63 small letters, digits, . and -"
)
BOUNDARY = Kind(
    "a permissions boundary",
    r"arn:aws[a-z-]{0,8}:iam::([0-9]{12}|aws):policy/([A-Za-z0-9+=,.@_/-]{1,510}/)?[A-Za-z0-9+=,.@_-]{1,128}",
    "write the ARN of an IAM policy: arn:aws:iam::ACCOUNT:policy/provision-boundary, with the account's 12 digits",
)


def path(text: str) -> str:
    """The same text; UsageError where it is too long for a file's path."""
    if len(os.fsencode(text)) > 4095 or any(len(os.fsencode(part)) > 255 for part in text.split("/")):
        raise UsageError(f"{shown(text)} is too long for the name of a file", "name a file or a folder")
    return text


def shown(text: str) -> str:
    """The user's text as a message shows it: in quotes, without control characters, cut after 60 characters."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def literal(value: str) -> str:
    """The value for an EC2 filter that matches exactly this text: `*` and `?` match only themselves.

    A backslash in front makes a wildcard a plain character (Amazon EC2 User Guide, "Find your Amazon EC2 resources").
    """
    return re.sub(r"([\\*?])", r"\\\1", value)
