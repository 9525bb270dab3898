"""nvidia_repo.py OUT PIN=VERSION... --tree URL KEY FINGERPRINT --loose URL SHA256: NVIDIA's packages, in a folder.

The TLS of an old release cannot talk to today's servers (Ubuntu 14.04: no common cipher), and its apt knows no
signed-by. So a release of today fetches: each tree's key, its Release, its list of packages, and from there the pinned
packages with all of NVIDIA's that they depend on. The signature must be of the named key, each file as long as its list
says and of that SHA-256. Packages that no list holds any more come one by one, by their SHA-256. OUT is then a flat
repository: `deb [trusted=yes] file:OUT ./`. Standard library, gpgv and dpkg; runs in the build, on Debian 12.
"""

import argparse
import base64
import gzip
import hashlib
import http.client
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

Package = dict[str, str]  # the fields of one stanza, and `Tree`, the address that Filename is relative to
Get = Callable[[str], bytes]

_TRIES, _PAUSE_S, _TIMEOUT_S = 4, 5.0, 120.0


class Wish(NamedTuple):
    """One word of a Depends field: a name, and perhaps a relation (=, >=, …) to a version."""

    name: str
    relation: str
    version: str


def stanzas(text: str) -> list[Package]:
    """The packages of a list, or the one of a control file."""
    found = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = re.findall(r"(?m)^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", block)
        if lines:
            found.append(dict(lines))
    return found


def wishes(package: Package) -> list[list[Wish]]:
    """What the package depends on: for each need the alternatives."""
    text = ", ".join(package[field] for field in ("Pre-Depends", "Depends") if package.get(field))
    needs = []
    for need in text.split(","):
        words = [
            re.match(r"\s*([^\s(:]+)(?::\w+)?\s*(?:\(\s*([<>=]+)\s*([^)\s]+)\s*\))?", one) for one in need.split("|")
        ]
        needs.append([Wish(one[1], one[2] or "", one[3] or "") for one in words if one])
    return [need for need in needs if need]


def holds(version: str, relation: str, wanted: str) -> bool:
    """Whether dpkg finds that `version` has that relation to `wanted`."""
    if not relation:
        return True
    words = ["dpkg", "--compare-versions", version, {"<": "<<", ">": ">>"}.get(relation, relation), wanted]
    return subprocess.run(words, check=False).returncode == 0


def newest(packages: Iterable[Package]) -> Package | None:
    best = None
    for one in packages:
        if best is None or holds(one["Version"], ">>", best["Version"]):
            best = one
    return best


def closure(lists: list[Package], pins: dict[str, str]) -> list[Package]:
    """The pinned packages, and of the lists all that these need; what no list has is the distribution's own."""
    by_name: dict[str, list[Package]] = {}
    for one in lists:
        by_name.setdefault(one["Package"], []).append(one)
    chosen = {name: _pinned(by_name.get(name, []), name, version) for name, version in pins.items()}
    todo = list(chosen.values())
    while todo:
        for need in wishes(todo.pop()):
            if any(wish.name in chosen for wish in need):
                continue
            found = next((one for one in (_answer(by_name, wish) for wish in need) if one), None)
            if found:
                chosen[found["Package"]] = found
                todo.append(found)
    return [chosen[name] for name in sorted(chosen)]


def _pinned(there: list[Package], name: str, version: str) -> Package:
    for one in there:
        if one["Version"] == version:
            return one
    have = ", ".join(sorted(one["Version"] for one in there)) or "none"
    raise SystemExit(f"NVIDIA's lists do not hold {name} {version}, only {have}")


def _answer(by_name: dict[str, list[Package]], wish: Wish) -> Package | None:
    return newest(one for one in by_name.get(wish.name, []) if holds(one["Version"], wish.relation, wish.version))


