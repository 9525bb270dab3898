"""AWS's error codes as our errors: what happened and the mend, in one place.

Codes: the EC2 API reference's list of error codes, and IAM's, S3's and STS's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)

from infra.errors import (
    AuthError,
    CapacityError,
    CloudError,
    NotOfferedError,
    PriceError,
    ProvisionError,
    QuotaError,
    ThrottledError,
)

_CREDENTIALS = (
    "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`; "
    "`--cloud local` needs no account"
)
_KINDS: dict[type[ProvisionError], tuple[str, tuple[str, ...]]] = {
    AuthError: (
        _CREDENTIALS,
        (
            "AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "RequestExpired",
            "UnrecognizedClientException", "InvalidAccessKeyId", "OptInRequired", "MissingAuthenticationToken",
        ),
    ),
    QuotaError: (
        "ask for a higher quota in the Service Quotas console (EC2, vCPUs of this family), or take a smaller type",
        ("VcpuLimitExceeded", "MaxSpotInstanceCountExceeded", "InstanceLimitExceeded", "SpotInstanceCountExceeded"),
    ),
    CapacityError: (
        "try again later, another --region, or --on-demand",
        (
            "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity",
            "InsufficientReservedInstanceCapacity",
        ),
    ),
    PriceError: ("raise --max-price, or leave it out to pay up to the on-demand price", ("SpotMaxPriceTooLow",)),
    NotOfferedError: (
        "choose another instance type or --region",
        ("Unsupported", "InvalidInstanceType", "InvalidInstanceType.NotFound", "UnsupportedOperation"),
    ),
    ThrottledError: (
        "wait a minute and run the same command again",
        ("RequestLimitExceeded", "Throttling", "ThrottlingException", "SlowDown", "TooManyRequestsException"),
    ),
}  # fmt: skip
_BY_CODE = {code: (kind, mend) for kind, (mend, codes) in _KINDS.items() for code in codes}
_DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "403")


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Let no botocore exception out: `doing` ("describe instances") names the call in the message."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound, TokenRetrievalError) as error:
        raise AuthError(f"no AWS credentials: {error}", _CREDENTIALS) from error
    except ClientError as error:
        raise translate(error, doing) from error
    except (ConnectionError, HTTPClientError) as error:
        raise CloudError(f"cannot {doing}: {error}", "check the network, --region and the endpoint") from error
    except BotoCoreError as error:
        raise CloudError(f"cannot {doing}: {error}") from error


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


def translate(error: ClientError, doing: str) -> ProvisionError:
    """The ClientError as ours."""
    code = code_of(error)
    said = str(error.response.get("Error", {}).get("Message", "")).strip()
    if code in _DENIED:
        return AuthError(f"cannot {doing}: these credentials are not allowed to ({code})", "ask for that permission")
    kind, mend = _BY_CODE.get(code, (CloudError, ""))
    return kind(f"cannot {doing}: {said or code} ({code})", mend)
