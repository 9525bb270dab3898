"""Finishing: what shows up of launches that were ended before AWS showed their machine (`late`) is ended."""

from infra.aws.ec2 import Ec2
from infra.aws.resources import machine_of
from infra.aws.session import Cloud
from infra.errors import ProvisionError
from provision.console import Say
from provision.machines import down, late


def finish(cloud: Cloud, say: Say) -> None:
    """End the machines of late launches that AWS shows by now in this region.

    AWS is asked only where this laptop has noted such a launch. It raises no error: what goes wrong is said, and the
    next command tries again.
    """
    try:
        noted = late.launches(cloud)
        here = {instance.launch for instance in Ec2(cloud).instances()} if noted else set()
        for launch in sorted(noted & here):
            say(f"the machine of {launch}, which was ended before AWS showed it, is there: ending it")
            down.down(cloud, machine_of(launch), say, launch=launch)
            late.forget(cloud, launch)
    except ProvisionError as error:
        say(f"{error.what}; the next command tries again")
