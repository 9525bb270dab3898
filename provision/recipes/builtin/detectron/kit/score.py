"""score.py CHECKPOINT OUT: the COCO metrics of a checkpoint on the validation set, as OUT/score.json.

Detectron's tools/test_net.py waits for ever for weights that are not there; this refuses. Python 2.7 and 3.
"""
# mypy: ignore-errors
# ruff: noqa: PTH100, PTH104, PTH110, PTH118, PTH120
# ruff: noqa: PTH123, UP031

import json
import os
import sys

import checkpoints
import common
import dataset
from common import Wrong, refuse, say
from dataset import WrongData


def measure(weights, plan):
    """Metrics by name (percent), and `per_class`. On several GPUs in as many processes."""
    import detectron.utils.env as env
    from caffe2.python import workspace
    from detectron.core.config import cfg, get_output_dir
    from detectron.core.test_engine import run_inference
    from detectron.datasets import task_evaluation

    workspace.ResetWorkspace()
    env.get_runtime_dir = lambda: os.path.join(common.SOURCE, "tools")
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))  # sitecustomize
    pictures = len(dataset.read(plan["val"]["json"])["images"])  # Detectron cannot give a process none
    found = run_inference(weights, multi_gpu_testing=1 < plan["gpus"] <= pictures)
    if cfg.MODEL.RPN_ONLY:
        return {}
    task_evaluation.log_copy_paste_friendly_results(found)
    name = cfg.TEST.DATASETS[-1]
    metrics = {
        "%s %s" % (task, key): round(100 * value, 2)
        for task, values in found[name].items() for key, value in values.items() if value == value
    }  # fmt: skip
    return dict(metrics, per_class=per_class(name, get_output_dir(name, training=False)))


def per_class(name, folder):
    """AP of each class's boxes, percent; classes that the set does not have are left out."""
    from detectron.datasets.json_dataset import JsonDataset
    from detectron.utils.io import load_object

    precision = load_object(os.path.join(folder, "detection_results.pkl")).eval["precision"]
    found = {}
    for at, one in enumerate(JsonDataset(name).classes[1:]):
        ours = precision[:, :, at, 0, -1]  # all thresholds and recalls, all sizes, 100 detections
        if (ours > -1).any():
            found[one] = round(100 * float(ours[ours > -1].mean()), 2)
    return found


def write(metrics, iteration, path):
    with open(path + ".part", "w") as out:
        json.dump({"iteration": iteration, "metrics": metrics}, out, indent=1, sort_keys=True)
    os.rename(path + ".part", path)
    for name in sorted(set(metrics) - {"per_class"}):
        say("%s %.2f" % (name, metrics[name]))


def main(weights, out):
    plan = common.read_plan()
    if not plan["val"]:
        raise Wrong("there is no validation set: give val_json and val_images")
    if not os.path.exists(weights):
        raise Wrong("there is no checkpoint %s" % weights)
    plan["gpus"] = common.gpus_here()
    common.begin(plan["gpus"])
    configured(weights, plan)
    write(measure(weights, plan), checkpoints.iteration(weights), os.path.join(out, "score.json"))


def configured(weights, plan):
    """Detectron's configuration as the checkpoint has it, for what is tested now."""
    from detectron.core.config import assert_and_infer_cfg, cfg

    config = common.config_of(weights)
    common.register(plan, config)
    cfg.NUM_GPUS = max(plan["gpus"], 1)
    cfg.OUTPUT_DIR = "/tmp/score"
    cfg.TEST.DATASETS = (common.names(config)[1],)
    assert_and_infer_cfg(cache_urls=False)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except (Wrong, WrongData) as error:
        refuse(str(error))
