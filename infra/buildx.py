"""The command lines of docker for images, as values; and what docker's answers mean.

Builds go through BuildKit: `docker buildx build`, or where buildx can't be had `DOCKER_BUILDKIT=1 docker build`, which
engines up to 20.10 understand. The context is a tar on standard input, so that the same words build behind SSH.
The tag is given when all is built: a build that fails or is killed leaves none.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from infra.errors import DiskError, EngineError, HostError, ImageError, ProvisionError
from infra.shell import Result, Shell, Words

PLATFORM = "linux/amd64"
LIMIT_S = 1800  # for what runs in an image: the longest of Caffe's checks takes 9 s on two idle cores
ENDED = 124  # exit code where `timeout` ended the program
CHECKS = "provision.check"  # label of the containers of `run_words`
_KILLED = 137  # exit code where `timeout` had to kill it
_GRACE_S = 10  # between ending and killing
_HUNG_S = 300  # an engine that does not answer for that long after the limit has hung
_FEED = 'input=$1; shift; printf %s "$input" | "$@"'

_GROUP = "add yourself to the docker group: sudo usermod -aG docker $USER, then log in again"
_START = "start the engine: sudo systemctl start docker, or let `python3 -m infra.hostsetup` install it"
_BUILDX = "install buildx: apt-get install docker-buildx, or let `python3 -m infra.hostsetup` do it"
_MIRROR = "the base image's package mirror cannot be reached or lacks this: look at its /etc/apt/sources.list"
_ENDED = (
    "set PROVISION_DEBIAN_SNAPSHOT to the archive folder of a snapshot service, or PROVISION_DEBIAN_ARCHIVE to a mirror"
    " that keeps old releases; or take a row of a release that lives (provision image matrix)"
)
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
    ("apt.sh: support of this release ended .* no place that is known", ImageError, _ENDED),
    ("temporary failure resolving|could not resolve|unable to locate|version .* was not found", ImageError, _MIRROR),
    (r"(?-i:[\d)]: (fatal |catastrophic )?error: )|undefined reference to ", ImageError, _MISFIT),
)
_COMPILER_SAID = re.compile(r"[\d)]: (fatal |catastrophic )?error: |undefined reference to |No space left on device")


@dataclass(frozen=True)
class Inspected:
    """An image at the engine: its id (sha256:…), labels and size in bytes.

    `repo_digests` holds NAME@sha256:… for each registry that the image came from. `created` is when it was made, or
    when it got its name here if that was later.
    """

    id: str
    labels: Mapping[str, str]
    size: int
    repo_digests: tuple[str, ...] = ()
    created: datetime | None = None

    def digest(self, reference: str) -> str:
        """The digest by which the reference's registry knows the image; the image's id where there is none."""
        name = reference.partition("@")[0]
        folder, slash, last = name.rpartition("/")
        repository = folder + slash + last.partition(":")[0]
        digests = dict(name.split("@", 1) for name in self.repo_digests)
        return digests.get(repository, self.id)


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
    """The command that builds the tar on standard input. `--builder default`: the engine itself, which has our bases.

    `stage` is the last stage to build (None: the file's last); `arguments` are the file's ARGs; `secrets` are files of
    that host by id, which are mounted while a step runs and enter no layer.
    """
    head = ["docker", "buildx", "build", "--builder", "default", "--load"] if buildx else ["docker", "build"]
    more = [word for key, value in sorted(labels.items()) for word in ("--label", f"{key}={value}")]
    more += [word for key, value in sorted((arguments or {}).items()) for word in ("--build-arg", f"{key}={value}")]
    more += [word for key, path in sorted((secrets or {}).items()) for word in ("--secret", f"id={key},src={path}")]
    more += ["--target", stage] if stage else []
    more += ["--no-cache"] if no_cache else []
    return [*head, "--platform", PLATFORM, "--progress", "plain", *more, "--tag", tag, "-"]


def build_env(*, buildx: bool = True) -> dict[str, str]:
    """The variables that the command of `build_words` needs."""
    return {} if buildx else {"DOCKER_BUILDKIT": "1"}


def inspect_words(reference: str) -> list[str]:
    return ["docker", "image", "inspect", reference]


def pull_words(reference: str) -> list[str]:
    return ["docker", "pull", "--quiet", "--platform", PLATFORM, reference]


def import_words(tar: str, reference: str, labels: Mapping[str, str]) -> list[str]:
    """The command that imports a root file system's tar as an image with these labels."""
    changes = [f"LABEL {json.dumps(key)}={json.dumps(value)}" for key, value in sorted(labels.items())]
    changes.append('CMD ["bash"]')
    flags = [word for change in changes for word in ("--change", change)]
    return ["docker", "import", "--platform", PLATFORM, *flags, tar, reference]


def tag_words(reference: str, name: str) -> list[str]:
    return ["docker", "image", "tag", reference, name]


def untag_words(name: str) -> list[str]:
    """The command that removes a name; the image is deleted with its last name."""
    return ["docker", "image", "rm", name]


def push_words(reference: str) -> list[str]:
    return ["docker", "image", "push", reference]


def load_words() -> list[str]:
    """The command that loads an image's tar (gzipped or not) from standard input."""
    return ["docker", "load", "--quiet"]


def list_words(label: str) -> list[str]:
    """The command that lists images with the label, one JSON object a line."""
    return ["docker", "image", "ls", "--filter", f"label={label}", "--format", "{{json .}}"]


def run_words(
    image: str, words: Words, *, user: str | None = None, gpus: bool = False, stdin: str = "", limit_s: int = LIMIT_S
) -> list[str]:
    """The command that runs words in a throw-away container without network, for `limit_s` seconds at most.

    The words read `stdin` (at most 128 KiB) as their standard input. It is handed over as an argument and not as a
    stream (`--interactive`): under load an engine can lose the end of a short stream, and a program that reads on waits
    for ever. `timeout` inside the container keeps the limit, so that the container ends even where the client was
    killed or lost its connection.
    """
    more = [*(["--user", user] if user else []), *(["--gpus", "all"] if gpus else [])]
    fed = ["sh", "-c", _FEED, "sh", stdin] if stdin else []
    limited = ["timeout", f"--kill-after={_GRACE_S}", str(limit_s), *fed, *words]
    return [
        "docker",
        "run",
        "--rm",
        "--label",
        CHECKS,
        "--network",
        "none",
        "--env",
        "HOME=/tmp",
        *more,
        image,
        *limited,
    ]


def unstarted_words(image: str) -> list[str]:
    """The command that lists containers of `run_words` that were made and never started, one id a line.

    A client that is killed between the two requests of `docker run` leaves one: it runs nothing, but holds the image.
    """
    filters = [f"ancestor={image}", "status=created", f"label={CHECKS}"]
    return ["docker", "ps", "--all", "--quiet", *(word for one in filters for word in ("--filter", one))]


def discard_words(containers: Sequence[str]) -> list[str]:
    """The command that removes these containers, which run nothing."""
    return ["docker", "container", "rm", *containers]


def run_in(
    shell: Shell,
    image: str,
    words: Words,
    *,
    user: str | None = None,
    gpus: bool = False,
    stdin: str = "",
    limit_s: int = LIMIT_S,
) -> Result:
    """Run the command of `run_words` to its end. Where it ran past the limit the code is ENDED, and `err` says so."""
    line = run_words(image, words, user=user, gpus=gpus, stdin=stdin, limit_s=limit_s)
    begun = time.monotonic()
    result = shell.run(line, check=False, timeout=limit_s + _HUNG_S)
    if result.code in (ENDED, _KILLED) and time.monotonic() - begun >= limit_s:
        return Result(ENDED, result.out, f"{result.err}\nit did not end within {limit_s} s")
    return result


def answers(shell: Shell) -> bool:
    """Whether an engine answers."""
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
    labels = (raw.get("Config") or {}).get("Labels") or {}
    digests = tuple(raw.get("RepoDigests") or ())
    # a tag that its makers no longer build stays old for ever: what counts is when it last came here
    got = (raw.get("Metadata") or {}).get("LastTagTime") or ""
    times = [moment for moment in (_created(raw.get("Created") or ""), _created(got)) if moment]
    return Inspected(raw["Id"], labels, raw.get("Size", 0), digests, max(times, default=None))


def _created(text: str) -> datetime | None:
    """The time in docker's text, without its nanoseconds. None for 1970 and the year 1, as reproducible builds say."""
    if not re.match(r"(?!1970)[12]\d{3}-", text):
        return None
    return datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc)


def failure(result: Result, what: str, lines: int = 15) -> ProvisionError:
    """The last `lines` of docker's output as our error, with its mend."""
    said = last_words(result.err.strip() or result.out.strip(), lines)
    text = "\n".join(["", *("    " + line for line in said)])
    for pattern, kind, mend in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return kind(what + text, mend)
    return ImageError(what + text)


def last_words(text: str, count: int) -> list[str]:
    """The end of docker's output. Of a failed build: the end of the failed step's output, without the step's own text.

    BuildKit repeats both between two rules of dashes, and then the whole step again in its last line. With several
    jobs `make` goes on after an error: the compiler's first complaints are kept where the end does not hold them.
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
