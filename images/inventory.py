"""What is in an image, as its own package databases tell: dpkg's packages and Python's distributions.

It is read in a throw-away container by the shell alone, as an image may have no Python.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from infra import buildx
from infra.shell import Shell

# Lines of fields with tabs between them. A name, version or licence stands in the head of a Python package's metadata,
# which ends at the first empty line.
_LOOK = r"""
. /etc/os-release 2>/dev/null || ID=linux
printf 'os\t%s\t%s\n' "$ID" "${VERSION_ID:-}"
fields='${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n'
dpkg-query -W -f "$fields" | while IFS='	' read -r state name version architecture source at; do
    case $state in ?i*) ;; *) continue ;; esac
    licence=/usr/share/doc/$name/copyright
    [ -e "$licence" ] || licence=
    printf 'deb\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$version" "$architecture" "$source" "$at" "$licence"
done
find / -xdev \( -path '*.dist-info/METADATA' -o -path '*.egg-info/PKG-INFO' -o -name '*.egg-info' -type f \) |
while read -r path; do
    sed -e 's/\r$//' -e '/^$/q' "$path" | awk -v path="$path" '
        /^(Name|Version|License|License-Expression): / {
            key = $1; sub(/^[^:]*: */, ""); gsub(/\t/, " "); found[key] = $0
        }
        END {
            licence = found["License-Expression:"] != "" ? found["License-Expression:"] : found["License:"]
            printf "python\t%s\t%s\t%s\t%s\n", found["Name:"], found["Version:"], path, licence
        }'
done
"""


@dataclass(frozen=True, order=True)
class Deb:
    """An installed package: of which source package, and where its licence is in the image (empty: nowhere)."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    licence_file: str


@dataclass(frozen=True, order=True)
class PythonPackage:
    """An installed distribution of Python's: where its metadata lies, and the licence that it names (free words)."""

    name: str
    version: str
    path: str
    licence: str


@dataclass(frozen=True)
class Inventory:
    """All packages in an image, sorted; and its operating system (`debian`, `12`)."""

    system: str
    release: str
    debs: tuple[Deb, ...]
    python: tuple[PythonPackage, ...]


def take(tag: str, shell: Shell) -> Inventory:
    """Read the inventory of an image at the engine. ImageError where it cannot be run."""
    said = shell.run(buildx.run_words(tag, ["sh", "-c", _LOOK], user="0:0"), check=False)
    if not said.ok:
        raise buildx.failure(said, f"what is in {tag} cannot be read")
    return parse(said.out)


def parse(text: str) -> Inventory:
    """The inventory out of the text that the container printed."""
    rows = list(_rows(text))
    system = next((row[1:] for row in rows if row[0] == "os"), ["linux", ""])
    debs = {Deb(*row[1:7]) for row in rows if row[0] == "deb"}
    python = {PythonPackage(*row[1:5]) for row in rows if row[0] == "python" and row[1] and row[2]}
    return Inventory(system[0], system[1], tuple(sorted(debs)), tuple(sorted(python)))


def _rows(text: str) -> Iterator[list[str]]:
    wanted = {"os": 3, "deb": 7, "python": 5}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == wanted.get(fields[0]):
            yield fields
