"""The bundle: the runner and the guard's modules that it stands on, as files below the shared folder, by their sum."""

import hashlib
import json
from functools import cache
from importlib.resources import files

from infra.host import guard_modules, script, slim_python
from infra.ssh_folder import SshFolder


@cache
def contents() -> tuple[str, dict[str, bytes]]:
    """The sum in hex, and each file by its path in the bundle."""
    guard = {name: script(name).encode() for name in guard_modules()}
    own = {
        f"cluster/{path.name}": slim_python(path.read_text(encoding="utf-8")).encode()
        for path in files("infra.cluster").iterdir()
        if path.name.endswith(".py")
    }
    found = {**guard, **own}
    return hashlib.sha256(
        json.dumps([(name, text.decode()) for name, text in sorted(found.items())]).encode()
    ).hexdigest(), found


def bring(place: SshFolder) -> str:
    """Let the cluster have this laptop's runner; its folder there. Jobs that run keep the one that they began with."""
    digest, found = contents()
    below = f"host/{digest[:32]}"
    if place.head(f"{below}/whole") is None:
        place.write_all([(f"{below}/{name}", text) for name, text in found.items()])
        place.write(f"{below}/whole", digest.encode())
    return f"{place.door.root}/{below}"
