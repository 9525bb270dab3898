"""The program through which SSH goes with `--via ssm`: ssh, and our own shell, start it for each connection.

It finds the credentials as every command does, so that its words hold no secret: anyone on this laptop may see them.
"""

import contextlib
import sys

from infra.aws import session_manager
from infra.aws.session import Cloud
from infra.errors import ProvisionError
from provision import clouds, console, settings

# the folder that it is started in is no place to look for modules: it is the user's
_PROGRAM = "import sys; sys.path[:] = filter(None, sys.path); from provision.machines.ssm_proxy import main; main()"


def words(cloud: Cloud, instance_id: str) -> tuple[str, ...]:
    """The command whose standard input and output are the machine's SSH."""
    profile = (cloud.profile,) if cloud.profile else ()
    return (sys.executable, "-c", _PROGRAM, instance_id, cloud.name, cloud.region, *profile)


def main() -> None:
    """Be the connection; its errors go to standard error, with their exit codes."""
    instance_id, name, region, *profile = sys.argv[1:]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is SSH's
            chosen = settings.load(cloud=name, region=region, profile=profile[0] if profile else None)
            cloud = clouds.resolve(chosen)
        session_manager.connect(cloud, instance_id)
    except ProvisionError as error:
        console.line(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
