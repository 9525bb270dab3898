"""A network interface cannot be deleted under its instance. moto does it, and can then not terminate the instance."""

from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces


def install() -> None:
    """Put our methods in the place of those of moto's class; moto's own way at the end of an instance is another."""
    moto_delete = ElasticNetworkInterfaces.delete_network_interface

    def delete(self: Any) -> Any:
        asked = self._get_param("NetworkInterfaceId")
        for instance in self.ec2_backend.all_instances():
            if instance.state != "terminated" and any(nic.id == asked for nic in instance.nics.values()):
                raise EC2ClientError("InvalidParameterValue", f"Network interface '{asked}' is currently in use.")
        return moto_delete(self)

    ElasticNetworkInterfaces.delete_network_interface = delete
