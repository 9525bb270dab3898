"""The words of docker's command line for images, as values; and what its answers mean.

Builds go through BuildKit: `docker buildx build`, or where buildx can't be had `DOCKER_BUILDKIT=1 docker build`, which
engines up to 20.10 understand. The context is a tar on standard input, so that the same words build behind SSH.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.errors import EngineError, ImageError, ProvisionError
from infra.shell import Result, Shell, Words

PLATFORM = "linux/amd64"

_GROUP = "add yourself to the docker group: sudo usermod -aG docker $USER, then log in again"
_START = "start the engine: sudo systemctl start docker, or let `python3 -m infra.hostsetup` install it"
_BUILDX = "install buildx: apt-get install docker-buildx, or let `python3 -m infra.hostsetup` do it"
_MIRROR = "the base image's package mirror cannot be reached or lacks this: look at its /etc/apt/sources.list"

# what docker says → the error, and the mend
_KNOWN: tuple[tuple[str, type[ProvisionError], str], ...] = (
    ("permission denied.*docker", EngineError, _GROUP),
    ("cannot connect to the docker daemon|error during connect|docker daemon running", EngineError, _START),
    ("buildx component is missing|'buildx' is not a docker command", EngineError, _BUILDX),
    ("no space left on device", ImageError, "free some disk: docker system prune"),
    ("temporary failure resolving|could not resolve|unable to locate|version .* was not found", ImageError, _MIRROR),
)


@dataclass(frozen=True)
class Inspected:
    """An image at the engine: its id (sha256:…), labels and size in bytes."""

    id: str
    labels: Mapping[str, str]
    size: int


def build_words(tag: str, labels: Mapping[str, str], *, buildx: bool = True) -> list[str]:
    """Build the tar on standard input. `--builder default` is the engine itself, which sees its own base images."""
    head = ["docker", "buildx", "build", "--builder", "default", "--load"] if buildx else ["docker", "build"]
    marks = [word for key, value in sorted(labels.items()) for word in ("--label", f"{key}={value}")]
    return [*head, "--platform", PLATFORM, "--progress", "plain", *marks, "--tag", tag, "-"]


def build_env(*, buildx: bool = True) -> dict[str, str]:
    """What `build_words` needs in the environment."""
    return {} if buildx else {"DOCKER_BUILDKIT": "1"}


def inspect_words(reference: str) -> list[str]:
    return ["docker", "image", "inspect", reference]


def pull_words(reference: str) -> list[str]:
    return ["docker", "pull", "--quiet", "--platform", PLATFORM, reference]


def import_words(tar: str, reference: str, labels: Mapping[str, str]) -> list[str]:
    """A root file system as an image; a change for each label."""
    changes = [f"LABEL {json.dumps(key)}={json.dumps(value)}" for key, value in sorted(labels.items())]
    changes.append('CMD ["bash"]')
    flags = [word for change in changes for word in ("--change", change)]
    return ["docker", "import", "--platform", PLATFORM, *flags, tar, reference]


def save_words(reference: str) -> list[str]:
    """The image as a tar on standard output."""
    return ["docker", "save", reference]


def load_words() -> list[str]:
    """Take an image's tar (gzipped or not) from standard input."""
    return ["docker", "load", "--quiet"]


def list_words(label: str) -> list[str]:
    """Images that carry the label, a JSON object for each line."""
    return ["docker", "image", "ls", "--filter", f"label={label}", "--format", "{{json .}}"]


def run_words(image: str, words: Words, *, user: str | None = None) -> list[str]:
    """Run words in a throw-away container without network; standard input is handed in."""
    who = ["--user", user] if user else []
    return ["docker", "run", "--rm", "--interactive", "--network", "none", "--env", "HOME=/tmp", *who, image, *words]


def has_buildx(shell: Shell) -> bool:
    return shell.run(["docker", "buildx", "version"], check=False).ok


def inspect(shell: Shell, reference: str) -> Inspected | None:
    """The image of that tag or id at the engine, or None. EngineError where no engine answers."""
    result = shell.run(inspect_words(reference), check=False)
    if result.ok:
        return _inspected(json.loads(result.out)[0])
    if "no such image" in result.err.lower():
        return None
    raise failure(result, f"cannot look for the image {reference}")


def _inspected(raw: dict[str, Any]) -> Inspected:
    return Inspected(raw["Id"], (raw.get("Config") or {}).get("Labels") or {}, raw.get("Size", 0))


def failure(result: Result, what: str, lines: int = 15) -> ProvisionError:
    """What docker said at last, as our error with its mend."""
    said = last_words(result.err.strip() or result.out.strip(), lines)
    text = "\n".join(["", *("    " + line for line in said)])
    for pattern, kind, mend in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return kind(what + text, mend)
    return ImageError(what + text)


def last_words(text: str, count: int) -> list[str]:
    """The end of what docker said. Of a failed build: the end of the step's output, without the step's own text.

    BuildKit repeats both between two rules of dashes, and then the whole step again in its last line.
    """
    lines = text.splitlines()
    rules = [number for number, line in enumerate(lines) if line == "------"]
    if len(rules) >= 2:
        lines = [line for line in lines[rules[0] + 1 : rules[1]] if not line.startswith(" > ")]
        last = next((line for line in reversed(text.splitlines()) if "exit code: " in line), "")
        lines += [f"exit code: {last.rpartition('exit code: ')[2]}"] if last else []
    return lines[-count:]
