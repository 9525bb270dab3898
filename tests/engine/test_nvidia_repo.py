"""NVIDIA's packages for an old release come by way of today's: a signed repository, and what is wrong with others.

gpg, dpkg and apt are the real ones, in a container of Debian 12; the packages have NVIDIA's names and no content."""

from collections.abc import Iterator

import pytest

from images.choose import parse
from images.render import render
from tests.engine.host_kit import Machine, machine

# A repository in /srv with two versions of a library, what they need, and one package that no list has.
MADE = r"""
set -eu
export GNUPGHOME=/root/keys; mkdir -m 700 -p $GNUPGHOME /srv/repo /srv/loose
for who in nvidia other; do
    gpg --batch --quiet --passphrase '' --quick-generate-key $who@example rsa2048 sign never 2>/dev/null
done
package() { # FOLDER NAME VERSION DEPENDS
    mkdir -p /tmp/p/DEBIAN
    printf '%s\n' "Package: $2" "Version: $3" 'Architecture: amd64' 'Maintainer: x <x@example>' "Depends: $4" \
        'Description: stand-in' ' more of it' > /tmp/p/DEBIAN/control
    dpkg-deb --build -Zgzip /tmp/p "$1/$2_$3_amd64.deb" >/dev/null
}
package /srv/repo cuda-cublas-8-0 8.0.61.2-1 'cuda-license-8-0, libc6 (>= 2.4)'
package /srv/repo cuda-cublas-8-0 8.0.99-1 'cuda-license-8-0'
package /srv/repo cuda-license-8-0 8.0.61-1 libc6
package /srv/repo cuda-license-8-0 8.0.7-1 libc6
package /srv/repo cuda-core-8-0 8.0.61-1 'cuda-nothing | cuda-misc-headers-8-0 (= 8.0.61-1)'
package /srv/repo cuda-misc-headers-8-0 8.0.61-1 libc6
package /srv/repo cuda-misc-headers-8-0 8.0.70-1 libc6
package /srv/loose libcudnn5 5.1.10-1+cuda8.0 libc6
cd /srv/repo
for one in *.deb; do
    dpkg-deb --field $one
    echo "Filename: ./$one"; echo "Size: $(stat -c %s $one)"; echo "SHA256: $(sha256sum < $one | cut -d ' ' -f 1)"; echo
done > Packages
gzip -k Packages
sum=$(sha256sum < Packages.gz | cut -d ' ' -f 1)
printf '%s\n' 'Origin: NVIDIA' 'SHA256:' " $sum $(stat -c %s Packages.gz) Packages.gz" > Release
gpg --batch --quiet --local-user nvidia@example --armor --detach-sign --output Release.gpg Release
gpg --armor --export nvidia@example > key.pub
gpg --armor --export other@example > other.pub
gpg --with-colons --list-keys nvidia@example | awk -F: '/^fpr/ { print $10; exit }' > fingerprint
python3 -m http.server -d /srv 8000 >/dev/null 2>&1 &
sleep 1
"""
RUN = (
    "python3 /nvidia_repo.py /out --tree http://127.0.0.1:8000/repo http://127.0.0.1:8000/repo/{key}.pub"
    " $(cat /srv/repo/fingerprint) {pins}"
)
PINS = "cuda-cublas-8-0=8.0.61.2-1 cuda-core-8-0=8.0.61-1"


@pytest.fixture(scope="module")
def nvidia() -> Iterator[Machine]:
    with machine() as made:
        made.sh("apt-get update -qq && apt-get install -y -qq --no-install-recommends gpg gpg-agent gpgv python3")
        made.write("/nvidia_repo.py", dict(render(parse("caffe:cuda8.0-cudnn5.1-ubuntu14.04")).files)["nvidia_repo.py"])
        made.sh(MADE)
        yield made


def test_the_pins_and_what_they_need_of_nvidias_become_a_folder_that_apt_installs_from(nvidia: Machine) -> None:
    said = nvidia.sh(f"rm -rf /out; {RUN.format(key='key', pins=PINS)}").out
    assert said.splitlines() == [
        "cuda-core-8-0 8.0.61-1", "cuda-cublas-8-0 8.0.61.2-1", "cuda-license-8-0 8.0.61-1",
        "cuda-misc-headers-8-0 8.0.61-1",
    ]  # fmt: skip
    nvidia.sh("echo 'deb [trusted=yes] file:/out ./' > /etc/apt/sources.list.d/nvidia.list && apt-get update -qq")
    nvidia.sh(f"apt-get install -y -qq --no-install-recommends {PINS}")
    assert nvidia.sh("dpkg-query -W -f '${Version}' cuda-license-8-0").out == "8.0.61-1"


def test_a_package_that_no_list_has_comes_by_its_checksum(nvidia: Machine) -> None:
    name = "libcudnn5_5.1.10-1+cuda8.0_amd64.deb"
    words = f"python3 /nvidia_repo.py /out2 --loose http://127.0.0.1:8000/loose/{name}"
    nvidia.sh(f"{words} $(sha256sum < /srv/loose/{name} | cut -d ' ' -f 1)")
    assert "Package: libcudnn5\n" in nvidia.sh("cat /out2/Packages").out
    refused = nvidia.run(["sh", "-c", f"{words} {'0' * 64}"], check=False)
    assert not refused.ok and "is not the file that its checksum names" in refused.err


@pytest.mark.parametrize(
    ("spoil", "key", "pins", "said"),
    [
        ("true", "other", PINS, "is not signed by the key"),
        ("echo 'Origin: x' >> Release", "key", PINS, "is not signed by the key"),
        ("gzip -c /etc/passwd > Packages.gz", "key", PINS, "Packages.gz is not the file that its checksum names"),
        ("echo x >> cuda-core-8-0_8.0.61-1_amd64.deb", "key", PINS, "is not the file that its checksum names"),
        ("true", "key", "cuda-core-8-0=9.9", "do not hold cuda-core-8-0 9.9, only 8.0.61-1"),
        ("rm Release.gpg", "key", PINS, "Release.gpg cannot be fetched: 404"),
    ],
)
def test_what_is_not_nvidias_is_refused(nvidia: Machine, spoil: str, key: str, pins: str, said: str) -> None:
    nvidia.sh(f"rm -rf /kept && cp -a /srv/repo /kept && cd /srv/repo && {spoil}")
    done = nvidia.run(["sh", "-c", f"rm -rf /out3; {RUN.format(key=key, pins=pins)}"], check=False)
    nvidia.sh("rm -rf /srv/repo/* && cp -a /kept/. /srv/repo/")
    assert not done.ok and said in done.err
