"""Where moto's IAM answers otherwise than AWS does for our calls."""

from typing import Any

from moto.iam.access_control import IAMRequest
from moto.iam.exceptions import NotFoundException
from moto.iam.models import IAMBackend


def install() -> None:
    """Put our methods in the place of those of moto's classes."""
    _install_signature()
    _install_profiles()
    _install_boundary()


def _install_signature() -> None:
    """moto hashes the parameters where a request has no body, which is right for no request of a REST service."""
    moto_request = IAMRequest._create_aws_request

    def request(self: Any) -> Any:
        made = moto_request(self)
        if self._method in ("GET", "HEAD", "DELETE"):
            made.data = self._body or b""
        return made

    IAMRequest._create_aws_request = request


def _install_profiles() -> None:
    """A role that is not in the profile cannot be taken out: NoSuchEntity, where moto has a ValueError."""
    moto_remove = IAMBackend.remove_role_from_instance_profile

    def remove(self: Any, profile_name: str, role_name: str) -> None:
        if self.get_role(role_name) not in self.get_instance_profile(profile_name).roles:
            text = f"The role {role_name} is not associated with the instance profile {profile_name}."
            raise NotFoundException(text)
        moto_remove(self, profile_name, role_name)

    IAMBackend.remove_role_from_instance_profile = remove


def _install_boundary() -> None:
    """No role is made with a permissions boundary that is not there: NoSuchEntity, where moto looks at its form."""
    moto_create = IAMBackend.create_role

    def create(self: Any, name: str, trust: str, path: str, permissions_boundary: str | None, *more: Any) -> Any:
        if permissions_boundary and permissions_boundary not in self.managed_policies:
            text = f"Scope ARN: {permissions_boundary} does not exist or is not attachable."
            raise NotFoundException(text)
        return moto_create(self, name, trust, path, permissions_boundary, *more)

    IAMBackend.create_role = create
