"""Names of images in a registry of AWS's (ECR): ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG or …/NAME@sha256:HEX.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/docker-push-ecr-image.html
"""

import re
from dataclasses import dataclass

from infra.errors import UsageError
from infra.names import shown

_HOST = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-\d{1,2})\.[a-z0-9.-]+")
_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class EcrName:
    """One image there; of `tag` and `digest` one is "". `host` is the registry's name."""

    host: str
    account: str
    region: str
    repository: str
    tag: str = ""
    digest: str = ""

    def pinned(self, digest: str) -> str:
        """The image's name with that digest, by which it is always the same."""
        return f"{self.host}/{self.repository}@{digest}"


def parse(words: str) -> EcrName | None:
    """What the words name in a registry of ECR; None where they name nothing of the kind. UsageError where the
    registry's name is followed by what names no image."""
    host, _, rest = words.partition("/")
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    path, at, digest = rest.partition("@")
    repository, colon, tag = path.partition(":")
    one = bool(_DIGEST.fullmatch(digest)) and not colon if at else bool(_TAG.fullmatch(tag))
    if not one or not _REPOSITORY.fullmatch(repository):
        raise UsageError(
            f"{shown(words)} names no image of ECR", f"write it as {host}/NAME:TAG, or {host}/NAME@sha256:HEX"
        )
    return EcrName(host, found["account"], found["region"], repository, tag, digest)
