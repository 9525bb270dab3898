"""The words of docker's command line for images, as values; and what its answers mean.

Builds go through BuildKit: `docker buildx build`, or where buildx can't be had `DOCKER_BUILDKIT=1 docker build`, which
engines up to 20.10 understand. The context is a tar on standard input, so that the same words build behind SSH.
The tag is given when all is built: a build that fails or is killed leaves none.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.errors import DiskError, EngineError, HostError, ImageError, ProvisionError
from infra.shell import Result, Shell, Words

PLATFORM = "linux/amd64"

_GROUP = "add yourself to the docker group: sudo usermod -aG docker $USER, then log in again"
_START = "start the engine: sudo systemctl start docker, or let `python3 -m infra.hostsetup` install it"
_BUILDX = "install buildx: apt-get install docker-buildx, or let `python3 -m infra.hostsetup` do it"
_MIRROR = "the base image's package mirror cannot be reached or lacks this: look at its /etc/apt/sources.list"
_CA = "this network has a CA of its own: set SSL_CERT_FILE to the bundle that holds it, and build again"
_SOURCE = "give a copy that you have: --source-mirror PATH-or-URL"
_MISFIT = "the source does not fit this row's compiler or libraries: take another row (provision image matrix)"

# what docker says → the error, and the mend
_KNOWN: tuple[tuple[str, type[ProvisionError], str], ...] = (
    ("permission denied.*docker", EngineError, _GROUP),
    ("cannot connect to the docker daemon|error during connect|docker daemon running", EngineError, _START),
    ("buildx component is missing|'buildx' is not a docker command", EngineError, _BUILDX),
    ("no space left on device", DiskError, "free some disk: docker system prune"),
    ("certificate verif(y|ication) failed|signed by unknown authority|local issuer", ImageError, _CA),
    ("cannot get [0-9a-f]+ of ", ImageError, _SOURCE),
    ("temporary failure resolving|could not resolve|unable to locate|version .* was not found", ImageError, _MIRROR),
    (r"(?-i:[\d)]: (fatal |catastrophic )?error: )|undefined reference to ", ImageError, _MISFIT),
)
_COMPILER_SAID = re.compile(r"[\d)]: (fatal |catastrophic )?error: |undefined reference to |No space left on device")


@dataclass(frozen=True)
class Inspected:
    """An image at the engine: its id (sha256:…), labels and size in bytes."""

    id: str
    labels: Mapping[str, str]
    size: int


def build_words(
    tag: str,
    labels: Mapping[str, str],
    *,
    buildx: bool = True,
    stage: str | None = None,
    arguments: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    no_cache: bool = False,
) -> list[str]:
    """Build the tar on standard input. `--builder default` is the engine itself, which sees its own base images.

    `stage` is the last to build (None: the file's last); `arguments` are the file's ARGs; `secrets` are files of that
    host by id, which are mounted while a step runs and enter no layer.
    """
    head = ["docker", "buildx", "build", "--builder", "default", "--load"] if buildx else ["docker", "build"]
    more = [word for key, value in sorted(labels.items()) for word in ("--label", f"{key}={value}")]
    more += [word for key, value in sorted((arguments or {}).items()) for word in ("--build-arg", f"{key}={value}")]
    more += [word for key, path in sorted((secrets or {}).items()) for word in ("--secret", f"id={key},src={path}")]
    more += ["--target", stage] if stage else []
    more += ["--no-cache"] if no_cache else []
    return [*head, "--platform", PLATFORM, "--progress", "plain", *more, "--tag", tag, "-"]


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


def tag_words(reference: str, name: str) -> list[str]:
    return ["docker", "image", "tag", reference, name]


def untag_words(name: str) -> list[str]:
    """Take the name off; the image goes with its last one."""
    return ["docker", "image", "rm", name]


def push_words(reference: str) -> list[str]:
    return ["docker", "image", "push", reference]


def load_words() -> list[str]:
    """Take an image's tar (gzipped or not) from standard input."""
    return ["docker", "load", "--quiet"]


def list_words(label: str) -> list[str]:
    """Images that carry the label, a JSON object for each line."""
    return ["docker", "image", "ls", "--filter", f"label={label}", "--format", "{{json .}}"]


def run_words(image: str, words: Words, *, user: str | None = None, gpus: bool = False) -> list[str]:
    """Run words in a throw-away container without network; standard input is handed in."""
    more = [*(["--user", user] if user else []), *(["--gpus", "all"] if gpus else [])]
    return ["docker", "run", "--rm", "--interactive", "--network", "none", "--env", "HOME=/tmp", *more, image, *words]


def answers(shell: Shell) -> bool:
    """Whether there is an engine, and it answers."""
    try:
        return shell.run(["docker", "version", "--format", "{{.Server.Version}}"], check=False).ok
    except HostError:  # no docker at all
        return False


def has_gpus(shell: Shell) -> bool:
    """Whether the engine has NVIDIA's runtime."""
    found = shell.run(["docker", "info", "--format", "{{json .Runtimes}}"], check=False)
    return found.ok and '"nvidia"' in found.out


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

    BuildKit repeats both between two rules of dashes, and then the whole step again in its last line. With several
    jobs make goes on after an error: what the compiler complained of first is kept, if the end does not hold it.
    """
    everything = text.splitlines()
    lines = everything
    rules = [number for number, line in enumerate(lines) if line == "------"]
    if len(rules) >= 2:
        lines = [line for line in lines[rules[0] + 1 : rules[1]] if not line.startswith(" > ")]
        last = next((line for line in reversed(everything) if "exit code: " in line), "")
        lines += [f"exit code: {last.rpartition('exit code: ')[2]}"] if last else []
    end = lines[-count:]
    if any(_COMPILER_SAID.search(line) for line in end):
        return end
    return [line for line in everything if _COMPILER_SAID.search(line)][:3] + end
