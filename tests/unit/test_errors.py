"""AWS's codes become our errors, each with its mend and exit code; other programs' errors keep theirs."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from infra.aws.errors import explained, translate
from infra.errors import (
    AuthError,
    CapacityError,
    CloudError,
    EngineError,
    MissingExtraError,
    NotOfferedError,
    PriceError,
    ProvisionError,
    QuotaError,
    ThrottledError,
    UnsupportedError,
)
from infra.shell import Result, Secret, show
from provision.clouds import _as_said


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "AWS said so"}}, "RunInstances")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AuthFailure", AuthError),
        ("UnauthorizedOperation", AuthError),
        ("VcpuLimitExceeded", QuotaError),
        ("MaxSpotInstanceCountExceeded", QuotaError),
        ("InsufficientInstanceCapacity", CapacityError),
        ("SpotMaxPriceTooLow", PriceError),
        ("Unsupported", NotOfferedError),
        ("RequestLimitExceeded", ThrottledError),
        ("InsufficientFreeAddressesInSubnet", CapacityError),
        ("UnfulfillableCapacity", CapacityError),
        ("Blocked", AuthError),
        ("PendingVerification", AuthError),
        ("RequestExpired", AuthError),
        ("LimitExceeded", QuotaError),
        ("InvalidParameterCombination", UnsupportedError),
        ("InvalidAMIID.NotFound", UnsupportedError),
        ("ThrottlingException", ThrottledError),
        ("InternalError", CloudError),
        ("SomethingNew", CloudError),
    ],
)
def test_a_code_has_its_kind(code: str, kind: type[ProvisionError]) -> None:
    error = translate(refusal(code), "launch a p3.8xlarge")
    assert type(error) is kind
    assert "cannot launch a p3.8xlarge" in error.what
    assert error.mend or kind is CloudError


def test_each_reason_has_its_own_mend() -> None:
    """One kind of error, and still not one mend for all: a clock that is wrong is not mended by a permission."""
    codes = ("AuthFailure", "UnauthorizedOperation", "RequestExpired", "PendingVerification")
    mends = [translate(refusal(code), "launch").mend for code in codes]
    assert len(set(mends)) == len(codes)
    assert "iam-policy" in mends[1]
    assert "quota" in translate(refusal("VcpuLimitExceeded"), "launch").mend


def test_no_botocore_exception_gets_out() -> None:
    for raised, kind in (
        (NoCredentialsError(), AuthError),
        (EndpointConnectionError(endpoint_url="https://ec2"), CloudError),
        (refusal("Throttling"), ThrottledError),
    ):
        with pytest.raises(kind), explained("list instances"):
            raise raised


def test_exit_codes_are_all_different() -> None:
    kinds = [ProvisionError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)


def test_the_local_clouds_error_is_the_same_error_here() -> None:
    error = _as_said(Result(11, "", "12:00:00 starting\nno Docker engine answers\n  start it\n"))
    assert isinstance(error, EngineError)
    assert (error.what, error.mend) == ("no Docker engine answers", "start it")
    missing = _as_said(Result(1, "", "/usr/bin/python3: No module named moto\n"))
    assert isinstance(missing, MissingExtraError)
    assert "provision-spot[local]" in missing.mend


def test_a_secret_does_not_show() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in repr(secret)
    assert "hunter2" not in show(["login", secret])
    assert f"{secret}" == "hunter2"
