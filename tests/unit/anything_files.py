"""Each file that a user writes, as it should be, and the commands that read it: for test_anything."""

import io
import json
from pathlib import Path

from PIL import Image

from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.runs.manifest import Manifest, Source, plain


def manifest() -> bytes:
    """Of a fetched run of digits."""
    found = load("digits")
    made = Manifest(
        "digits-20261129-081225-a71a", "2026-11-29", found, render(found), "caffe-debian", "provision/x:y", "sha256:1",
        Source("prepared", "digits"), Source(), 0, "lab", "p3.8xlarge", "spot", "us-east-1",
    )  # fmt: skip
    return json.dumps(plain(made)).encode()


def picture(form: str) -> bytes:
    """10 x 10 pixels: a photo's format in colours, another in classes (0 and 255)."""
    made = Image.new("RGB", (10, 10), (200, 100, 50)) if form == "JPEG" else Image.new("L", (10, 10), 255)
    out = io.BytesIO()
    made.save(out, form)
    return out.getvalue()


COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 10, "width": 10}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0,
                     "segmentation": [[1, 1, 6, 1, 6, 6]]}],
    "categories": [{"id": 1, "name": "shirt"}],
}  # fmt: skip
OBJECTS = [{"image_id": 1, "objects": [{"object_id": 1, "names": ["shirt"], "x": 1, "y": 1, "w": 5, "h": 5}]}]
IMAGE_DATA = [{"image_id": 1, "width": 10, "height": 10, "url": "https://x/VG_100K/1.jpg"}]
NET = b"""name: "net"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 10 } }
"""
XML = b"""<annotation><size><width>10</width><height>10</height><depth>3</depth></size><object><name>cat</name>
<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"""
RECIPE = b"""name: my
about: a net
stack: caffe-debian
command: [caffe, train, -solver, solver.prototxt]
options: {iterations: 100, batch: 64, rate: 0.1, flag: true, word: a}
files: [solver.prototxt.j2]
folders: [snapshots]
resume: [-snapshot, "{snapshot}.solverstate"]
environment: {A: "{{ batch }}"}
stop: {signal: SIGINT, timeout: 60, said: Snapshotting}
snapshots: {pattern: 's/x_(?P<iteration>\\d+)\\.(?P<part>caffemodel|solverstate)', parts: [caffemodel], keep: 2}
tasks: {score: {command: [caffe, test, "{snapshot}"], about: x, every_snapshot: true}}
goal: {accuracy: 0.9}
failures: [{match: 'a+', what: it, mend: this}]
"""
LOG = b"""I1129 08:12:25.000000    12 solver.cpp:279] Solving net
I1129 08:12:26.000000    12 solver.cpp:228] Iteration 0 (0 iter/s, 0s/10 iters), loss = 2.3
I1129 08:12:26.000000    12 solver.cpp:244]     Train net output #0: loss = 2.3 (* 1 = 2.3 loss)
I1129 08:12:26.000000    12 sgd_solver.cpp:106] Iteration 0, lr = 0.01
json_stats: {"iter": 20, "loss": "1.0", "lr": 0.1, "eta": "1:00:00"}
F1129 08:12:27.000000    12 math_functions.cu:79] Check failed: error == cudaSuccess (2 vs. 0)  out of memory
"""
SOLVER = b"""net: "net.prototxt"
base_lr: 0.01
lr_policy: "step"
stepsize: 10
gamma: 0.1
max_iter: 10
snapshot_prefix: "s/x"
"""
LABELME = {
    "version": "5.4.1", "flags": {}, "imagePath": "../a.jpg", "imageData": None, "imageHeight": 10, "imageWidth": 10,
    "shapes": [{"label": "cat", "points": [[1, 1], [6, 6]], "shape_type": "rectangle", "flags": {}}],
}  # fmt: skip
GOOD: dict[str, bytes] = {
    "config/provision/settings.yaml": b"region: us-east-1\nmax_hours: 4.0\namis: {a: b}\nmore_regions: [eu-west-1]\n",
    "provision.yaml": b"cloud: aws\ndisk_gb: 100\nbudget: 5\naccept_licences: [x]\n",
    "recipes/my/recipe.yaml": RECIPE,
    "recipes/my/solver.prototxt.j2": b"base_lr: {{ rate }}\n" + SOLVER,
    "net.prototxt": NET,
    "solver.prototxt": SOLVER,
    "list.txt": b"a.jpg 0\nb.jpg 1\n",
    "pairs.txt": b"a.jpg a.xml\n",
    "a.xml": XML,
    "a.jpg": picture("JPEG"),
    "b.jpg": picture("JPEG"),
    "labels/a.png": picture("PNG"),
    "coco.json": json.dumps(COCO).encode(),
    "objects.json": json.dumps(OBJECTS).encode(),
    "image_data.json": json.dumps(IMAGE_DATA).encode(),
    "classes.yaml": b"shirt: [shirt, t-shirt]\nhat:\n",
    "names.txt": b"cat\ndog\n",
    "labelme/a.json": json.dumps(LABELME).encode(),
    "yolo/images/a.jpg": picture("JPEG"),
    "yolo/labels/a.txt": b"0 0.5 0.5 0.4 0.4\n1 0.1 0.1 0.5 0.1 0.5 0.5\n",
    "yolo/classes.txt": b"cat\ndog\n",
    "yolo/data.yaml": b"path: .\ntrain: images\nval: images\nnames: {0: cat, 1: dog}\n",
    "yolo/train.txt": b"images/a.jpg\n",
    "train.log": LOG,
    "there/data.json": b'{"train": 10, "test": 5, "classes": ["a", "b"]}',
    "coco/annotations.json": json.dumps(COCO).encode(),
    "run/manifest.json": manifest(),
    "run/notes.txt": b"x",
    "folder/.provisionignore": b"*.log\n!keep.log\n/build/\n",
    ".ssh/config": b"Host h\n  HostName 127.0.0.1\n  Port 2222\n  IdentityFile ~/k\n",
    ".ssh/known_hosts": b"h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJJJ\n",
    "VOC/VOC2012/JPEGImages/2012_1.jpg": picture("JPEG"),
    "VOC/VOC2012/Annotations/2012_1.xml": XML,
    "VOC/VOC2012/SegmentationClass/2012_1.png": picture("PNG"),
    "VOC/VOC2012/ImageSets/Segmentation/train.txt": b"2012_1\n",
    "VOC/VOC2012/ImageSets/Segmentation/val.txt": b"2012_1\n",
    "VOC/VOC2012/ImageSets/Main/trainval.txt": b"2012_1\n",
    "VOC/VOC2012/ImageSets/Main/cat_trainval.txt": b"2012_1  1\n",
}
READERS = {
    "config/provision/settings.yaml": (
        "ls",
        "up --instance p3.8xlarge --dry-run",
        "image choose --stack caffe --instance p3.8xlarge",
    ),
    "provision.yaml": (
        "down --all --dry-run",
        "up --instance p3.8xlarge --dry-run",
        "train digits --dry-run",
    ),
    "recipes/my/recipe.yaml": (
        "recipe check my",
        "recipe ls",
        "recipe show my --files",
        "train my --dry-run",
        "recipe show my --gpus 4 --json",
    ),
    "recipes/my/solver.prototxt.j2": (
        "recipe check my",
        "recipe show my --files",
    ),
    "net.prototxt": (
        "net show net.prototxt",
        "net lint net.prototxt",
        "time net.prototxt --dry-run",
        "net lint solver.prototxt",
        "data check net.prototxt --data there",
        "train caffe-classify --project . --set solver=solver.prototxt --dry-run",
    ),
    "solver.prototxt": (
        "net lint solver.prototxt",
        "net show solver.prototxt",
    ),
    "list.txt": (
        "data lmdb list.txt out --dry-run",
        "data sizes list.txt out --dry-run",
        "data check list.txt",
        "data sizes list.txt out",
        "data lmdb list.txt out",
    ),
    "pairs.txt": (
        "data boxes out --train pairs.txt --test pairs.txt --dry-run",
        "data boxes out --train pairs.txt --test pairs.txt",
        "data coco pairs.txt out.json",
    ),
    "a.xml": (
        "data boxes out --train pairs.txt --test pairs.txt --classes cat",
        "data coco pairs.txt out.json --classes cat",
    ),
    "labelme/a.json": (
        "data boxes out --train labelme --test labelme",
        "data coco labelme out.json",
        "data coco labelme/a.json out.json --form labelme",
    ),
    "yolo/labels/a.txt": (
        "data boxes out --train yolo --test yolo",
        "data coco yolo out.json --root yolo --jobs 1",
        "data coco yolo/data.yaml out.json --dry-run",
    ),
    "yolo/classes.txt": ("data coco yolo out.json --form yolo --dry-run",),
    "yolo/data.yaml": ("data coco yolo/data.yaml out.json", "data coco yolo/data.yaml out.json --split test --dry-run"),
    "yolo/train.txt": ("data coco yolo/train.txt out.json --root yolo --form yolo",),
    "yolo/images/a.jpg": ("data coco yolo out.json --strict",),
    "a.jpg": (
        "data lmdb list.txt out",
        "data sizes list.txt out",
        "data voc-labels a.jpg out.png",
        "data boxes out --train pairs.txt --test pairs.txt --classes cat",
        "data check list.txt",
    ),
    "labels/a.png": (
        "data voc-labels labels out --by-number",
        "data voc-labels labels/a.png out.png",
        "data lmdb list.txt out --labels labels",
    ),
    "VOC/VOC2012/ImageSets/Segmentation/train.txt": (
        "data crfrnn VOC out",
        "data crfrnn VOC out --dry-run",
    ),
    "coco.json": (
        "data coco-check coco.json",
        "data coco-check coco.json --fix out.json --dry-run",
        "data coco-check coco.json --fix out.json",
        "data coco-check coco.json --images . --all",
        "data boxes out --train coco.json --test coco.json",
    ),
    "objects.json": (
        "data visual-genome out.json --objects objects.json --images image_data.json",
        "data visual-genome out.json --objects objects.json --images image_data.json --stream",
    ),
    "image_data.json": (
        "data visual-genome out.json --objects objects.json --images image_data.json --val-fraction 0.5",
        "data visual-genome out.json --objects objects.json --images image_data.json --stream",
    ),
    "classes.yaml": (
        "data visual-genome out.json --objects objects.json --images image_data.json --classes classes.yaml",
    ),
    "names.txt": ("data boxes out --train pairs.txt --test pairs.txt --classes names.txt --dry-run",),
    "train.log": (
        "logs train.log",
        "logs train.log --json",
        "logs train.log --csv",
        "diagnose train.log",
        "diagnose train.log --json",
        "logs train.log --plot out.png",
    ),
    "there/data.json": (
        "train crfrnn --data there --dry-run",
        "train ssd-voc --data there --dry-run",
        "data lmdb list.txt there --resume",
    ),
    "coco/annotations.json": ("train detectron --data coco --dry-run --set train=annotations.json",),
    "run/manifest.json": (
        "score run --dry-run",
        "infer run a.jpg --dry-run",
        "time run --dry-run",
    ),
    ".ssh/config": ("image ls --on ssh://h",),
    ".ssh/known_hosts": ("image ls --on ssh://h",),
    "VOC/VOC2012/ImageSets/Main/trainval.txt": ("data voc-lists VOC out --sets trainval --years 2012",),
    "VOC/VOC2012/ImageSets/Main/cat_trainval.txt": (
        "data voc-lists VOC out --sets trainval --years 2012 --classes cat --dry-run",
    ),
}


def write_all(folder: Path) -> None:
    """Each file that a user writes, as it should be."""
    for name, good in GOOD.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(good)
