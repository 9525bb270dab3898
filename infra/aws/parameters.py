"""SSM public parameters: the current id of a machine image."""

from botocore.exceptions import ClientError

from infra.aws.errors import code_of, explained
from infra.aws.session import Cloud, client
from infra.errors import NotOfferedError


def parameter(cloud: Cloud, name: str) -> str:
    """The value of a public parameter, such as an AMI id. NotOfferedError where this region has none."""
    with explained(f"read the parameter {name}"):
        try:
            return str(client(cloud, "ssm").get_parameter(Name=name)["Parameter"]["Value"])
        except ClientError as error:
            if code_of(error) != "ParameterNotFound":
                raise
            raise NotOfferedError(
                f"there is no machine image {name} in {cloud.region}",
                "name one in the settings (amis: {FAMILY: ami-...}), or choose another --region",
            ) from error
