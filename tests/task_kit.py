"""The recipe `digits` as a project may have it: with tasks of its own."""

from pathlib import Path

import yaml

from provision.data.digits import load as digits
from provision.recipes.loading import load
from provision.recipes.spec import Recipe, to_dict

_TASKS = {
    "score": {"command": ["sh", "score.sh", "{snapshot}"], "every_snapshot": True},
    "infer": {"command": ["python3", "look.py", "{snapshot}.caffemodel"]},
    "time": {"command": ["caffe", "time", "-model", "net.prototxt", "-iterations", "3"]},
}
_SCORE = """
set -e
caffe test -model net.prototxt -weights "$1.caffemodel" -iterations 1 2> said.txt || { cat said.txt >&2; exit 1; }
accuracy=$(sed -n 's/.*Batch 0, accuracy = //p' said.txt)
echo "{\\"iteration\\": 0, \\"metrics\\": {\\"accuracy\\": $accuracy}}" > /out/score.json
"""
_LOOK = """
import json, sys
import caffe, numpy
net = caffe.Net("net.prototxt", sys.argv[1], caffe.TEST)
pixels = numpy.loadtxt("/in/digit.txt")
net.blobs["data"].data[0] = pixels / 256.0
net.forward(start="conv1", end="ip2")
json.dump(int(net.blobs["ip2"].data[0].argmax()), open("/out/digit.json", "w"))
try:
    import mine
    open("/out/mine.txt", "w").write(mine.WORD)
except ImportError:
    pass
"""


def write_recipe(folder: Path) -> Recipe:
    """The recipe in that folder; as it is loaded."""
    folder.mkdir(parents=True)
    ours = load("digits")
    raw = {key: value for key, value in to_dict(ours).items() if key != "templates"}
    raw["environment"] = {**ours.environment, "PYTHONPATH": "/project"}
    raw |= {"tasks": _TASKS, "files": [*ours.files, "score.sh", "look.py"]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(raw))
    for name, content in {**ours.templates, "score.sh": _SCORE, "look.py": _LOOK}.items():
        (folder / name).write_text(content)
    return load(str(folder))


def write_code(folder: Path, word: str) -> Path:
    """A folder with code of the user's, which the task `infer` imports where it is there."""
    folder.mkdir()
    (folder / "mine.py").write_text(f"WORD = {word!r}\n")
    return folder


def write_digit(path: Path) -> str:
    """One of scikit-learn's digits as rows of numbers; what it is."""
    images, labels = digits()
    path.write_text("\n".join(" ".join(str(int(one)) for one in row) for row in images[1]))
    return str(labels[1])
