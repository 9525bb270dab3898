"""What a name in a log means: a metric of the training or of the validation, a learning rate, a step, or nothing.

A word in front tells whose number it is (`val_loss`, `eval/accuracy`, `Test Acc`); the name itself goes on without it,
so that a loss is called loss whoever wrote it. What counts time, memory, speed or things is no metric.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["step", "epoch", "steps", "epochs", "clock", "rate", "metric", "other", "nothing"]

_WHOSE = re.compile(
    r"(?P<whose>train(?:ing)?|val(?:id(?:ation)?)?(?:_\d+)?|test(?:ing)?(?:_\d+)?|eval(?:uation)?|dev|metrics)"
    r"(?:'s|[ _/.:-])[ _/.:-]*(?P<rest>\S.*)",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?P<whose>train|val|valid|test|eval)(?P<rest>[A-Z].*)")
_BEHIND = re.compile(
    r"(?P<rest>.+?)[ _/(-]+(?P<whose>train(?:ing)?|val(?:id(?:ation)?)?|test|eval|dev)\)?", re.IGNORECASE
)
_MEAN = re.compile(r"(?:average|avg|mean) ", re.IGNORECASE)
_STEP = re.compile(
    r"_?(?:global[ _]?)?step|iter(?:ation)?s?|num_?iters?|num_updates|updates|it|itr|i_?step|(?:total_)?timesteps"
)
_EPOCH = re.compile(r"_?epoch|ep|current_epoch")
_STEPS = re.compile(r"(?:max|total|num|train)_?(?:steps|iters|iterations|updates)|max_iter")
_EPOCHS = re.compile(r"(?:max|total|num|n|train)_?epochs|epochs")
_CLOCK = re.compile(r"wall_time|_?timestamp|ts|seconds|elapsed(?:_s(?:ec(?:onds)?)?)?|_runtime|train_wall|wall")
_RATE = re.compile(r"(?:base_?)?(?:lr|learning[ _]?rate|learningrate)(?:[-_/ ].*)?|rate")
# names of metrics, as a whole word of a name
_METRIC = re.compile(
    r"(?:^|[^a-z])(?:loss(?:es)?|acc(?:uracy)?(?:@?\d+)?|top[-_@]?\d+|prec(?:ision)?(?:@?\d+)?|recall|f1|f[-_]?score"
    r"|m?ap(?:@?\d+)?(?:[:-]\d+)?|m?iou|dice|auc|auroc|error|err|mse|mae|rmse|nll|ppl|perplexity|bpb|bpc|bleu|rouge\w*"
    r"|meteor|cider|wer|cer|psnr|ssim|lpips|fid|elbo|kl|reward|return|score|cost|objective|logloss|entropy|r2|mcc|kappa"
    r"|pck|epe|l1|l2|crossentropy|cross_entropy|success_rate|win_rate|(?:grad|gradient)[ _]?norm)(?:$|[^a-z])"
)
_LOSS = re.compile(r"loss(?:$|[^a-z])")
_NOTHING = re.compile(
    r"(?:^|[^a-z])(?:time|data|eta|mem(?:ory)?|vram|gpus?|cpus?|pid|rank|seed|version|port|batch(?:_?size)?|bs|workers"
    r"|size|secs?|seconds|minutes|hours?|ms|speed|ips|fps|throughput|wps|ups|v_num|device|date|wall|runtime|flos|flops"
    r"|images?|samples?|examples?|instances?|tokens?|params?|parameters|lineno|line|levelno?|process|thread|job|host"
    r"|node|left|remaining|duration|patience|gb|mb|gib|mib|per_second|per_sec|sec|load|util(?:ization)?|temp(?:erature)?"
    r"|power|id|world|num|n|count|best|wpb|bsz|update|gb_free|worker|replica|task|cuda|copypaste|asctime|msecs|created|year|day|month|mfu|tflops|best_\w+)(?:$|[^a-z])"
)
_LONGEST = 200  # characters
_FILE = re.compile(r"\.(?:py|cc?|cpp|cu|h|go|rs|java|js)$")


@dataclass(frozen=True)
class Named:
    """What a name means. `whose`: the word that tells whose number it is, in small letters, "" where none does, "train"
    of the training's; `bare` is the name without it."""

    kind: Kind
    whose: str
    bare: str

    @property
    def own(self) -> bool:
        """Whether it is the training's own, and no validation's."""
        return self.whose in ("", "train")


@lru_cache(4096)
def meaning(name: str) -> Named:
    """What a name means."""
    if len(name) > _LONGEST or _FILE.search(name):
        return Named("nothing", "", name)
    whose, bare = _split(name.strip())
    low, whole = bare.lower(), name.strip().lower()
    for kind, form, text in _KINDS:
        if form.fullmatch(whole if text == "whole" else low):
            return Named(kind, whose, bare)
    if _LOSS.search(low) and "scale" not in low:  # `time_loss` is one, `loss scale` is none
        return Named("metric", whose, bare)
    if _NOTHING.search(low) or "scale" in low:
        return Named("nothing", whose, bare)
    return Named("metric" if _METRIC.search(low) else "other", whose, bare)


_KINDS: tuple[tuple[Kind, "re.Pattern[str]", str], ...] = (
    ("step", _STEP, "bare"), ("epoch", _EPOCH, "bare"), ("steps", _STEPS, "whole"), ("epochs", _EPOCHS, "whole"),
    ("clock", _CLOCK, "whole"), ("rate", _RATE, "bare"),
)  # fmt: skip


def _split(name: str) -> tuple[str, str]:
    """Whose number it is, and the name without that."""
    found = _WHOSE.fullmatch(name) or _CAMEL.fullmatch(name) or _BEHIND.fullmatch(name)
    if not found:
        return "", _MEAN.sub("", name)
    whose, rest = found["whose"].lower(), found["rest"]
    whose = "train" if whose.startswith("train") else "val" if whose == "metrics" else whose
    return whose, _MEAN.sub("", rest)


def is_loss(name: str) -> bool:
    """Whether a bare name is a loss."""
    return bool(_LOSS.search(name.lower()))
