"""The trained weights that a training starts from: which files, under which licences, and how they reach the host.

A file is what it was said to be, or is not used: its sha256 is the recipe's, where upstream publishes one. Else it is
pinned when it is first fetched, by https alone: the sum is shown, and written into the run's manifest and the user's
weights.yaml (beside settings.yaml). From then on another file at the same URL is refused.

On the host a file lies below /data/weights in a folder of its URL's own: two recipes may mean different files by one
name. The container sees it alone, at /weights/FILE, read-only. The host fetches it itself (infra/host/download.py); one
that has no way out is given it with `provision put`.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from infra.border import load_yaml
from infra.download import private
from infra.errors import HostError, RunError, UsageError
from infra.host import program
from infra.shell import Result, Shell
from provision import console, settings
from provision.console import Say
from provision.recipes.spec import Weights

FOLDER = "/data/weights"


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a URL's file was when it was first fetched: sha256 in hex, size in bytes, the day."""

    sha256: str
    size: int
    date: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pinned: dict[str, Pin] = {}


def path_on_host(weights: Weights, folder: str = FOLDER) -> str:
    return f"{folder}/{hashlib.sha256(weights.url.encode()).hexdigest()[:12]}/{weights.file}"


# terms


def terms(weights: Weights) -> str:
    """The licence in one line, and what is to be known of the address."""
    said = weights.licence + (f" ({weights.licence_url})" if weights.licence_url else "")
    said += " — not for commercial use" if weights.non_commercial else ""
    return said + (f"; {weights.note}" if weights.note else "")


def refuse_unaccepted(files: Iterable[Weights], accepted: Iterable[str]) -> None:
    """Raise a UsageError where the user has to accept a file's licence first, and has not."""
    left = [weights for weights in files if weights.non_commercial and weights.file not in set(accepted)]
    if not left:
        return
    flags = " ".join(f"--accept-licence {weights.file}" for weights in left)
    names = ", ".join(weights.file for weights in left)
    raise UsageError(
        "; ".join(f"{weights.file}: {terms(weights)}" for weights in left),
        f"if you agree to that licence: {flags}, or accept_licences: [{names}] in {settings.home() / 'settings.yaml'}",
    )


# sums


def refuse_unproven(files: Iterable[Weights], fetched: Mapping[str, Any]) -> None:
    """Raise a UsageError for a file by http:// of which no sum is known: anyone on the way may put another in its
    place. `fetched` is the manifest's: what this run had before."""
    for weights in files:
        if weights.sha1 or expected(weights, fetched)[0] or all(map(private, (weights.url, *weights.mirrors))):
            continue
        entry = f"{{pinned: {{{json.dumps(weights.url)}: {{sha256: SUM, size: BYTES, date: '{date.today()}'}}}}}}"
        raise UsageError(
            f"weights {weights.file}: {weights.url} comes by http://, where anyone on the way can change it, and the "
            "recipe has no sha256 of it",
            "have the recipe name an address with https://, or the sha256; or, with the sum from its owner, put this "
            f"into {pins_path()}: {entry}",
        )


def pins_path() -> Path:
    """The user's own list of pinned files."""
    return settings.home() / "weights.yaml"


def pins() -> dict[str, Pin]:
    """What was pinned on this laptop, by URL."""
    return load_yaml(pins_path(), _File).pinned if pins_path().is_file() else {}


def pin(url: str, sha256: str, size: int) -> None:
    """Write the pin of a URL to the user's list; a URL that has a pin keeps it."""
    import yaml

    path = pins_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = {url: Pin(sha256, size, date.today().isoformat())} | pins()
        plain = {"pinned": {key: msgspec.to_builtins(known_pin) for key, known_pin in sorted(known.items())}}
        part = path.with_name(f".{path.name}.part")
        part.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
        part.replace(path)


def expected(weights: Weights, fetched: Mapping[str, Any]) -> tuple[str, str]:
    """The sha256 that the file must have ("": whatever comes) and who says so. `fetched` is the manifest's: what this
    run had before."""
    if weights.sha256:
        return weights.sha256, "published"
    if before := fetched.get(weights.url):
        return str(before["sha256"]), "pinned by this run"
    if known := pins().get(weights.url):
        return known.sha256, f"pinned on {known.date}"
    return "", "published as SHA-1" if weights.sha1 else "pinned at first use"


