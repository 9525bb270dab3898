"""AWS is several clouds: what follows from a region's name, and that nothing is fixed to the usual one."""

import json
import re
from pathlib import Path

import botocore
import pytest

import infra
from infra.aws import regions
from infra.aws.quotas import GPU_QUOTAS
from infra.aws.session import Cloud, own_address
from infra.errors import CloudError
from infra.names import REGION
from provision.account import permissions

ROOT = Path(infra.__file__).parents[1]
# what has one name in all of AWS, or is the emulator's
FIXED = {
    ("infra/aws/errors.py", "spot.amazonaws.com"),  # services whose principal is the same everywhere
    ("infra/aws/fault_injection.py", "fis.amazonaws.com"),
    ("provision/account/permissions.yaml", "fis.amazonaws.com"),
    ("infra/aws/scheduler.py", "scheduler.amazonaws.com"),
    ("infra/aws/step_functions.py", "states.amazonaws.com"),
    ("provision/account/permissions.yaml", "states.amazonaws.com"),
    ("provision/engines/rights.py", "spot.amazonaws.com"),
    ("provision/account/permissions.yaml", "spot.amazonaws.com"),
    ("provision/account/permissions.yaml", "scheduler.amazonaws.com"),
    ("infra/aws/session.py", "checkip.amazonaws.com"),  # tells an address, to anybody
    ("infra/ecr_name.py", "ACCOUNT.dkr.ecr.REGION.amazonaws.com"),  # how a docstring writes such a name
    ("infra/aws/regions.py", "amazonaws.com"),  # the table itself
    ("infra/aws/regions.py", "amazonaws.com.cn"),
    ("infra/aws/regions.py", "s3.REGION.amazonaws.com"),
    ("infra/host/guard/s3.py", "s.amazonaws.com"),  # where it is given no endpoint: regions.s3_endpoint
    ("infra/host/stub.py", "s.amazonaws.com"),  # as the guard: its order names the endpoint elsewhere
    ("infra/names.py", "arn:aws"),  # the mend's example
}


def known() -> dict[str, tuple[str, str]]:
    """Each region that botocore knows → its partition and suffix."""
    table = json.loads((Path(botocore.__file__).parent / "data" / "endpoints.json").read_text())
    return {region: (one["partition"], one["dnsSuffix"]) for one in table["partitions"] for region in one["regions"]}


def test_every_region_is_in_the_partition_that_botocore_says() -> None:
    regions_known = known()
    assert {"us-east-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1"} <= set(regions_known)
    for region, (name, suffix) in regions_known.items():
        assert REGION.fits(region)
        assert (regions.partition(region), regions.suffix(region)) == (name, suffix), region
        assert regions.arn(region, "s3:::b") == f"arn:{name}:s3:::b"


def test_no_source_is_fixed_to_the_usual_partition() -> None:
    """A new line with arn:aws: or amazonaws.com goes through infra.aws.regions, or is named above with its reason."""
    found = set()
    for wing in ("infra", "provision", "images"):
        for path in (ROOT / wing).rglob("*"):
            if path.suffix in (".py", ".yaml", ".sh", ".service", ".j2"):
                text = path.read_text(encoding="utf-8")
                words = re.findall(r"arn:aws(?=:)|[\w.]*amazonaws\.com(?:\.cn)?", text)
                found |= {(str(path.relative_to(ROOT)), word) for word in words}
    assert found - FIXED == set()


@pytest.mark.parametrize(
    ("region", "partition", "ec2"),
    [
        ("us-east-1", "aws", "ec2.amazonaws.com"),
        ("cn-north-1", "aws-cn", "ec2.amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "ec2.amazonaws.com"),
        ("eusc-de-east-1", "aws-eusc", "ec2.amazonaws.eu"),
    ],
)
def test_both_policies_are_of_the_regions_partition(region: str, partition: str, ec2: str) -> None:
    boundary = f"arn:{partition}:iam::111122223333:policy/b"
    text = json.dumps([permissions.policy(region, boundary), permissions.boundary_policy(region, ["lab"])])
    assert set(re.findall(r"arn:([\w-]+):", text)) == {partition}
    assert f'"iam:PassedToService": "{ec2}"' in text
    assert '"iam:PassedToService": ["scheduler.amazonaws.com", "states.amazonaws.com"]' in text
    assert "{" + "partition}" not in text and "{suffix}" not in text and "{boundary}" not in text


@pytest.mark.parametrize(
    ("region", "bucket", "endpoint"),
    [
        ("us-east-1", "lab", ""),
        ("us-gov-west-1", "lab", ""),
        ("us-east-1", "my.data", "https://s3.us-east-1.amazonaws.com"),
        ("cn-north-1", "lab", "https://s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_guard_is_told_an_address_where_its_own_would_not_do(region: str, bucket: str, endpoint: str) -> None:
    assert regions.s3_endpoint(Cloud("aws", region), bucket) == endpoint
    assert regions.s3_endpoint(Cloud("local", region, "http://127.0.0.1:9"), bucket) == "http://127.0.0.1:9"


def test_the_page_of_quotas_is_the_partitions() -> None:
    quota = GPU_QUOTAS[0]
    assert quota.page("us-east-1").startswith("https://us-east-1.console.aws.amazon.com/servicequotas/")
    assert quota.page("cn-north-1").startswith("https://cn-north-1.console.amazonaws.cn/servicequotas/")
    assert quota.page("eusc-de-east-1") == f"Service Quotas, EC2, {quota.code}"


@pytest.mark.parametrize(
    "said", ["0.0.0.0/0", "<html>log in</html>", "", "203.0.113.9/8", "1.2.3.4%0A5.6.7.8", "9" * 500]
)
def test_an_own_address_that_is_none_opens_no_port(said: str) -> None:
    with pytest.raises(CloudError, match="own address"):
        own_address(Cloud("aws", "us-east-1", check_ip=f"data:text/plain,{said}"))
    assert own_address(Cloud("aws", "us-east-1", check_ip="data:text/plain,203.0.113.9%0A")) == "203.0.113.9"
