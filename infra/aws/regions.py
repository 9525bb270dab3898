"""The regions that an account may use."""

from infra.aws.errors import explained
from infra.aws.session import Cloud, client


def names(cloud: Cloud) -> list[str]:
    """Those that are enabled for this account, sorted."""
    with explained("list the regions"):
        return sorted(row["RegionName"] for row in client(cloud, "ec2").describe_regions()["Regions"])
