"""moto's server application in this process, set up as our cloud's region.

Its settings are read when moto is imported, so `prepare` comes before any other module here that imports moto.
"""

import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from infra.errors import MissingExtraError

ACCOUNT = "123456789012"
REGION = "us-east-1"
AMI_ID = "ami-010ca1000deb1a012"
BARE_ID = "ami-010ca1000deb1aba2"
AMAZON = "137112412989"  # whose images these are: the user's own are those that they bake
ADMIN = "provision-local-admin"
CANONICAL = "/aws/service/canonical/"
IMAGE_PARAMETERS = {"/aws/service/deeplearning/ami/": AMI_ID, CANONICAL: AMI_ID, "/aws/service/debian/": AMI_ID}
KIND = "aws:ec2:image"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True)
class Keys:
    """An access key of the cloud's administrator."""

    access_key: str
    secret_key: str


def prepare(folder: Path) -> None:
    """Set moto's switches: it shall refuse unknown types, key pairs, images, and check each signature."""
    images = folder / "images.json"
    images.write_text(json.dumps(_images()), encoding="utf-8")
    os.environ.update(
        MOTO_AMIS_PATH=str(images),
        MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="true",
        MOTO_ENABLE_KEYPAIR_VALIDATION="true",
        MOTO_ENABLE_AMI_VALIDATION="true",
        MOTO_IAM_LOAD_MANAGED_POLICIES="false",
        INITIAL_NO_AUTH_ACTION_COUNT="0",
    )


def application() -> Any:
    """moto as a WSGI application, its data loaded. MissingExtraError where moto is not installed."""
    if find_spec("moto") is None:
        raise MissingExtraError("the local cloud needs moto", "pip install 'provision-spot[local]'")
    from moto.core.utils import get_service_model
    from moto.ec2.models import ec2_backends
    from moto.server import DomainDispatcherApplication, create_backend_app

    from localcloud import access, hardware, iam, scheduler, ssm, topics

    hardware.add_types()
    access.install()
    iam.install()
    scheduler.install()
    ssm.install()
    topics.install()
    _answer_image_parameters()
    ec2_backends[ACCOUNT][REGION]
    get_service_model("ec2").operation_model("RunInstances")
    return DomainDispatcherApplication(create_backend_app)


def administrator() -> Keys:
    """Make the user who may do everything."""
    from moto.iam.models import iam_backends

    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user(REGION, ADMIN)
    iam.put_user_policy(ADMIN, "everything", json.dumps(EVERYTHING))
    key = iam.create_access_key(ADMIN)
    return Keys(key.access_key_id, key.secret_access_key)


def be_bare(bare: bool) -> None:
    """Whether Canonical's parameters name the bare machine image, as Ubuntu's images are, or the full one."""
    IMAGE_PARAMETERS[CANONICAL] = BARE_ID if bare else AMI_ID


def _answer_image_parameters() -> None:
    """Each public parameter that names a machine image names one of ours."""
    from moto.core.utils import utcnow
    from moto.ssm.models import Parameter, ParameterDict

    moto_load = ParameterDict._check_loading_status

    def load(self: Any, key: str) -> None:
        moto_load(self, key)
        for prefix, ami in IMAGE_PARAMETERS.items():
            if str(key).startswith(prefix):
                self[key] = [Parameter(self.account_id, key, ami, "String", None, None, None, utcnow(), 1, KIND)]

    ParameterDict._check_loading_status = load


def _images() -> list[dict[str, Any]]:
    full = "The local cloud's machine image: Debian 12 with Docker and stand-ins for NVIDIA's tools"
    bare = "The local cloud's bare machine image: Debian 12 without Docker and NVIDIA's tools"
    return [
        _image(AMI_ID, "provision-local-debian-12", full, "/dev/xvda"),
        _image(BARE_ID, "provision-local-bare-debian-12", bare, "/dev/sda1"),
    ]


def _image(ami: str, name: str, about: str, root: str) -> dict[str, Any]:
    return {
        "ami_id": ami,
        "name": name,
        "description": about,
        "owner_id": AMAZON,
        "public": True,
        "state": "available",
        "virtualization_type": "hvm",
        "architecture": "x86_64",
        "image_type": "machine",
        "platform": None,
        "image_location": f"local/{name}",
        "hypervisor": "xen",
        "root_device_type": "ebs",
        "root_device_name": root,
        "sriov": "simple",
        "creation_date": "2026-01-01T00:00:00.000Z",
    }
