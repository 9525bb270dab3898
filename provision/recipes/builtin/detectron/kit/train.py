"""train.py [--resume CHECKPOINT]: train as plan.json says, in the run's folder; go on where the newest checkpoint ends.

Detectron's own loop saves nothing when it is told to end, saves a net before it sees that its loss is no number, and
takes half-written files for checkpoints. This one saves on SIGINT and SIGTERM between two iterations, names the classes
in each checkpoint, and ends a training that has diverged with one line. Python 2.7 and 3.
"""
# mypy: ignore-errors
# ruff: noqa: B904, PTH107, PTH110, PTH118, PTH120
# ruff: noqa: PTH123, UP004, UP024, UP031

import os
import shutil
import signal
import sys
import traceback

import checkpoints
import common
import yaml
from common import Wrong, refuse, say
from dataset import WrongData

DIVERGED = 3
ENDED_EARLY = "the training ended early, as it was told to"
START = "/tmp/start.pkl"
HEADS = ("cls_score", "bbox_pred", "mask_fcn_logits", "kps_score", "retnet_cls_pred")  # as large as there are classes


class Stop(object):
    """Whether the training is to end. While there is nothing to save, it ends at once."""

    def __init__(self):
        self.asked = False
        self.nothing_to_save = True
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, self.hear)

    def hear(self, *_):
        self.asked = True
        if self.nothing_to_save:
            end_early()


def end_early():
    """At once: nobody waits for the threads that load images."""
    say(ENDED_EARLY)
    os._exit(0)


def set_up(plan):
    """The configuration, checked, scaled and written to config.yaml; the names of the classes."""
    config = common.read_config(plan)
    count, classes = common.look_at(plan, config)
    if plan["weights"] and not os.path.exists(plan["weights"]):
        raise Wrong("there are no weights %s" % plan["weights"])
    config = common.merged(plan, config, count)
    with open("config.yaml", "w") as out:
        yaml.safe_dump(config, out, default_flow_style=False)
    return config, classes


def configure(plan, config):
    """Detectron's global configuration: the file, then the user's own keys."""
    from detectron.core.config import assert_and_infer_cfg, cfg, merge_cfg_from_file, merge_cfg_from_list

    try:
        merge_cfg_from_file("config.yaml")
        merge_cfg_from_list([str(word) for word in plan["extra"]])
        if plan["extra"]:
            say("then, as you say: " + " ".join(plan["extra"]))
    except (AssertionError, KeyError, ValueError) as error:
        raise Wrong("the configuration: %s" % error)
    cfg.TRAIN.AUTO_RESUME = False  # the checkpoint is chosen here
    proposes = cfg.MODEL.RPN_ONLY or cfg.MODEL.FASTER_RCNN or cfg.RPN.RPN_ON or cfg.RETINANET.RETINANET_ON
    if not proposes and not cfg.TRAIN.PROPOSAL_FILES:
        raise Wrong("this configuration needs proposals: give train_proposals, or take one that begins with e2e_")
    assert_and_infer_cfg(cache_urls=cfg.TRAIN.WEIGHTS.startswith("http"))
    common.register(plan, config)
    return cfg


def guard_checkpoints(classes):
    """From here on each checkpoint says what its classes are called, and none is written that holds no numbers."""
    import detectron.utils.net as net

    save = net.save_object

    def checked(value, path, *more):
        bad = sorted(name for name, blob in value["blobs"].items() if not numbers(blob))
        if bad:
            diverged("weights are no numbers any more, those of %s among them" % bad[0])
        save(dict(value, classes=classes), path, *more)

    net.save_object = checked


def numbers(blob):
    import numpy

    return getattr(blob, "dtype", numpy.dtype(int)).kind != "f" or bool(numpy.isfinite(blob).all())


def fitting(model, path):
    """The weights to begin with: without heads of another number of classes, and without old momentum."""
    from caffe2.python import workspace
    from detectron.utils.io import load_object, save_object

    blobs = load_object(path)
    blobs = blobs.get("blobs", blobs)
    shapes = {str(one).split("/")[-1]: workspace.FetchBlob(str(one)).shape for one in model.params}
    other = sorted(name for name in shapes if name in blobs and blobs[name].shape != shapes[name])
    strange = [name for name in other if not name.startswith(HEADS)]
    if strange:
        raise Wrong("%s is of another net: %s has another shape" % (path, strange[0]))
    if other:
        say("new, as there are other classes: " + ", ".join(other))
    there = [name for name in shapes if name in blobs and name not in other]
    say("%d of the net's %d parameters are in %s" % (len(there), len(shapes), path))
    if not there:
        raise Wrong("%s is of another net: it has none of its parameters" % path)
    kept = {name: blobs[name] for name in blobs if name not in other and not name.endswith("_momentum")}
    if len(kept) == len(blobs):
        return path
    save_object({"blobs": kept}, START)
    return START


