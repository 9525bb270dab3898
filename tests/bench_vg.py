"""Visual Genome at full scale, made up: CPU time and peak memory of both ways to convert it.

As many pictures and objects as the real one (108,077; 3.75 million), in files of its size (objects.json 0.45 GB), with
clothing at seven hundredths of the objects. Each way runs in a process of its own, whose peak is the kernel's word.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench import ROOT, row

IMAGES = 108_077
OBJECTS = 35  # a picture, on average
OTHERS = ["man", "tree", "window", "building", "sky", "wall", "sign", "grass", "car", "leaf", "pole", "table",
          "plate", "street", "leg", "head", "hand", "clouds", "water", "door", "cat", "wheel", "snow", "fence",
          "road"]  # fmt: skip
WORN = ["shirt", "jacket", "jeans", "shoes", "hat", "helmet", "glasses", "tie", "pants", "shorts", "glove", "bag"]
_CHILD = """\
import resource, sys, time
begun = time.monotonic()
from provision.cli import run
code = run(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, file=sys.stderr)
sys.exit(code)
"""


def make(folder: Path, images: int = IMAGES) -> tuple[Path, Path]:
    """objects.json and image_data.json, the same bytes each time."""
    draw = random.Random(1)
    objects, data = folder / "objects.json", folder / "image_data.json"
    number = 1_000_000
    with objects.open("w") as out, data.open("w") as sizes:
        for image in range(1, images + 1):
            begin = "[" if image == 1 else ", "
            width, height = draw.choice([(800, 600), (500, 375), (1024, 768), (640, 480)])
            url = f"https://cs.stanford.edu/people/rak248/VG_100K{'_2' * (image % 2)}/{2_000_000 + 3 * image}.jpg"
            sizes.write(begin + json.dumps({"width": width, "url": url, "height": height, "image_id": image,
                                            "coco_id": None, "flickr_id": image * 7}))  # fmt: skip
            found = []
            for _ in range(draw.randint(1, 2 * OBJECTS - 2)):
                number += 1
                name = draw.choice(WORN if draw.random() < 0.07 else OTHERS)
                twin = [number - 1] if draw.random() < 0.02 else []
                found.append({"synsets": [f"{name}.n.01"], "h": draw.randint(1, 300), "object_id": number,
                              "merged_object_ids": twin, "names": [name], "w": draw.randint(1, 300),
                              "y": draw.randint(-2, height), "x": draw.randint(-2, width)})  # fmt: skip
            out.write(begin + json.dumps({"image_id": image, "objects": found, "image_url": url}))
        out.write("]")
        sizes.write("]")
    return objects, data


def converted(objects: Path, data: Path, target: Path, *more: str) -> tuple[float, float, float]:
    """Seconds by the clock, CPU seconds and peak bytes of `provision data visual-genome` on these files."""
    words = ["data", "visual-genome", "--objects", str(objects), "--images", str(data), str(target), *more]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *words], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    clock, seconds, peak = done.stderr.split()[-3:]
    return float(clock), float(seconds), float(peak)


def rows() -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        objects, data = make(Path(folder))
        clock, seconds, peak = converted(objects, data, Path(folder) / "whole.json")
        longer, slower, least = converted(objects, data, Path(folder) / "stream.json", "--stream")
        same = (Path(folder) / "whole.json").read_bytes() == (Path(folder) / "stream.json").read_bytes()
    assert same, "the two ways differ"
    return [
        row("visual-genome, 3.75 M objects", clock, "s", "limit", 30),
        row("visual-genome, 3.75 M objects", seconds, "CPU s", "limit", 30),
        row("visual-genome, 3.75 M objects", peak / 1e9, "GB peak", "limit", 1.7),
        row("visual-genome --stream", longer, "s", "read whole", clock),
        row("visual-genome --stream", slower, "CPU s", "read whole", seconds),
        row("visual-genome --stream", least / 1e6, "MB peak", "limit", 350),
    ]


if __name__ == "__main__":
    for one in rows():
        print(one)
