"""ECR: which image a name means now."""

from dataclasses import replace

from botocore.exceptions import ClientError

from infra.aws import regions
from infra.aws.errors import code_of, explained
from infra.aws.session import Cloud, client
from infra.ecr_name import EcrName
from infra.errors import NotFoundError, UsageError


def digest(cloud: Cloud, name: EcrName) -> str:
    """The digest (sha256:HEX) of the image, which is there. NotFoundError where it is not, UsageError for a registry's
    name that is not the region's, AuthError where these credentials may not look."""
    if name.host != f"{name.account}.dkr.ecr.{name.region}.{regions.suffix(name.region)}":
        raise UsageError(
            f"{name.host} is no registry of ECR's in {name.region}",
            f"its name there is {name.account}.dkr.ecr.{name.region}.{regions.suffix(name.region)}",
        )
    asked = {"imageDigest": name.digest} if name.digest else {"imageTag": name.tag}
    with explained(f"look for the image {name.repository} in {name.host}"):
        try:
            found = client(replace(cloud, region=name.region), "ecr").describe_images(
                registryId=name.account, repositoryName=name.repository, imageIds=[asked]
            )["imageDetails"]
        except ClientError as error:
            if code_of(error) not in ("RepositoryNotFoundException", "ImageNotFoundException"):
                raise
            found = []
    if not found:
        raise NotFoundError(
            f"{name.host} has no image {name.repository}{f'@{name.digest}' if name.digest else f':{name.tag}'}",
            f"push it there (docker push), or see what it has: aws ecr list-images --region {name.region} "
            f"--registry-id {name.account} --repository-name {name.repository}",
        )
    return str(found[0]["imageDigest"])


def endpoint(cloud: Cloud, region: str) -> str:
    """ECR's own address in a region, as a machine asks it."""
    return regions.endpoint(replace(cloud, region=region), "api.ecr")


def repository_arn(name: EcrName) -> str:
    """The ARN of the image's repository."""
    return regions.arn(name.region, f"ecr:{name.region}:{name.account}:repository/{name.repository}")
