"""NVIDIA's wheels, for what they hold: small ones whole, of large ones only the file that is asked for.

A wheel is a zip, and a zip is read from its end: with HTTP ranges a library of 100 MB comes out of a wheel of 700 MB
without the rest. What was read is kept in build/facts/.
"""

import io
import json
import re
import struct
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

KEPT = Path(__file__).parents[2] / "build" / "facts"

_PLATFORMS = ("manylinux1_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_27_x86_64",
              "manylinux_2_28_x86_64")  # fmt: skip
_PLATFORM = [f"--platform={one}" for one in _PLATFORMS]
_PLATFORM += ["--only-binary=:all:", "--implementation=py", "--abi=none", "--no-deps"]
_FATBIN = struct.pack("<I", 0xBA55ED50)  # how a container of GPU code begins (cuda-fatbin format, as nvcc writes it)
_ELF_KIND = 2  # an entry with real code; 1 is PTX
_BLOCK = 1 << 20


class Ranges(io.RawIOBase):
    """A file on a web server, read piece by piece."""

    def __init__(self, url: str) -> None:
        self._url, self._at, self._block, self._start = url, 0, b"", 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as answer:
            self._size = int(answer.headers["Content-Length"])

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, count: int = -1) -> bytes:
        """Up to `count` bytes; a request fetches at least a mebibyte, since zipfile asks for little at a time."""
        count = self._size - self._at if count < 0 else min(count, self._size - self._at)
        if not self._start <= self._at <= self._at + count <= self._start + len(self._block):
            end = min(self._size, self._at + max(count, 8 * _BLOCK)) - 1
            asked = urllib.request.Request(self._url, headers={"Range": f"bytes={self._at}-{end}"})
            with urllib.request.urlopen(asked) as answer:
                assert answer.status == 206, "the index does not serve ranges"
                self._block, self._start = answer.read(), self._at
        begin = self._at - self._start
        self._at += count
        return self._block[begin : begin + count]


def _pip(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def versions(package: str) -> list[str]:
    """All versions that the index has."""
    said = re.search(r"Available versions: (.*)", _pip("index", "versions", package))
    assert said
    return said[1].split(", ")


def there(index: str) -> bool:
    """Whether an index of PyTorch's answers."""
    try:
        with urllib.request.urlopen(f"{index}/torch/", timeout=20):
            return True
    except OSError:
        return False


def unpacked(package: str, version: str) -> Path:
    """The folder of a wheel, fetched and unpacked once."""
    folder = KEPT / f"{package}-{version}"
    if not folder.exists():
        _pip("download", "--no-deps", *_PLATFORM, "-d", str(KEPT), f"{package}=={version}")
        (wheel,) = KEPT.glob(f"{package.replace('-', '_')}-{version}-*.whl")
        with zipfile.ZipFile(wheel) as zipped:
            zipped.extractall(folder)
        wheel.unlink()
    return folder


def gpu_code(package: str, version: str, library: str, *words: str) -> set[int]:
    """The architectures (70 for sm_70) of the real code in the library whose name begins so, inside a wheel.

    `words` go to pip: another index, the Python that the wheel is for.
    """
    kept = KEPT / f"{package}-{version}-{library}.json"
    if not kept.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(Ranges(_url(package, version, *words))) as wheel:
            (name,) = [one for one in wheel.namelist() if re.search(rf"/lib/{library}\.so(\.\d+)?$", one)]
            kept.write_text(json.dumps(sorted(architectures(wheel.read(name)))))
    return set(json.loads(kept.read_text()))


def _url(package: str, version: str, *words: str) -> str:
    """Where the index keeps the wheel: pip says so without fetching it."""
    dry = ["--dry-run", "--quiet", "--ignore-installed", "--report=-", f"--target={KEPT / 'none'}"]
    said = _pip("install", *dry, *_PLATFORM, *words, f"{package}=={version}")
    return str(json.loads(said)["install"][0]["download_info"]["url"])


def architectures(binary: bytes) -> set[int]:
    """The architectures of the real code in a shared library (its fatbin containers, one after the other)."""
    found: set[int] = set()
    at = binary.find(_FATBIN)
    while at >= 0:
        header, size = struct.unpack_from("<HQ", binary, at + 6)
        end = at + header + size
        found |= _entries(binary, at + header, end)
        at = binary.find(_FATBIN, max(end, at + 4))
    return found


def _entries(binary: bytes, at: int, end: int) -> set[int]:
    found = set()
    while at + 32 <= min(end, len(binary)):
        kind, _, header, size = struct.unpack_from("<HHIQ", binary, at)
        if kind not in (1, 2) or header < 32:  # the pad at the end, or bytes that only look like a container
            break
        if kind == _ELF_KIND:
            found.add(struct.unpack_from("<I", binary, at + 28)[0])
        at += header + size
    return found
