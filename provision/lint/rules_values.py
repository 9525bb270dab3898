"""Rules for values that protobuf refuses, where no fork's schema is here: fields of Caffe that every fork has.

protobuf's text format takes no 10.0 for a whole number, no word for a text, and a single field only once.
"""

from collections import Counter
from collections.abc import Iterator

from provision.lint.finding import Finding
from provision.net.text import Field, Message, Word


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WHOLE = _words(
    "num_output kernel_size kernel_h kernel_w stride stride_h stride_w pad pad_h pad_w dilation group axis num_axes "
    "end_axis slice_point batch_size crop_size new_height new_width top_k local_size dim input_dim channels height "
    "width tiles pyramid_height max_iter test_iter test_interval stepsize stepvalue snapshot display average_loss "
    "iter_size device_id min_level max_level"
)
_REAL = _words(
    "base_lr gamma power momentum momentum2 weight_decay rms_decay delta clip_gradients lr_mult decay_mult loss_weight "
    "dropout_ratio negative_slope std coeff"
)
_FLAGS = _words(
    "bias_term mirror global_pooling force_color force_gray is_color across_channels normalize_variance transpose "
    "use_global_stats out_max_val propagate_down force_backward debug_info snapshot_after_train snapshot_diff "
    "test_initialization stable_prod_grad expose_hidden channel_shared force_nd_im2col shuffle"
)
_TEXTS = _words(
    "name top bottom net train_net test_net lr_policy snapshot_prefix mean_file regularization_type stage not_stage"
)
_ONCE = _words(
    "num_output group bias_term batch_size crop_size mirror mean_file pool global_pooling operation lr_mult decay_mult "
    "weight_filler bias_filler phase"
)
_POSITIVE = _words(
    "num_output kernel_size kernel_h kernel_w stride stride_h stride_w pad pad_h pad_w dilation group slice_point "
    "offset batch_size crop_size new_height new_width top_k local_size pyramid_height channels height width"
)
_ONCE_ON_TOP = _words(
    "state train_state solver_type base_lr lr_policy gamma power momentum weight_decay max_iter stepsize snapshot "
    "snapshot_prefix display net test_interval iter_size solver_mode"
)
_ENUMS = {
    "solver_mode": ("CPU", "GPU"), "snapshot_format": ("HDF5", "BINARYPROTO"), "phase": ("TRAIN", "TEST"),
    "pool": ("MAX", "AVE", "STOCHASTIC"), "variance_norm": ("FAN_IN", "FAN_OUT", "AVERAGE"),
    "backend": ("LEVELDB", "LMDB"), "normalization": ("FULL", "VALID", "BATCH_SIZE", "NONE"),
    "norm_region": ("ACROSS_CHANNELS", "WITHIN_CHANNEL"), "share_mode": ("STRICT", "PERMISSIVE"),
}  # fmt: skip
_MESSAGES = _words("layers include exclude")
_BOOLS = ("true", "false", "True", "False", "t", "f", "0", "1")
_WHY = "Caffe refuses the whole file: Error parsing text-format"


def findings(file: str, tree: Message, top: bool = True) -> Iterator[Finding]:
    """What no Caffe can read in a net or a solver, and in every message in it."""
    counts = Counter(field.name for field in tree.fields)
    for field in tree.fields:
        if counts[field.name] > 1 and _once(field, tree, top):
            counts[field.name] = 0
            again = [one for one in tree.fields if one.name == field.name][1]
            what = f"{field.name} stands twice (first at line {field.line})"
            yield Finding("error", file, what, "keep one of them", "field", again.line, _WHY, "twice")
        if isinstance(field.value, Message):
            yield from findings(file, field.value, top=False)
        elif fault := _fault(field, top):
            yield Finding("error", file, fault[0], fault[1], "field", field.line, _WHY, field.name)


def _once(field: Field, tree: Message, top: bool) -> bool:
    if field.name in ("name", "type"):
        return top or isinstance(field.value, str)
    own = field.name.endswith("_param") and isinstance(field.value, Message) and not top
    return field.name in _ONCE or (top and field.name in _ONCE_ON_TOP) or (own and bool(tree.all("type")))


def _fault(field: Field, top: bool) -> tuple[str, str] | None:
    """What is wrong with the value, and the mend; None where nothing is."""
    name, value = field.name, field.value
    if isinstance(value, Message):
        return None
    quoted = isinstance(value, str) and not isinstance(value, Word)
    told = f'{name} is "{value}"' if quoted else f"{name} is {value}"
    if name in _MESSAGES or name.endswith(("_param", "_filler")):
        return f"{told}, and is a message", f"write {name} {{ … }}"
    if name in _POSITIVE and isinstance(value, int) and value < 0:
        return f"{told}, and may not be below 0", f"write {name}: N"
    if name in ("phase", "solver_mode") and isinstance(value, int) and value not in (0, 1):
        return f"{told}, which is none of {', '.join(_ENUMS[name])}", f"write {name}: {' or '.join(_ENUMS[name])}"
    if name in _WHOLE and not isinstance(value, int):
        whole = isinstance(value, float) and value.is_integer()
        return f"{told}, no whole number", f"write {name}: {int(float(value)) if whole else 'N'}"
    if name in _WHOLE and isinstance(value, int) and name != "dim" and not -(2**31) <= value < 2**31:
        return f"{told}, beyond what an integer holds", "write a smaller number"
    if name in _REAL and isinstance(value, str) and (quoted or value.lower() not in ("inf", "nan", "infinity")):
        return f"{told}, no number", f"write {name}: {value} without quotes" if _number(value) else f"write {name}: N"
    if name in _FLAGS and (quoted or str(value) not in _BOOLS):
        return f"{told}, and may be true or false", f"write {name}: true, or false"
    if (name in _TEXTS or (top and name == "type")) and not quoted:
        return f"{told} without quotes", f'write {name}: "{value}"'
    if name in _ENUMS and isinstance(value, str) and (quoted or value not in _ENUMS[name]):
        return f"{told}, which is none of {', '.join(_ENUMS[name])}", f"write {name}: {_near(value, _ENUMS[name])}"
    return None


def _near(value: str, known: tuple[str, ...]) -> str:
    return next((name for name in known if name == value.upper()), " or ".join(known))


def _number(text: str) -> bool:
    try:
        return bool(float(text) == float(text))
    except ValueError:
        return False
