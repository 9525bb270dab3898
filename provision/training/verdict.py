"""Why a keeper gave a run up, as one of our errors with its exit code and a mend that goes on with the run."""

import re

from infra.aws.errors import codes_of
from infra.errors import (
    AuthError,
    CapacityError,
    CloudError,
    HostError,
    LeftoverError,
    NotOfferedError,
    PriceError,
    ProvisionError,
    QuotaError,
    RunError,
    UnsupportedError,
)
from provision.engines import kept
from provision.runs.standing import Keeper, Standing
from provision.runs.store import Run

_CODE = re.compile(r'"([A-Za-z][\w.]+)"')
_FORBIDDEN = re.compile(r"Status Code: 40[13]\b|\bUnauthorizedOperation\b|\bAccessDenied")
# the first that AWS said of any place is the verdict, as for a launch of this laptop's (infra/aws/fleet.py)
_GRAVE: tuple[type[ProvisionError], ...] = (AuthError, QuotaError, PriceError, UnsupportedError, NotOfferedError)
_BY_ERROR: dict[str, type[ProvisionError]] = {
    "NoCapacity": CapacityError, "Refused": CloudError, "Unclaimed": CloudError, "Unready": HostError,
    "StillThere": LeftoverError,
}  # fmt: skip
# how to go on: commands, with the run's id
_MENDS: dict[type[ProvisionError], str] = {
    CapacityError: "resume {run} --wait-for-capacity 24",
    PriceError: "resume {run} --on-demand",
    QuotaError: "resume {run}",
    AuthError: "iam-policy",
    UnsupportedError: "resume {run} --instance TYPE",
    NotOfferedError: "resume {run} --or-equivalent",
}
_BEFORE: dict[type[ProvisionError], str] = {
    CapacityError: "wait longer (or take another type with --instance, or --fallback on-demand)",
    PriceError: "pay the on-demand price, or raise --max-price",
    QuotaError: "ask for a higher quota in the Service Quotas console (EC2), then go on",
    AuthError: "the policy that is needed",
    UnsupportedError: "take another type",
    NotOfferedError: "take a type that can stand in for it",
}


def of(run: Run, now: Standing) -> ProvisionError | None:
    """The error of a run that nobody keeps any more, though it has not ended; None of one that has."""
    if not (now.broken_off or now.goes_on):
        return None
    kind = kind_of(now.keeper)
    if kind is LeftoverError:
        mend = f"end it: {run.store.cloud.hint(f'stop {run.id}')}"
    else:
        words = _MENDS.get(kind, "resume {run}").format(run=run.id)
        mend = f"{_BEFORE.get(kind, 'go on with it')}: {run.store.cloud.hint(words)}"
    why = kept.why(now.keeper) or f"its keeper is gone ({now.keeper.status.lower() if now.keeper else ''})"
    at = f" at iteration {now.snapshot.iteration}" if now.snapshot else ""
    return kind(f"{run.id} is {now.word}{at}: {why.replace(' ()', '')}", mend)


def kind_of(keeper: Keeper | None) -> type[ProvisionError]:
    """Which error the keeper's end is."""
    if keeper is None:
        return RunError
    if keeper.error in ("NoCapacity", "Refused"):
        codes = set(_CODE.findall(keeper.cause))
        for kind in _GRAVE:
            passes = kind is NotOfferedError and codes & set(codes_of(CapacityError))
            if codes & set(codes_of(kind)) and not passes:
                return kind
        if keeper.error == "Refused" and _FORBIDDEN.search(keeper.cause):
            return AuthError
    return _BY_ERROR.get(keeper.error, RunError)
