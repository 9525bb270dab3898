"""SSM public parameters: the current id of a machine image."""

from infra.aws.errors import explained
from infra.aws.session import Cloud, client


def parameter(cloud: Cloud, name: str) -> str:
    """The value of a public parameter, such as an AMI id."""
    with explained(f"read the parameter {name}"):
        return str(client(cloud, "ssm").get_parameter(Name=name)["Parameter"]["Value"])