def rows(files: Sequence[Weights], fetched: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The files that would be fetched, for `--dry-run`, as JSON values."""
    found = []
    for weights in files:
        sha256, source = expected(weights, fetched or {})
        plain: dict[str, Any] = msgspec.to_builtins(weights)
        plain.pop("when")
        found.append({**plain, "sha256": sha256, "checksum": source})
    return found


def words(row: Mapping[str, Any]) -> str:
    """A row in one line."""
    size = f", {console.size(row['size'])}" if row["size"] else ""
    only = " — not for commercial use" if row["non_commercial"] else ""
    note = f"; {row['note']}" if row["note"] else ""
    return f"{row['file']}{size} from {row['url']}; licence: {row['licence']}{only}; sha256 {row['checksum']}{note}"


# to the host


def fetch(
    shell: Shell, files: Sequence[Weights], fetched: Mapping[str, Any], say: Say, folder: str = FOLDER
) -> dict[str, dict[str, Any]]:
    """Bring the files to the host; {url: {file, sha256, size}}, for the manifest. RunError or HostError where one
    cannot be had, or is not the one that it should be; UsageError where nothing could tell whether it is."""
    refuse_unproven(files, fetched)
    wanted = {path_on_host(weights, folder): (weights, *expected(weights, fetched)) for weights in files}
    for weights in files:
        say(f"weights {weights.file}: {terms(weights)}")
    done, answers = _run(shell, asked(files, fetched, folder), say)
    got = {}
    for answer in answers:
        weights, sha256, source = wanted[answer["path"]]
        if "error" in answer:
            raise _explained(weights, answer, sha256, source)
        got[weights.url] = {"file": weights.file, "sha256": answer["sha256"], "size": answer["size"]}
        _tell(weights, answer, source, say)
    if not done.ok or len(got) < len({weights.url for weights in files}):
        end = "\n".join("    " + line for line in done.err.splitlines()[-6:])
        raise HostError(f"{shell.where} did not fetch the weights (exit code {done.code})\n{end}".rstrip())
    return got


def asked(files: Iterable[Weights], fetched: Mapping[str, Any], folder: str = FOLDER) -> list[dict[str, Any]]:
    """What the script that fetches files on a host is given: each file's addresses, its place there, and its sums."""
    return [
        {
            "url": weights.url,
            "mirrors": list(weights.mirrors),
            "path": path_on_host(weights, folder),
            "sha256": expected(weights, fetched)[0],
            "sha1": weights.sha1,
            "size": weights.size,
        }
        for weights in files
    ]


def _run(shell: Shell, asked: Sequence[Mapping[str, Any]], say: Say) -> tuple[Result, list[dict[str, Any]]]:
    def on_line(text: str) -> None:
        if text and not text.startswith("{"):
            say(f"  weights {text}")

    sent = program("transfer.py", "download.py").encode()
    done = shell.run(["python3", "-", json.dumps(asked)], check=False, stdin=sent, on_line=on_line)
    answers = []
    for line in done.out.splitlines():
        with suppress(ValueError):
            answers.append(json.loads(line))
    return done, answers


def _tell(weights: Weights, answer: Mapping[str, Any], source: str, say: Say) -> None:
    came = "fetched" if answer["fetched"] else "there already"
    say(f"weights {weights.file}: {came}, {console.size(answer['size'])}; {source}: sha256 {answer['sha256']}")
    if not weights.sha256:
        pin(weights.url, answer["sha256"], answer["size"])


def _explained(weights: Weights, answer: Mapping[str, Any], sha256: str, source: str) -> RunError | HostError:
    """The error for what the script on the host said, with its mend."""
    kind, what = answer["error"], answer["what"]
    put = f"or bring the file yourself: provision put NAME {weights.file} {answer['path']}"
    if kind == "mismatch":
        mend = f"do not use it; see whether {weights.url} is still the right place, and tell the recipe's author"
        if not source.startswith("published"):
            mend = f"if its owner changed it and you trust it: take its entry out of {pins_path()}, and start a new run"
        sums = f"sha256 {what}, and {source}: {sha256}" if sha256 else f"SHA-1 {what}, and {source}: {weights.sha1}"
        return RunError(f"{weights.url} is not the file that it was: {sums}", mend)
    mends = {
        "size": "the recipe says how long it must be; tell its author, or take another `size`",
        "page": f"download it in a browser, {put}",
        "refused": f"see whether {weights.url} opens in a browser, {put}",
        "broken": f"run the same command again: what has come is kept; {put}",
        "full": "take a machine with a larger --disk",
    }
    if weights.note and kind in ("page", "refused", "broken"):
        what += f"; {weights.note}"
    return HostError(f"weights {weights.file} could not be fetched from {weights.url}: {what}", mends.get(kind, put))
