"""`python -m localcloud VERB`: start, stop, look at and sweep local clouds."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from infra.errors import CloudError, ProvisionError
from infra.shell import spawn
from localcloud.home import PUBLIC, Home, home

LONGEST = 900.0  # seconds until ready, with the machine image to build on a slow line


def main() -> int:
    args = _parser().parse_args()
    try:
        args.verb(args)
    except ProvisionError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def start(args: argparse.Namespace) -> None:
    """Print the cloud's record; start its daemon first if it does not run."""
    cloud = home(args.name)
    with cloud.locked("start.lock"):
        if not cloud.alive():
            _launch(cloud, args)
        record = cloud.read()
    if args.retired:
        cloud.ask("retire", {"retired": True})
    if args.preload:
        cloud.ask("preload", {"image": args.preload}, timeout=LONGEST)
    if args.bare:
        cloud.ask("bare", {"bare": True})
    print(json.dumps({key: record[key] for key in PUBLIC}))


def _launch(cloud: Home, args: argparse.Namespace) -> None:
    if not args.edge:
        _sweep(cloud.name)
    begin = cloud.log.stat().st_size if cloud.log.exists() else 0
    words = [sys.executable, "-m", "localcloud", "daemon", "--name", cloud.name, "--pending", str(args.pending)]
    words += ["--boot", str(args.boot), *(["--edge"] if args.edge else [])]
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    pid = spawn(words, log=cloud.log, env={"PYTHONPATH": os.pathsep.join(filter(None, paths))})
    deadline = time.monotonic() + LONGEST
    while not cloud.read():
        begin = _relay(cloud.log, begin)
        if os.waitpid(pid, os.WNOHANG)[0] or time.monotonic() > deadline:
            _relay(cloud.log, begin)
            raise CloudError(f"the local cloud {cloud.name} did not start", f"see its log: {cloud.log}")
        time.sleep(0.05)
    _relay(cloud.log, begin)


def _relay(log: Path, begin: int) -> int:
    """Show what the daemon said since; where its log ends now."""
    with log.open("rb") as file:
        file.seek(begin)
        said = file.read()
    sys.stderr.write(said.decode(errors="replace"))
    sys.stderr.flush()
    return begin + len(said)


def stop(args: argparse.Namespace) -> None:
    """Stop the daemon, and leave nothing in Docker."""
    cloud = home(args.name)
    edge = cloud.read().get("edge", False)
    if cloud.alive():
        cloud.ask("stop", {})
        deadline = time.monotonic() + 120
        while cloud.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
    if not edge:
        _sweep(cloud.name)


def _sweep(name: str) -> None:
    from localcloud import leftovers

    leftovers.sweep(name)


def status(args: argparse.Namespace) -> None:
    cloud = home(args.name)
    instances = cloud.ask("status")
    if args.json:
        record = cloud.read()
        print(json.dumps({"name": cloud.name, "endpoint": record["endpoint"], "instances": instances}))
        return
    print(f"{cloud.name} at {cloud.read()['endpoint']}: {len(instances)} instances")
    for row in instances:
        print("  " + "  ".join(str(row[key]) for key in ("id", "type", "state", "ip", "container")).rstrip())


def sweep(args: argparse.Namespace) -> None:
    from localcloud import leftovers

    for left in leftovers.sweep(None if args.all else home(args.name).name):
        print(f"removed {left.kind} {left.name}")


def interrupt(args: argparse.Namespace) -> None:
    payload = {"instance": args.instance, "notice": args.notice, "reason": args.reason}
    print(json.dumps(home(args.name).ask("interrupt", payload)))


def calls(args: argparse.Namespace) -> None:
    found: list[dict[str, Any]] = home(args.name).ask("calls")
    if args.json:
        print(json.dumps(found))
        return
    for call in found:
        params = " ".join(f"{key}={value}" for key, value in call["params"].items())
        print(f"{call['time']} {call['status']} {call['action']} {call.get('error', '')} {params}".rstrip())


def daemon(args: argparse.Namespace) -> None:
    from localcloud.daemon import serve

    serve(home(args.name), args.pending, args.edge, args.boot)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localcloud", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(act: Any, about: str | None = None) -> argparse.ArgumentParser:
        added = verbs.add_parser(act.__name__, help=about) if about else verbs.add_parser(act.__name__)
        added.add_argument("--name", default="default", help="which local cloud (default: default)")
        added.set_defaults(verb=act)
        return added

    for act, about in ((start, "start it, if it does not run, and print how to reach it"), (daemon, None)):
        added = verb(act, about)
        added.add_argument("--pending", type=float, default=1.0, metavar="SECONDS")
        added.add_argument("--edge", action="store_true", help="hosts without containers: for tests, needs no Docker")
        added.add_argument(
            "--boot",
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="the time from a launch until the machine's own system starts; at the edge, until it has SSH",
        )
        if act is start:
            added.add_argument("--retired", action="store_true", help="leave out p2 and p3, which AWS no longer offers")
            added.add_argument("--preload", metavar="IMAGE", help="machines have this image from the start")
            added.add_argument("--bare", action="store_true", help="Canonical's machine images are without Docker")
    verb(stop, "stop it and remove all that it made")
    verb(status, "its instances").add_argument("--json", action="store_true")
    verb(sweep, "remove what dead clouds left in Docker").add_argument("--all", action="store_true")
    verb(calls, "each API call so far").add_argument("--json", action="store_true")
    added = verb(interrupt, "take a spot instance away, after a notice")
    added.add_argument("instance", metavar="INSTANCE_ID")
    added.add_argument("--notice", type=float, default=120.0, metavar="SECONDS")
    added.add_argument("--reason", choices=("no-capacity", "by-price"), default="no-capacity")
    return parser


if __name__ == "__main__":
    sys.exit(main())
