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
    UnsupportedError,
)

_CREDENTIALS = (
    "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`; "
    "`--cloud local` needs no account"
)
_PERMISSION = "`provision iam-policy` prints the policy that is needed; `provision doctor` checks it"
_AGAIN = "wait a minute and run the same command again"

# kind of error, mend, and the codes that mean it
_KINDS: tuple[tuple[type[ProvisionError], str, tuple[str, ...]], ...] = (
    (AuthError, _CREDENTIALS, (
        "AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException",
        "UnrecognizedClientException", "InvalidAccessKeyId", "MissingAuthenticationToken", "IncompleteSignature",
    )),
    (AuthError, _PERMISSION, (
        "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthorizationError", "403", "Forbidden",
    )),
    (AuthError, "set this machine's clock: AWS takes no request that is minutes old", (
        "RequestExpired", "RequestTimeTooSkewed",
    )),
    (AuthError, "once for this account: aws iam create-service-linked-role --aws-service-name spot.amazonaws.com", (
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
    )),
    (AuthError, "AWS has not opened this account for it yet: see its e-mail to you, or ask AWS Support", (
        "Blocked", "PendingVerification", "OptInRequired",
    )),
    (QuotaError,
     "ask for a higher quota in the Service Quotas console (EC2, vCPUs of this family), or take a smaller type", (
        "VcpuLimitExceeded", "MaxSpotInstanceCountExceeded", "InstanceLimitExceeded", "SpotInstanceCountExceeded",
        "MaxSpotFleetRequestCountExceeded",
    )),
    (QuotaError, "end what is not needed (provision audit), or ask for more in the Service Quotas console", (
        "LimitExceeded", "ServiceQuotaExceededException", "SecurityGroupLimitExceeded", "VolumeLimitExceeded",
        "RulesPerSecurityGroupLimitExceeded", "NetworkInterfaceLimitExceeded", "LaunchTemplateLimitExceeded",
    )),
    (CapacityError, "try again later, another --region, or --on-demand", (
        "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity", "UnfulfillableCapacity",
        "InsufficientReservedInstanceCapacity", "InsufficientFreeAddressesInSubnet", "InsufficientAddressCapacity",
        "InsufficientVolumeCapacity",
    )),
    (PriceError, "raise --max-price, or leave it out to pay up to the on-demand price", ("SpotMaxPriceTooLow",)),
    (NotOfferedError, "choose another instance type or --region", (
        "Unsupported", "InvalidInstanceType", "InvalidInstanceType.NotFound", "InvalidFleetConfiguration",
    )),
    (UnsupportedError, "choose another instance type or machine image: AWS does not offer this combination", (
        "UnsupportedOperation", "InvalidParameterCombination",
    )),
    (UnsupportedError, "correct `ami` or `amis` in the settings, or remove them", (
        "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidAMIID.Malformed",
    )),
    (ThrottledError, _AGAIN, (
        "RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
        "RequestThrottledException", "SlowDown", "TooManyRequestsException", "EC2ThrottledException",
    )),
    (CloudError, f"AWS itself has a problem: {_AGAIN}", (
        "InternalError", "InternalFailure", "InternalServerException", "Unavailable", "ServiceUnavailable",
        "ServiceUnavailableException",
    )),
)  # fmt: skip
_BY_CODE = {code: (kind, mend) for kind, mend, codes in _KINDS for code in codes}
# codes of calls that may succeed when they are made again some seconds later
PASSING = frozenset(code for kind, _, codes in _KINDS if kind in (ThrottledError, CloudError) for code in codes)


def codes_of(*kinds: type[ProvisionError]) -> tuple[str, ...]:
    """AWS's codes that mean one of these errors, sorted."""
    return tuple(sorted(code for code, (kind, _) in _BY_CODE.items() if kind in kinds))


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns each botocore exception into a ProvisionError; `doing` ("describe instances") names the call in it."""
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
    """The ClientError as one of our errors; `doing` names the call."""
    return refusal(code_of(error), str(error.response.get("Error", {}).get("Message", "")), doing)


def refusal(code: str, said: str, doing: str) -> ProvisionError:
    """AWS's error `code` and what it `said` as our error."""
    kind, mend = _BY_CODE.get(code, (CloudError, ""))
    if mend == _PERMISSION:  # AWS's own words are a page of encoded text
        return kind(f"cannot {doing}: these credentials are not allowed to ({code})", mend)
    return kind(f"cannot {doing}: {said.strip() or code} ({code})", mend)
