"""`provision data …`: prepare data, here or on a machine."""

import click

from provision.lazy import Lazy

_HERE = "provision.commands."
_COMMANDS = {
    "digits": (_HERE + "data_digits", "scikit-learn's digits as LMDB databases"),
    "voc-lists": (_HERE + "data_voc", "VOC's lists of images and annotations"),
    "voc-aug": (_HERE + "data_aug", "SBD's labels for VOC2012: the larger training set (trainaug)"),
    "voc-labels": (_HERE + "data_voc", "VOC's coloured label pictures as class indices"),
    "lmdb": (_HERE + "data_lmdb", "images, labels or both as LMDB or LevelDB databases for Caffe"),
    "lmdb-show": (_HERE + "data_lmdb", "what is in such a database"),
    "crfrnn": (_HERE + "data_crfrnn", "VOC's segmentations for the recipe crfrnn"),
    "boxes": (_HERE + "data_boxes", "images with boxes (VOC's XML) as LMDB databases for SSD"),
    "mean": (_HERE + "data_images", "the mean image of a database (mean.binaryproto)"),
    "sizes": (_HERE + "data_images", "names and sizes of the images of a list"),
    "check": (_HERE + "data_check", "what stops or spoils a training: labels, sizes, missing files, overlap"),
    "visual-genome": (_HERE + "data_coco", "Visual Genome as COCO annotations for a list of classes"),
    "coco": (_HERE + "data_coco_from", "boxes of VOC, YOLO or labelme as COCO annotations"),
    "coco-check": (_HERE + "data_coco", "whether annotations are what Detectron needs"),
    "get": (_HERE + "data_get", "download a data set, with resume and checksum"),
    "sync": (_HERE + "data_sync", "copy a folder to or from S3, changed files only"),
}


@click.group(cls=Lazy, table=_COMMANDS)
def data() -> None:
    """Prepare data."""