def get(url: str) -> bytes:
    """What the address gives; tried again where the network breaks off. SystemExit where it has nothing."""
    for left in reversed(range(_TRIES)):
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            if error.code < 500 or not left:
                raise SystemExit(f"{url} cannot be fetched: {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            if not left:
                raise SystemExit(f"{url} cannot be fetched: {error}") from error
        time.sleep(_PAUSE_S)
    raise AssertionError


def dearmored(key: bytes) -> bytes:
    """A public key as gpgv reads it."""
    if not key.lstrip().startswith(b"-----BEGIN"):
        return key
    body = key.decode("ascii").replace("\r", "").split("\n\n", 1)[1].split("-----END")[0]
    return base64.b64decode("".join(line for line in body.split("\n") if not line.startswith("=")))


def verified(release: bytes, signature: bytes, key: bytes, fingerprint: str) -> bool:
    """Whether the key with that fingerprint, out of the keys in `key`, signed the text."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, name) for name in ("Release", "Release.gpg", "key.gpg")}
        for path, content in zip(paths.values(), (release, signature, dearmored(key)), strict=True):
            path.write_bytes(content)
        words = [
            "gpgv",
            "--status-fd",
            "1",
            "--keyring",
            str(paths["key.gpg"]),
            str(paths["Release.gpg"]),
            str(paths["Release"]),
        ]
        done = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    signers = re.findall(r"(?m)^\[GNUPG:\] VALIDSIG .* ([0-9A-F]{40})$", done.stdout.decode())
    return done.returncode == 0 and fingerprint.upper() in signers


def packages_of(tree: str, key: str, fingerprint: str, fetch: Get = get) -> list[Package]:
    """All packages of a tree, whose list is what the key's owner signed. SystemExit where it is not."""
    release = fetch(f"{tree}/Release")
    if not verified(release, fetch(f"{tree}/Release.gpg"), fetch(key), fingerprint):
        raise SystemExit(f"the Release of {tree} is not signed by the key {fingerprint}")
    sums = stanzas(release.decode())[0].get("SHA256", "")
    listed = re.search(r"(?m)^\s*([0-9a-f]{64})\s+\d+\s+(?:\./)?Packages\.gz$", sums)
    if listed is None:
        raise SystemExit(f"the Release of {tree} names no Packages.gz")
    text = gzip.decompress(checked(fetch(f"{tree}/Packages.gz"), listed[1], f"{tree}/Packages.gz")).decode()
    return [{**one, "Tree": tree} for one in stanzas(text)]


def checked(content: bytes, sha256: str, what: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SystemExit(f"{what} is not the file that its checksum names")
    return content


def keep(out: Path, package: Package, content: bytes) -> str:
    """Write the package's file into OUT; its stanza for the list there."""
    name = f"{package['Package']}_{urllib.parse.quote(package['Version'], safe='')}.deb"
    (out / name).write_bytes(content)
    own = {
        key: value
        for key, value in package.items()
        if key not in ("Tree", "Filename", "Size", "MD5sum", "SHA1", "SHA256", "SHA512")
    }
    own.update(Filename=f"./{name}", Size=str(len(content)), SHA256=hashlib.sha256(content).hexdigest())
    return "".join(f"{key}: {value}\n" for key, value in own.items())


def loose(url: str, sha256: str, folder: Path) -> tuple[Package, bytes]:
    """A package that is fetched by its own address: its control fields and its content."""
    content = checked(get(url), sha256, url)
    path = folder / "loose.deb"
    path.write_bytes(content)
    said = subprocess.run(["dpkg-deb", "--field", str(path)], check=True, stdout=subprocess.PIPE).stdout
    path.unlink()
    return stanzas(said.decode())[0], content


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("pins", nargs="*", metavar="PIN=VERSION")
    parser.add_argument("--tree", nargs=3, action="append", default=[], metavar=("URL", "KEY", "FINGERPRINT"))
    parser.add_argument("--loose", nargs=2, action="append", default=[], metavar=("URL", "SHA256"))
    chosen = parser.parse_intermixed_args(words)
    chosen.out.mkdir(parents=True, exist_ok=True)
    made = []
    for url, sha256 in chosen.loose:
        package, content = loose(url, sha256, chosen.out)
        made.append(keep(chosen.out, package, content))
    lists = [one for tree, key, fingerprint in chosen.tree for one in packages_of(tree.rstrip("/"), key, fingerprint)]
    for package in closure(lists, dict(pin.split("=", 1) for pin in chosen.pins)):
        url = f"{package['Tree']}/{package['Filename'].lstrip('./')}"
        made.append(keep(chosen.out, package, checked(get(url), package["SHA256"], url)))
        print(f"{package['Package']} {package['Version']}")
    (chosen.out / "Packages").write_text("\n".join(made), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
