"""Data volumes that a `down` kept: where they are, for whoever wants them again."""

from collections.abc import Sequence

from infra.aws.errors import explained
from infra.aws.session import Cloud, client

KEEP = "provision:keep"


def kept_zones(cloud: Cloud, names: Sequence[str]) -> dict[str, str]:
    """Volume name → its zone, of those of these names that are in this region."""
    wanted = [{"Name": f"tag:{KEEP}", "Values": list(names)}]
    with explained("look for kept volumes"):
        rows = client(cloud, "ec2").describe_volumes(Filters=wanted)["Volumes"]
    return {tag["Value"]: row["AvailabilityZone"] for row in rows for tag in row["Tags"] if tag["Key"] == KEEP}
