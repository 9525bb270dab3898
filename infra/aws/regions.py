"""The regions that an account may use, and what follows from a region's name: AWS is several clouds, which AWS calls
partitions, with ARNs and addresses of their own (China, the US government, the European Sovereign Cloud …)."""

from dataclasses import dataclass

from infra.aws.errors import explained
from infra.aws.session import Cloud, client


@dataclass(frozen=True)
class _Partition:
    """The first word of ARNs behind `arn:`; the end of addresses of services; the host of the console, where known."""

    name: str
    suffix: str
    console: str = ""


_AWS = _Partition("aws", "amazonaws.com", "console.aws.amazon.com")
# by the beginning of a region's name: botocore's endpoints.json, which a test compares
_OTHERS = {
    "cn-": _Partition("aws-cn", "amazonaws.com.cn", "console.amazonaws.cn"),
    "us-gov-": _Partition("aws-us-gov", "amazonaws.com", "console.amazonaws-us-gov.com"),
    "eusc-": _Partition("aws-eusc", "amazonaws.eu"),
    "us-iso-": _Partition("aws-iso", "c2s.ic.gov"),
    "us-isob-": _Partition("aws-iso-b", "sc2s.sgov.gov"),
    "eu-isoe-": _Partition("aws-iso-e", "cloud.adc-e.uk"),
    "us-isof-": _Partition("aws-iso-f", "csp.hci.ic.gov"),
}


def names(cloud: Cloud) -> list[str]:
    """The names of the regions that are enabled for this account, sorted. AuthError where we may not ask."""
    with explained("list the regions"):
        return sorted(row["RegionName"] for row in client(cloud, "ec2").describe_regions()["Regions"])


def partition(region: str) -> str:
    """The first word of ARNs behind `arn:`, for that region."""
    return _of(region).name


def arn(region: str, rest: str) -> str:
    """The ARN in that region's partition; `rest` is what stands behind it: `s3:::my-bucket`."""
    return f"arn:{_of(region).name}:{rest}"


def suffix(region: str) -> str:
    """The end of the addresses of AWS's services there."""
    return _of(region).suffix


def machines_principal(region: str) -> str:
    """What EC2 is called in the trust of a role. Other services of ours have one name everywhere."""
    return f"ec2.{_of(region).suffix}"


def quota_page(region: str, code: str) -> str:
    """The console's page on which a higher quota of EC2's is asked for; "" where its address is not known."""
    console = _of(region).console
    return f"https://{region}.{console}/servicequotas/home/services/ec2/quotas/{code}" if console else ""


def s3_endpoint(cloud: Cloud, bucket: str) -> str:
    """S3's address for the guard, which adds the bucket as a folder; "" where its own will do.

    Its own has the bucket in front of s3.REGION.amazonaws.com: that is not there in China, and no certificate fits it
    where the bucket's name has dots.
    """
    usual = suffix(cloud.region) == _AWS.suffix and "." not in bucket
    return cloud.endpoint or ("" if usual else f"https://s3.{cloud.region}.{suffix(cloud.region)}")


def endpoint(cloud: Cloud, service: str) -> str:
    """The address of a service for a machine in the cloud's region."""
    return cloud.endpoint or f"https://{service}.{cloud.region}.{suffix(cloud.region)}"


def _of(region: str) -> _Partition:
    return next((found for start, found in _OTHERS.items() if region.startswith(start)), _AWS)
