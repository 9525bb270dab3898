"""Checks of images with Detectron: words to run in the image, and what they must say.

`images.check` takes them into its table. `detectron-gpu` needs a GPU in the container and is in no stack's list.
"""

_PROGRAM = "/opt/detectron/share/detectron_check.py"

WORDS: dict[str, tuple[tuple[str, ...], str]] = {
    "detectron-imports": (("python", _PROGRAM, "imports"), r"python [\d.]+ torch \S+ \d+ \+ [1-9]\d* operators"),
    "detectron-train-help": (
        ("python", "/opt/detectron/src/tools/train_net.py", "--help"),
        r"Train a network with Detectron",
    ),
    "detectron-own-tests": (
        ("sh", "/opt/detectron/share/detectron_tests.sh"),
        r"own tests pass: 15",
    ),
    "detectron-inference": (("python", _PROGRAM, "inference"), r"inference: \d+ boxes \d+ masks [\d.]+ s"),
    "detectron-gpu": (("python", _PROGRAM, "gpu"), r"gpu: [1-9]\d* devices .+"),
}
