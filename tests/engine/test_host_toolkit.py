"""The driver and NVIDIA's container toolkit on a bare machine, out of a signed apt repository of stand-in packages."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from infra.shell import LocalShell, Result
from tests.engine.host_kit import Machine, machine

pytestmark = pytest.mark.engine

# two packages, an index and its signature: what apt needs of a repository
MAKE = r"""
set -e
cd /root && export GNUPGHOME=/root/gnupg && mkdir -m 700 gnupg
gpg --batch --quiet --passphrase '' --quick-generate-key stand-in@example rsa2048 sign never 2>/dev/null
deb=repository/stable/deb/amd64; mkdir -p $deb
package() { # NAME, with its files in /root/NAME
    mkdir -p $1/DEBIAN
    printf 'Package: %s\nVersion: 1\nArchitecture: amd64\nMaintainer: none\nDescription: none\n' $1 > $1/DEBIAN/control
    dpkg-deb --root-owner-group --build $1 $deb/$1.deb >/dev/null
    { cat $1/DEBIAN/control; echo "Filename: ./$1.deb"; stat -c 'Size: %s' $deb/$1.deb
      echo "SHA256: $(sha256sum < $deb/$1.deb | cut -d ' ' -f 1)"; echo; } >> $deb/Packages
}
program() { mkdir -p "$(dirname $1)"; { echo '#!/bin/sh'; cat; } > $1; chmod 755 $1; }
program nvidia-container-toolkit/usr/bin/nvidia-ctk <<'EOF'
[ "$*" = "runtime configure --runtime=docker" ] && mkdir -p /etc/docker && echo nvidia > /etc/docker/daemon.json
EOF
echo exit 0 | program nvidia-container-toolkit/usr/bin/nvidia-container-runtime-hook
program nvidia-driver-535-server/usr/bin/nvidia-smi <<'EOF'
for gpu in 1 2 3 4; do echo 535.1; done
EOF
package nvidia-container-toolkit
package nvidia-driver-535-server
cd $deb
{ date -u '+Date: %a, %d %b %Y %T UTC'; echo SHA256:
  echo " $(sha256sum < Packages | cut -d ' ' -f 1) $(stat -c %s Packages) Packages"; } > Release
gpg --batch --quiet --clearsign --output InRelease Release
gpg --armor --export > /root/repository/gpgkey
gpg --with-colons --list-keys | awk -F: '/^fpr/ { print $10; exit }'
"""
PREPARED = {
    "docker": 'echo "$*" >> /root/docker; echo runc $(cat /etc/docker/daemon.json 2>/dev/null)',
    "systemctl": 'echo "$*" >> /root/systemctl',
    "sleep": "true",
}


class Repository:
    """Where it is, and the fingerprint of its key."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    folder = tmp_path_factory.mktemp("repository")
    with machine() as made:
        made.run(["apt-get", "update", "-qq"])
        made.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", "gpg", "gpg-agent"])
        key = made.run(["sh", "-c", MAKE]).out.strip()
        made.get("/root/repository/.", folder)
        words = ["docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}", made.where]
        gateway = LocalShell().run(words).out.strip()
    with served(folder) as port:
        yield Repository(f"http://{gateway}:{port}", key)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The folder over HTTP; the port."""
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.fixture(scope="module")
def bare() -> Iterator[Machine]:
    with machine() as made:
        for name, body in PREPARED.items():
            made.fake(name, body)
        yield made


def nvidia(
    host: Machine, repository: Repository, gpus: int = 4, branch: str = "535", key: str = "", url: str = ""
) -> Result:
    host.sh("rm -f /root/systemctl")
    return host.script("nvidia.sh", str(gpus), branch, url or repository.url, key or repository.key)


def has(host: Machine, name: str) -> bool:
    return host.sh(f"command -v {name}").ok


def test_without_a_driver_and_none_to_install_it_says_so_at_once(bare: Machine, repository: Repository) -> None:
    result = nvidia(bare, repository, branch="")
    assert (result.code, result.out) == (30, "")
    assert result.err == "nvidia: no driver answers, and this machine image was to have one\n"


def test_another_key_is_refused_and_nothing_is_installed(bare: Machine, repository: Repository) -> None:
    result = nvidia(bare, repository, key="0" * 40)
    assert result.code == 31
    assert f"the key of {repository.url} is {repository.key}, not {'0' * 40}" in result.err
    assert "nvidia" not in bare.sh("ls /etc/apt/sources.list.d").out
    assert not has(bare, "nvidia-ctk")


def test_a_repository_that_is_away_is_asked_three_times(bare: Machine, repository: Repository) -> None:
    result = nvidia(bare, repository, url=f"{repository.url}/away")
    assert result.code == 32
    assert result.err.splitlines()[-1] == f"nvidia: {repository.url}/away does not answer"
    assert result.out.count("that did not work; again in") == 2


def test_a_bare_machine_gets_driver_toolkit_and_runtime_and_then_nothing(bare: Machine, repository: Repository) -> None:
    result = nvidia(bare, repository)
    assert result.code == 0, result.err
    assert result.out.splitlines() == [
        "nvidia: installing the driver 535",
        "nvidia: installing the container toolkit",
        "nvidia: telling Docker of the GPUs",
        "nvidia: 4 GPUs, driver 535.1",
    ]
    assert bare.sh("dpkg-query -Wf '${db:Status-Status}' nvidia-container-toolkit").out == "installed"
    assert bare.sh("cat /etc/docker/daemon.json").out == "nvidia\n"
    assert bare.sh("cat /root/systemctl").out == "restart docker\n"

    result = nvidia(bare, repository, branch="", url="http://192.0.2.1")  # no repository is asked again
    assert (result.code, result.out) == (0, "nvidia: 4 GPUs, driver 535.1\n")
    assert not bare.sh("cat /root/systemctl").ok


def test_fewer_gpus_than_the_type_has_is_an_error(bare: Machine, repository: Repository) -> None:
    bare.fake("nvidia-smi", "echo 535.1; echo 535.1")
    bare.fake("nvidia-container-runtime-hook", "true")
    bare.sh("mkdir -p /etc/docker; echo nvidia > /etc/docker/daemon.json")
    result = nvidia(bare, repository)
    assert (result.code, result.err) == (33, "nvidia: GPUs that answer: 2; this type has 4\n")
