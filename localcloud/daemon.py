"""The process behind one local cloud: network, emulator, machines, metadata service; until it is told to stop."""

import logging
import os
import secrets
import signal
import threading
from typing import Any

from localcloud import emulator, leftovers
from localcloud.edge import Edge
from localcloud.engine import Engine
from localcloud.home import Home

log = logging.getLogger("localcloud")


def serve(home: Home, pending: float, edge: bool = False, boot: float = 0.0) -> None:
    """Hold the cloud's lock, build it up, answer, and take it down at a signal or when asked to."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    home.record.unlink(missing_ok=True)
    with home.locked("daemon.lock"):
        try:
            _serve(home, Edge(home.name, boot) if edge else Engine(home.name, home.folder), pending, boot)
        finally:
            home.record.unlink(missing_ok=True)
            if not edge:
                leftovers.sweep(home.name, mine=home.folder)
            log.info("stopped")


def _serve(home: Home, engine: Engine, pending: float, boot: float) -> None:
    image = engine.image(log.info)
    emulator.prepare(home.folder)
    moto = emulator.application()

    from localcloud import ec2
    from localcloud.machines import Machines
    from localcloud.wsgi import Front

    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    network = engine.network()
    machines = Machines(engine, image, pending, 0.0 if isinstance(engine, Edge) else boot)
    ec2.install(machines)
    secret = secrets.token_urlsafe(24)
    front = Front(home.name, secret, network, moto, machines, over.set)
    server = _server(network.gateway, front)
    endpoint = front.endpoint = f"http://{network.gateway}:{server.server_port}"
    engine.sidecar(image, endpoint, secret)
    home.write({**_record(home, endpoint), "secret": secret, "edge": isinstance(engine, Edge)})
    log.info("ready at %s", endpoint)
    over.wait()
    log.info("stopping")
    machines.close()
    server.shutdown()


def _server(host: str, app: Any) -> Any:
    """Listen, and answer from threads."""
    from moto.server import MotoRequestHandler
    from werkzeug.serving import make_server

    server = make_server(host, 0, app, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True, name="server").start()
    return server


def _record(home: Home, endpoint: str) -> dict[str, Any]:
    keys = emulator.administrator()
    return {
        "name": home.name,
        "endpoint": endpoint,
        "checkip": f"{endpoint}/_local/checkip",
        "region": emulator.REGION,
        "access_key": keys.access_key,
        "secret_key": keys.secret_key,
        "state_dir": str(home.folder),
        "pid": os.getpid(),
    }
