"""What a build needs to know of the host's network, as BuildKit secrets: the CA bundle, pip's own configuration, and
the places that keep the packages of ended releases.

A network that opens TLS has a CA of its own, which the host trusts and a base image does not; a site may have an index
of Python packages of its own. Both are mounted while a step runs and enter no layer and no history. They are read on
the host that builds, put into a folder there that only its user can read, and removed afterwards.
"""

import configparser
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from infra.shell import Shell

# variables that name a bundle to programs
_BUNDLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")
NAMES = ("ca", "pip", "apt")
# of this laptop's environment: the setting, and the name by which apt.sh reads it
_PLACES = {
    "PROVISION_DEBIAN_ARCHIVE": "debian_archive",
    "PROVISION_DEBIAN_SECURITY": "debian_security",
    "PROVISION_DEBIAN_SNAPSHOT": "debian_snapshot",
    "PROVISION_UBUNTU_ARCHIVE": "ubuntu_archive",
}
_KEYS = ("index-url", "extra-index-url", "trusted-host")

# A folder of this user's; what a build that was killed left goes after a day, longer than any build takes.
_FOLDER = r"""
find "${TMPDIR:-/tmp}" -maxdepth 1 -user "$(id -u)" -name 'provision-secrets.*' -mmin +1440 -exec rm -rf {} + || true
mktemp -d "${TMPDIR:-/tmp}/provision-secrets.XXXXXXXX"
"""

# Writes DIR/ca where the host has a CA of its own: all that it trusts, each certificate once (BuildKit takes 500 KB).
# Prints the texts of pip's configuration files.
_COLLECT = r"""
set -eu
dir=$1; system=/etc/ssl/certs/ca-certificates.crt
shift
umask 077
own=$(find /usr/local/share/ca-certificates -name '*.crt' 2>/dev/null | head -n 1)
for bundle in "$@"; do if [ -s "$bundle" ]; then own=$bundle; fi; done
if [ -n "$own" ]; then
    cat "$system" "$@" 2>/dev/null | awk '
        /-BEGIN CERTIFICATE-/ { block = ""; inside = 1 }
        inside { block = block $0 "\n" }
        /-END CERTIFICATE-/ { if (inside && !(block in seen)) printf "%s", block; seen[block]; inside = 0 }' > "$dir/ca"
    [ -s "$dir/ca" ] || rm "$dir/ca"
fi
user=${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf
for file in /etc/pip.conf "$HOME/.pip/pip.conf" "$user" "${PIP_CONFIG_FILE:-}"; do
    if [ -f "$file" ] && [ -r "$file" ]; then cat "$file"; echo; echo '[end of a file]'; fi
done
"""


@contextmanager
def collected(shell: Shell) -> Iterator[dict[str, str]]:
    """Gives the paths on that host of the secrets that exist, by id (out of NAMES); deletes the files afterwards."""
    folder = shell.run(["sh", "-c", _FOLDER]).out.strip()
    try:
        write(shell, folder)
        names = shell.run(["ls", folder]).out.split()
        yield {name: f"{folder}/{name}" for name in names}
    finally:
        shell.run(["rm", "-rf", folder], check=False)


def write(shell: Shell, folder: str) -> None:
    """Write into a folder of that host a file for each of NAMES that has something to say.

    Files of an earlier call are removed first.
    """
    shell.run(["rm", "-f", *(f"{folder}/{name}" for name in NAMES)])
    variables = _environment(shell)
    bundles = list(dict.fromkeys(variables[name] for name in _BUNDLES if variables.get(name)))
    said = shell.run(["sh", "-c", _COLLECT, "collect", folder, *bundles]).out
    texts = {"pip": pip_config(said.split("[end of a file]\n"), variables), "apt": apt_places(os.environ)}
    for name, text in texts.items():
        if text:
            shell.run(["sh", "-c", 'umask 077; cat > "$1/$2"', "write", folder, name], stdin=text.encode())


def apt_places(variables: Mapping[str, str]) -> str:
    """The lines NAME=URL that apt.sh reads, for the settings that are set; empty where none is."""
    return "".join(f"{name}={variables[setting]}\n" for setting, name in _PLACES.items() if variables.get(setting))


def holds_password(text: str) -> bool:
    """Whether an address in the text names a user, who may be a token: https://user:password@host/."""
    return re.search(r"://[^/\s@]+@", text) is not None


def _environment(shell: Shell) -> dict[str, str]:
    found = shell.run(["env"]).out.splitlines()
    return dict(line.split("=", 1) for line in found if "=" in line)


def pip_config(files: Sequence[str], variables: Mapping[str, str]) -> str:
    """pip's configuration as a container can use it: where packages come from, if that is over HTTP.

    `files` are texts of pip.conf, the strongest last; PIP_… variables are stronger. Local paths are left out: they
    are not in the container. Empty where nothing is set.
    """
    found: dict[str, str] = {}
    for text in files:
        found |= _settings(text)
    for key in _KEYS:
        if value := variables.get("PIP_" + key.upper().replace("-", "_")):
            found[key] = value
    kept = {key: " ".join(word for word in found[key].split() if _usable(key, word)) for key in _KEYS if key in found}
    lines = [f"{key} = {value}" for key, value in kept.items() if value]
    return "\n".join(["[global]", *lines, ""]) if lines else ""


def _settings(text: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:  # pip itself would refuse it
        return {}
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    return {key: value for key, value in found.items() if key in _KEYS}


def _usable(key: str, value: str) -> bool:
    return key == "trusted-host" or value.startswith(("http://", "https://"))