def build(cfg, named):
    """The net with its weights, its folder, and the iteration to begin with. `named`: a checkpoint that is expected."""
    import detectron.utils.train as train
    from detectron.core.config import get_output_dir
    from detectron.roi_data.loader import RoIDataLoader

    RoIDataLoader.register_sigint_handler = lambda self: None  # it would stop the loaders, and save nothing
    folder = get_output_dir(cfg.TRAIN.DATASETS, training=True)
    checkpoints.tidy(folder, say)
    checkpoint, at = checkpoints.newest(folder, say)
    if named and not checkpoint:
        raise Wrong("the checkpoint %s is not there, or broken" % named)
    model, weights, _, _, _ = train.create_model()
    if checkpoint:
        say("Resuming from checkpoint %s at start iter %d" % (checkpoint, at + 1))
    elif weights:
        weights = fitting(model, weights)
    train.setup_model_for_training(model, checkpoint or weights, folder)
    return model, folder, at + 1


def loop(cfg, stop, model, folder, start):
    """Train to the end; the path of the last checkpoint, None where it was told to end before."""
    from caffe2.python import workspace
    from detectron.utils import lr_policy, net
    from detectron.utils.training_stats import TrainingStats

    stats, last, path = TrainingStats(model), cfg.SOLVER.MAX_ITER - 1, None
    period = max(1, cfg.TRAIN.SNAPSHOT_ITERS // cfg.NUM_GPUS)
    stop.nothing_to_save = False
    for at in range(start, last + 1):
        if model.roi_data_loader.has_stopped():
            raise Wrong("the images cannot be loaded; the reason is above")
        stats.IterTic()
        rate = model.UpdateWorkspaceLr(at, lr_policy.get_lr_at_iter(at))
        run_net(workspace, model)
        stats.IterToc()
        stats.UpdateIterStats()
        stats.LogIterStats(at, rate)
        if not abs(stats.iter_total_loss) < float("inf"):  # no number, or without end; nothing of it is saved
            diverged("the loss is %s at iteration %d" % (stats.iter_total_loss, at))
        if at == start + stats.LOG_PERIOD:
            stats.ResetIterTimer()  # the first iterations are slower
        if stop.asked or at == last or (at + 1) % period == 0:
            path = os.path.join(folder, "model_iter%d.pkl" % at)
            net.save_model_to_weights_file(path, model)
        if stop.asked and at != last:
            return None
    stop.nothing_to_save = True
    return path or os.path.join(folder, "model_iter%d.pkl" % last)


def run_net(workspace, model):
    """One iteration; what an operator of Python says in Caffe2's error is Detectron's."""
    try:
        workspace.RunNet(model.net.Proto().name)
    except RuntimeError as error:
        if "Negative areas" in str(error):
            diverged("boxes of negative area (Detectron: Negative areas founds)")
        raise


def diverged(how):
    say("the training has diverged: " + how)
    os._exit(DIVERGED)


def keep_final(path):
    """model_final.pkl, which is the last checkpoint, without a second gigabyte where the disk can do that."""
    final = os.path.join(os.path.dirname(path), "model_final.pkl")
    if os.path.exists(final):
        os.remove(final)
    try:
        os.link(path, final)
    except (IOError, OSError):
        shutil.copyfile(path, final)
    say("the final net is " + final)
    return final


def main():
    stop, plan = Stop(), common.read_plan()
    named = sys.argv[2] if sys.argv[1:2] == ["--resume"] else None
    config, classes = set_up(plan)
    common.begin(plan["gpus"], training=True)
    cfg = configure(plan, config)
    guard_checkpoints(classes)
    model, folder, start = build(cfg, named)
    path = loop(cfg, stop, model, folder, start)
    if path is None:
        end_early()
    final = keep_final(path)
    if plan["val"] and not plan["skip_test"]:
        import score

        score.write(score.measure(final, plan), checkpoints.iteration(path), "score.json")
    say("the training has ended")


if __name__ == "__main__":
    status = 0
    try:
        main()
    except (Wrong, WrongData) as error:
        try:
            refuse(str(error))
        except SystemExit as end:
            status = end.code
    except Exception:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads that load images may hang
