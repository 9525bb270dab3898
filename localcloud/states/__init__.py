"""Step Functions, carried out: moto's interpreter of the states language, made to act as AWS does.

Its parser takes two seconds to load, so this happens at the first call to the service. An execution is a thread of
the daemon. What it calls goes to this cloud's own address, signed with a session of its role, so that the role's
policies, faults, quotas and capacity apply, and the call stands in the log with the execution's name as its client.
The page `_local/keeper` {waits, heartbeats, heartbeat_error, events} shortens waits and time-outs: see `pace`.

Not here: JSONata, activities, express executions, redrive, versions and aliases beyond moto's own; what AWS
does between a service's refusal and a Catch: its client repeats some calls by itself.
"""

import importlib
import logging
import threading

_lock = threading.Lock()
_installed = False


def ready(endpoint: str) -> None:
    """Load the interpreter and put our methods in the place of moto's; `endpoint` is where executions call."""
    global _installed
    with _lock:
        if _installed:
            return
        from moto.core.config import default_user_config

        importlib.import_module("moto.stepfunctions.parser.models")  # all of it, before any of it is changed
        from localcloud.states import api, calls, errors, paths, waits, words

        logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)  # it writes the definition at each error
        default_user_config["stepfunctions"] = {"execute_state_machine": True}
        calls.install(endpoint)
        errors.install()
        paths.install()
        waits.install()
        words.install()
        api.install()
        _installed = True
