"""detectron_check.py imports|inference|gpu: what a training will need, tried in small; one line says what came out.

Runs in the image, as any user and without network. Python 2.7 and 3.
"""
# mypy: ignore-errors
# ruff: noqa: PTH100, PTH118, PTH120

import os
import platform
import sys
import time

import cv2  # Detectron: before Caffe2
import detectron_on_cpu
import numpy
import torch
from caffe2.python import workspace

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src")
MODEL = "configs/12_2017_baselines/e2e_mask_rcnn_R-50-FPN_1x.yaml"
PICTURE = "demo/16004479832_a748d55f21_k.jpg"
SMALL = ["NUM_GPUS", 1, "TEST.SCALE", 224, "TEST.MAX_SIZE", 320, "TEST.SCORE_THRESH", 0.0, "TEST.DETECTIONS_PER_IM", 20]


def imports():
    """Load all that tools/*.py load, and Detectron's library of operators."""
    import detectron.core.test_engine
    import detectron.datasets.json_dataset_evaluator
    import detectron.utils.c2
    import detectron.utils.train
    import detectron.utils.vis
    from pycocotools import coco, mask  # noqa: F401

    before = set(workspace.RegisteredOperators())
    detectron.utils.c2.import_detectron_ops()
    new = set(workspace.RegisteredOperators()) - before
    if not {"SmoothL1Loss", "SpatialNarrowAs"} <= new:
        sys.exit("Detectron's library brought only " + (", ".join(sorted(new)) or "nothing"))
    return ["python", platform.python_version(), "torch", torch.__version__, len(before), "+", len(new), "operators"]


def inference():
    """Mask R-CNN on one picture, on the CPU, with random weights: no score is below the threshold of 0."""
    detectron_on_cpu.use_cpu()
    import detectron.core.test
    import detectron.utils.c2
    from detectron.core.config import assert_and_infer_cfg, merge_cfg_from_file, merge_cfg_from_list

    detectron.utils.c2.import_detectron_ops()
    merge_cfg_from_file(os.path.join(SOURCE, MODEL))
    merge_cfg_from_list(SMALL)
    assert_and_infer_cfg(cache_urls=False)
    model = random_model()
    picture = cv2.imread(os.path.join(SOURCE, PICTURE))
    begun = time.time()
    with detectron.utils.c2.NamedCudaScope(0):
        boxes, masks, _ = detectron.core.test.im_detect_all(model, picture, None)
    boxes = [box for one in boxes for box in one]
    masks = [mask for one in masks for mask in one]
    if len(boxes) < 20 or len(masks) != len(boxes):  # more than asked for where scores are equal
        sys.exit("too few boxes or masks: " + str(len(boxes)) + " and " + str(len(masks)))
    if any(tuple(mask["size"]) != picture.shape[:2] for mask in masks):
        sys.exit("masks of another size than the picture's")
    if not numpy.isfinite(boxes).all():
        sys.exit("boxes that are no numbers")
    return ["inference:", len(boxes), "boxes", len(masks), "masks", round(time.time() - begun, 1), "s"]


def random_model():
    """The configured model with freshly drawn weights; Detectron itself draws them for trainings only."""
    from detectron.modeling import model_builder

    helper = model_builder.DetectionModelHelper
    model_builder.DetectionModelHelper = lambda **named: helper(**dict(named, init_params=True))
    from detectron.core.config import cfg

    model = model_builder.create(cfg.MODEL.TYPE, train=False)
    for number, op in enumerate(model.param_init_net.Proto().op):
        op.device_option.random_seed = number + 200  # the same boxes each time, few with equal scores
    workspace.RunNetOnce(model.param_init_net)
    model_builder.add_inference_inputs(model)
    for net in (model.net, model.conv_body_net, model.mask_net):
        workspace.CreateNet(net)
    return model


def gpu():
    """An operator of Detectron's on the first GPU; those made for GPUs only are the ones that fail on a wrong one."""
    import detectron.utils.c2
    from caffe2.python import core

    detectron.utils.c2.import_detectron_ops()
    if not workspace.NumCudaDevices():
        sys.exit("Caffe2 sees no GPU: was the container started with --gpus all, and is the driver new enough?")
    wide, narrow = numpy.random.rand(2, 3, 8, 9).astype("float32"), numpy.zeros((2, 3, 5, 4), "float32")
    with detectron.utils.c2.CudaScope(0):
        workspace.FeedBlob("wide", wide)
        workspace.FeedBlob("narrow", narrow)
        workspace.RunOperatorOnce(core.CreateOperator("SpatialNarrowAs", ["wide", "narrow"], ["cut"]))
    if not (workspace.FetchBlob("cut") == wide[:, :, :5, :4]).all():
        sys.exit("the GPU computes wrong: has this PyTorch code for it?")
    return ["gpu:", workspace.NumCudaDevices(), "devices", torch.cuda.get_device_name(0)]


if __name__ == "__main__":
    workspace.GlobalInit(["caffe2", "--caffe2_log_level=3"])
    said = {"imports": imports, "inference": inference, "gpu": gpu}[sys.argv[1]]()
    sys.stdout.write(" ".join(str(word) for word in said) + "\n")
