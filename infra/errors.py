"""Every error that a user can cause: what happened, the mend, and an exit code of its own.

An error is raised where it is known and caught once, in `provision.cli.main`. The message is one or two
sentences; `mend` is what the user can do now.
"""


class ProvisionError(Exception):
    """Base of all errors shown to users as `what` and `mend`, without a traceback."""

    exit_code = 1

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what}\n  {self.mend}" if self.mend else self.what


class UsageError(ProvisionError):
    """A word on the command line, in the settings or in a recipe is wrong; or a file of the user's is."""

    exit_code = 2


class AuthError(ProvisionError):
    """AWS does not know these credentials, or does not allow what they ask for."""

    exit_code = 3


class QuotaError(ProvisionError):
    """The account's quota does not allow that many vCPUs of this family."""

    exit_code = 4


class CapacityError(ProvisionError):
    """AWS has no such machine free in this place right now."""

    exit_code = 5


class PriceError(ProvisionError):
    """The spot price is above the highest price that the user would pay."""

    exit_code = 6


class NotOfferedError(ProvisionError):
    """The instance type does not exist, or not in this region."""

    exit_code = 7


class ThrottledError(ProvisionError):
    """AWS asked us to slow down for longer than we were willing to wait."""

    exit_code = 8


class HostError(ProvisionError):
    """A host cannot be reached, did not become ready, or refused a command."""

    exit_code = 9


class HostKeyError(HostError):
    """The host shows another key than the one that it told at its start, or a key that the user does not know."""

    exit_code = 10


class EndedError(HostError):
    """The machine ended while it was made ready: AWS took it, or its time was over."""

    exit_code = 22


class EngineError(ProvisionError):
    """No Docker engine answers, or it lacks what we need (GPUs, buildx)."""

    exit_code = 11


class ImageError(ProvisionError):
    """An image could not be built, checked or moved, or what it is made of is gone."""

    exit_code = 12


class RunError(ProvisionError):
    """A training failed, or cannot be started or resumed."""

    exit_code = 13


class BusyError(RunError):
    """The host has the GPUs, but other trainings hold them: the user can wait for them."""

    exit_code = 21


class NotFoundError(ProvisionError):
    """No instance or run has that name."""

    exit_code = 14


class DiskError(ProvisionError):
    """This machine's disk has no room for what was asked for."""

    exit_code = 15


class MissingExtraError(ProvisionError):
    """An optional part of provision is not installed."""

    exit_code = 16


class CloudError(ProvisionError):
    """AWS (or the local cloud) failed in a way for which we have no error of its own."""

    exit_code = 17


class DamagedError(CloudError):
    """An object in S3 is not the JSON that it should be."""

    exit_code = 24


class UnheardError(ProvisionError):
    """Nothing was heard of a training for too long: AWS or the line was away. It may go on, and its machine is kept."""

    exit_code = 23


class LeftoverError(ProvisionError):
    """Something that we made still exists after it should have been deleted."""

    exit_code = 18


class KeptError(ProvisionError):
    """A machine could not be made ready, and is kept for a while so that the user can look at it (--keep-on-error)."""

    exit_code = 19


class UnsupportedError(ProvisionError):
    """AWS does not offer this combination of type, image and options."""

    exit_code = 20
