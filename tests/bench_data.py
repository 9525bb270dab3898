"""`make bench`, data: pictures into databases, next to Caffe's own convert_imageset in Debian's package.

Both make LMDBs of the same 6000 JPEGs of 500 x 375 (cuttings of scikit-learn's photos), resized to 256 x 256 and
encoded again, on all cores. convert_imageset is timed in its container, without the container's start; ours with all
of the command, Python's start too. The median of three, in turn; the records are compared byte for byte.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2

from images.build import build
from images.choose import choose
from infra.shell import LocalShell
from provision.data.backends import reader
from provision.settings import cache_home
from tests.unit.data_kit import photo

SHELL = LocalShell()
COUNT, ROUNDS = 6000, 3  # VOC 2007 and 2012 have 16,551 to train with
_SCRIPT = """
umask 0; rm -rf theirs; begun=$(date +%s.%N)
convert_imageset --encoded --encode_type=jpg --resize_height=256 --resize_width=256 set/ list.txt theirs
echo "seconds $begun $(date +%s.%N)"
"""


def pictures(folder: Path) -> None:
    """The JPEGs and their list; made once."""
    if (folder / "list.txt").exists():
        return
    import numpy as np

    random = np.random.RandomState(1)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "set").mkdir(parents=True)
    for number in range(COUNT):
        scale = random.uniform(1.0, 1.8)
        large = cv2.resize(photo(number), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        top, left = random.randint(0, large.shape[0] - 374), random.randint(0, large.shape[1] - 499)
        cut = large[top : top + 375, left : left + 500]
        cv2.imwrite(str(folder / "set" / f"{number:05d}.jpg"), cut, [cv2.IMWRITE_JPEG_QUALITY, 90])
    (folder / "list.txt").write_text("".join(f"{number:05d}.jpg {number % 20}\n" for number in range(COUNT)))
    folder.chmod(0o777)


def theirs(folder: Path, image: str) -> float:
    """Seconds of convert_imageset."""
    user = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "12345:12345"
    words = ["docker", "run", "--rm", "--network", "none", "--user", user, "-v", f"{folder}:/work", "-w", "/work"]
    said = SHELL.run([*words, image, "sh", "-euc", _SCRIPT]).out
    begun, ended = (float(one) for one in re.findall(r"\d+\.\d+", said))
    return ended - begun


def ours(folder: Path, *options: str) -> float:
    """Seconds of `provision data lmdb`, from its start to its end."""
    shutil.rmtree(folder / "ours", ignore_errors=True)
    words = [sys.executable, "-m", "provision", "data", "lmdb", "list.txt", "ours", "--root", "set"]
    words += ["--encode-type", "jpg", "--resize", "256", "256", *options]
    begun = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run(words, check=True, cwd=folder, env=environment, capture_output=True)
    return time.monotonic() - begun


def same(folder: Path) -> int:
    """Records that are the same in both, key and value."""
    bases = [reader(folder / name) for name in ("theirs", "ours")]
    try:
        return sum(one == other for one, other in zip(*(base.items() for base in bases), strict=True))
    finally:
        for base in bases:
            base.close()


def rows() -> list[dict[str, object]]:
    from tests.bench import row

    folder = cache_home() / f"bench-data-{COUNT}"
    pictures(folder)
    image = build(choose("caffe-debian"), SHELL).tag
    times = [(theirs(folder, image), ours(folder)) for _ in range(ROUNDS)]
    caffe, mine = (statistics.median(one) for one in zip(*times, strict=True))
    alone = statistics.median(ours(folder, "--jobs", "1") for _ in range(ROUNDS))
    return [
        row("data lmdb, records as convert_imageset's", same(folder), "records", "of", COUNT),
        row("data lmdb, pictures a second", COUNT / mine, "img/s", "convert_imageset", COUNT / caffe),
        row("data lmdb --jobs 1, pictures a second", COUNT / alone, "img/s", "convert_imageset", COUNT / caffe),
    ]


if __name__ == "__main__":
    for one in rows():
        print(one)
