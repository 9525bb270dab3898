"""How a schedule of Detectron's changes with the number of images per step: the linear rule, as arithmetic alone.

Detectron's GETTING_STARTED: where the minibatch shrinks by k, the learning rate shrinks and the schedule grows by k.
The rule is relative to the configuration's own minibatch, as the rate per image is not one constant (RetinaNet has half
of what the others have). Warm-up stays as it is, as in Detectron's tutorial configurations.

Used on the laptop for the baselines and in the container for all configurations. Python 2.7 and 3.
"""
# mypy: ignore-errors
# ruff: noqa: UP031

from fractions import Fraction

# what Detectron takes where a configuration is silent (detectron/core/config.py)
DEFAULTS = {
    "BASE_LR": 0.001, "LR_POLICY": "step", "MAX_ITER": 40000, "STEPS": [], "LRS": [], "STEP_SIZE": 30000,
    "WARM_UP_ITERS": 500, "WARM_UP_FACTOR": 1.0 / 3.0,
}  # fmt: skip
IMS_PER_BATCH = 2
NUM_GPUS = 1
SNAPSHOT_ITERS = 80000


def scaled(config, gpus, ims_per_batch=0, iterations=0, snapshot_every=1000):
    """The schedule of `config` (a configuration file as nested dicts) for so many GPUs (0, the CPU, counts as one).

    `ims_per_batch`: images per GPU, 0 for the configuration's own. `iterations`: the length in iterations, 0 for what
    the rule says; the steps keep their places in it. `snapshot_every`: iterations between two checkpoints.

    Returns what Detectron is to be told, by key, with `factor` (images per step against the configuration's own, a
    fraction), `images` per step and `first_rate`, the learning rate at iteration 0. ValueError for what cannot be.
    """
    solver, train = dict(DEFAULTS, **config.get("SOLVER", {})), config.get("TRAIN", {})
    own = int(config.get("NUM_GPUS", NUM_GPUS)) * int(train.get("IMS_PER_BATCH", IMS_PER_BATCH))
    gpus, ims = max(gpus, 1), ims_per_batch or int(train.get("IMS_PER_BATCH", IMS_PER_BATCH))
    factor = Fraction(gpus * ims, own)
    if min(own, ims, snapshot_every) < 1 or iterations < 0:
        raise ValueError("images per step, iterations and the snapshots' period must be more than 0")
    if solver["STEPS"] and solver["STEPS"][0] != 0:
        raise ValueError("SOLVER.STEPS must begin with 0, or Detectron ends at once")
    longest = int(solver["MAX_ITER"])
    most = iterations or _up(longest / factor)
    stretch = Fraction(most, longest) if iterations else 1 / factor
    keys = {
        "NUM_GPUS": gpus,
        "TRAIN.IMS_PER_BATCH": ims,
        "TRAIN.SNAPSHOT_ITERS": snapshot_every * gpus,
        "SOLVER.BASE_LR": _short(solver["BASE_LR"] * factor),
        "SOLVER.MAX_ITER": most,
    }
    steps, kept = _steps([int(step) for step in solver["STEPS"]], stretch, most)
    if steps:
        keys["SOLVER.STEPS"] = steps
    if solver["LR_POLICY"] == "steps_with_lrs":
        keys["SOLVER.LRS"] = [_short(solver["LRS"][at] * factor) for at in kept]
    if solver["LR_POLICY"] == "step":
        keys["SOLVER.STEP_SIZE"] = max(1, _up(int(solver["STEP_SIZE"]) * stretch))
    return {"keys": keys, "factor": factor, "images": gpus * ims, "first_rate": _first_rate(solver, keys)}


def _steps(steps, stretch, most):
    """The stretched steps, and which of the own ones they are: whole, from 0 on, growing, below the last iteration."""
    found, kept = [], []
    for at, step in enumerate(steps):
        new = 0 if at == 0 else max(_up(step * stretch), found[-1] + 1)
        if new < most:
            found.append(new)
            kept.append(at)
    return found, kept


def _first_rate(solver, keys):
    rate = keys["SOLVER.LRS"][0] if keys.get("SOLVER.LRS") else keys["SOLVER.BASE_LR"]
    return _short(rate * (solver["WARM_UP_FACTOR"] if solver["WARM_UP_ITERS"] > 0 else 1))


def _up(number):
    """The whole number that is not below it; exact, as floats would turn 3.0000000001 into 4."""
    number = Fraction(number)
    return -(-number.numerator // number.denominator)


def _short(number):
    """Without the dust of binary fractions."""
    return float("%.10g" % number)
