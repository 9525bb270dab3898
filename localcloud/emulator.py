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
ADMIN = "provision-local-admin"
IMAGE_PARAMETERS = ("/aws/service/deeplearning/ami/", "/aws/service/canonical/", "/aws/service/debian/")
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True)
class Keys:
    """An access key of the cloud's administrator."""

    access_key: str
    secret_key: str


def prepare(folder: Path) -> None:
    """Set moto's switches: it shall refuse unknown types, key pairs, images, and check each signature."""
    images = folder / "images.json"
    images.write_text(json.dumps([_image()]), encoding="utf-8")
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
        raise MissingExtraError("the local cloud needs moto", "pip install 'provision[local]'")
    from moto.core.utils import get_service_model
    from moto.ec2.models import ec2_backends
    from moto.server import DomainDispatcherApplication, create_backend_app

    from localcloud import access, hardware

    hardware.add_types()
    access.install()
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


def _answer_image_parameters() -> None:
    """Each public parameter that names a machine image names ours."""
    from moto.core.utils import utcnow
    from moto.ssm.models import Parameter, ParameterDict

    moto_load = ParameterDict._check_loading_status

    def load(self: Any, key: str) -> None:
        moto_load(self, key)
        if str(key).startswith(IMAGE_PARAMETERS) and key not in self.keys():
            made = Parameter(self.account_id, key, AMI_ID, "String", None, None, None, utcnow(), 1, "aws:ec2:image")
            self.setdefault(key, []).append(made)

    ParameterDict._check_loading_status = load


def _image() -> dict[str, Any]:
    return {
        "ami_id": AMI_ID,
        "name": "provision-local-debian-12",
        "description": "The local cloud's machine image: Debian 12 with Docker and stand-ins for NVIDIA's tools",
        "owner_id": ACCOUNT,
        "public": True,
        "state": "available",
        "virtualization_type": "hvm",
        "architecture": "x86_64",
        "image_type": "machine",
        "platform": None,
        "image_location": "local/debian-12",
        "hypervisor": "xen",
        "root_device_type": "ebs",
        "root_device_name": "/dev/xvda",
        "sriov": "simple",
        "creation_date": "2026-01-01T00:00:00.000Z",
    }
