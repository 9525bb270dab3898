"""The policy that lets a machine's role work for a run: read it all, and write what no laptop acts upon."""

from collections.abc import Mapping

from infra import ecr_name
from infra.aws import ecr
from infra.aws.s3 import Place, parse
from provision.files.s3_to_host import allow, arn, may_read, of_account
from provision.runs.manifest import Source
from provision.runs.store import Run

# all but manifest.json and attempts/: by these a laptop rents machines, sends files and starts containers
_ITS_OWN = ("log/*", "snapshots/*", "outputs/*", "inputs/*", "state.json")
# objects expire by a tag, which the guard gives them and keeps when it copies them onto themselves
_PULL = ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
_WRITES = ["s3:PutObject", "s3:PutObjectTagging", "s3:GetObjectTagging", "s3:AbortMultipartUpload"]


def policy(run: Run, data: Source | None = None, *, kept: bool = False) -> dict[str, object]:
    """The inline policy of one run, and of the S3 prefix of `data` (None: of the run's own data) where it has one.

    The role reads the run's own prefix, writes the machine's part of it, and may delete old snapshots where the recipe
    says so. Of a `kept` run, whose machines begin by themselves, it also reads the images and the host's files, tells
    the machine's public host key, and answers the keeper. UsageError for a prefix with a wildcard.
    """
    store, source = run.store, data or run.manifest.data
    region = store.cloud.region
    below = f"{arn(region, store.bucket)}/{run.prefix}"
    ours = of_account(store.owner)
    may = may_read(Place(store.bucket, run.prefix), region, store.owner)
    may.append(allow(_WRITES, [below + name for name in _ITS_OWN], ours))
    if run.manifest.recipe.snapshots.keep:
        may.append(allow("s3:DeleteObject", f"{below}snapshots/*", ours))
    if kept:
        may += _kept(run, below, ours)
    if source.kind == "s3":
        may += may_read(parse(source.value), region, source.owner)
    return {"Version": "2012-10-17", "Statement": may}


def _kept(run: Run, below: str, ours: Mapping[str, object]) -> list[dict[str, object]]:
    """AWS takes no resource for the answers to a keeper: without the token of a task they do nothing; nor for the token
    of a registry, which opens what the role may pull."""
    bucket = arn(run.store.cloud.region, run.store.bucket)
    return [
        allow(_WRITES[:2], f"{below}keys/*", ours),
        allow("s3:GetObject", [f"{bucket}/images/*", f"{bucket}/host/*"], ours),
        allow([f"states:SendTask{word}" for word in ("Success", "Failure", "Heartbeat")], "*", {}),
        *_may_pull(run.manifest.image),
    ]


def _may_pull(image: str) -> list[dict[str, object]]:
    """To pull an image of ECR, from its repository alone."""
    named = ecr_name.parse(image)
    if named is None:
        return []
    return [
        allow("ecr:GetAuthorizationToken", "*", {}),
        allow([f"ecr:{word}" for word in _PULL], ecr.repository_arn(named), {}),
    ]
