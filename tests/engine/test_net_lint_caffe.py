"""Errors of `net lint` against a running Caffe (Debian's, of 2018): what lint calls an error Caffe refuses, the mended
text it takes. Of layers that are drawn by chance it refuses those that lint does, and makes the shapes of `net show`.

Caffe cannot judge these errors, or takes what they find:
- words and layers of forks (`ssd`, `label` of a label map, `type` and `field` by a fork's schema): Debian's has none;
- what runs and spoils the training: `SPOILT` holds that it is taken, and so that its words may not say "Caffe stops";
- what needs data (`label` with --data), or files that are elsewhere;
- a third top of MemoryData, which is DeepLab's; pool: STOCHASTIC and engine: CUDNN, which a CPU has not.
"""

from functools import cache
from pathlib import Path

import pytest

from provision.lint.finding import Finding
from provision.lint.net import lint
from provision.net import graph
from provision.net.shapes import infer
from provision.net.text import parse
from tests.engine.caffe_judge import Asked, Verdict, judge
from tests.engine.layer_draws import Drawn, drawn
from tests.unit.lint_errors import FEED, NET, NETS, PICTURES, SCORE, SOLVER, SOLVERS
from tests.unit.test_net_refused import REFUSED, net_of
from tests.unit.test_net_shapes import layer
from tests.unit.test_net_stops import FED, MORE, STOPS, VALUES

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]
DRAWS = 400
_TEST = (("TEST", ()),)
_LOUD = (
    'layer { name: "m" type: "DummyData" top: "m" dummy_data_param { shape { dim: 2000 } } include { phase: TEST } }'
)
_AGAIN = """layer { name: "score" type: "InnerProduct" bottom: "data" top: "two" inner_product_param { num_output: 2 } }
layer { name: "quiet" type: "Silence" bottom: "two" }
"""
_DROP = 'layer { name: "x" type: "Dropout" bottom: "p" top: "x" dropout_param { dropout_ratio: 1 } }'
_POOL = 'layer { name: "x" type: "Pooling" bottom: "p" top: "p" pooling_param { kernel_size: 2 } }'

# errors that Caffe runs with: the rule, the net and the solver
SPOILT: dict[str, tuple[str, str, str]] = {
    "no loss": ("loss", FEED + SCORE, SOLVER),
    "lines of a test": ("output", NET + _LOUD, SOLVER),
    "one name": ("name", NET + _AGAIN, ""),
    "a pooling in place": ("in-place", PICTURES + _POOL, ""),
    "a dropout of all": ("layer", PICTURES + _DROP, ""),
    "no rate": ("number", NET, SOLVER.replace("base_lr: 0.01\n", "")),
    "a rate below 0": ("number", NET, SOLVER.replace("base_lr: 0.01", "base_lr: -0.01")),
    "no end": ("number", NET, SOLVER.replace("max_iter: 100\n", "")),
    "no pictures": ("number", NET, SOLVER + "iter_size: 0"),
    "momentum of 1": ("number", NET, SOLVER + "momentum: 1"),
    "no gamma": ("policy", NET, SOLVER.replace("gamma: 0.1\n", "")),
    "no power": ("policy", NET, SOLVER.replace('"step"', '"inv"')),
    "no stepvalue": ("policy", NET, SOLVER.replace('"step"', '"multistep"')),
    "falling steps": ("policy", NET, SOLVER.replace('"step"', '"multistep"') + "stepvalue: 9 stepvalue: 3"),
    "a placeholder": ("placeholder", NET, SOLVER.replace('"net"', '"{{ name }}"')),
}


def _layers() -> dict[str, tuple[str, str]]:
    """Nets of one layer: refused, and taken."""
    behind, found = FED + MORE, dict[str, tuple[str, str]]()
    for at, (kind, wrong, said, sound) in enumerate(REFUSED):
        found[f"{at} {kind}: {said}"] = (net_of(kind, *wrong), net_of(kind, *sound))
    for kind, params, bottoms, tops, said, well, sound_tops in STOPS:
        wrong_net, sound_net = layer(kind, params, bottoms, tops), layer(kind, params, well, sound_tops)
        found[f"{kind} of {bottoms}: {said}"] = (behind + wrong_net, behind + sound_net)
    for kind, wrong_params, said, sound_params in VALUES:
        found[f"{kind}: {said}"] = (behind + layer(kind, wrong_params), behind + layer(kind, sound_params))
    return found


LAYERS = _layers()


def _run(text: str) -> Asked:
    """Forward as well, where a CPU can."""
    never = ("STOCHASTIC", "MemoryData", "Filter", "Python", "HDF5Output")
    return Asked({"net.prototxt": text}, states=_TEST, forward=not any(word in text for word in never))


@cache
def said() -> dict[str, Verdict]:
    """Caffe's word on all of them, asked at once."""
    asked: dict[str, Asked] = {}
    for name, (wrong, sound) in LAYERS.items():
        asked |= {f"wrong {name}": _run(wrong), f"sound {name}": _run(sound)}
    for name, error in NETS.items():
        for word, text in (("wrong", error.wrong), ("sound", error.mended)):
            asked[f"{word} {name}"] = Asked({"net.prototxt": text}, forward="MemoryData" not in str(text))
    for name, error in SOLVERS.items():
        for word, text in (("wrong", error.wrong), ("sound", error.mended)):
            asked[f"{word} solver {name}"] = _solver(NET, str(text))
    for name, (_, net, solver) in SPOILT.items():
        asked[f"spoilt {name}"] = _solver(net, solver) if solver else Asked({"net.prototxt": net})
    asked["reloaded"] = Asked({"net.prototxt": NET + _AGAIN}, reload=True)
    asked |= {f"drawn {seed}": _run(drawn(seed).text) for seed in range(DRAWS)}
    return judge(asked)


def _solver(net: str, solver: str) -> Asked:
    return Asked({"net.prototxt": net, "solver.prototxt": solver}, "solver.prototxt", solver=True, steps=2)


def errors(folder: Path, net: str | bytes, solver: str = "") -> list[Finding]:
    (folder / "net.prototxt").write_bytes(net if isinstance(net, bytes) else net.encode())
    (folder / "solver.prototxt").write_text(solver)
    found = lint(folder / ("solver.prototxt" if solver else "net.prototxt"))
    return [one for one in found.findings if one.level == "error"]


@pytest.mark.parametrize("name", [*LAYERS, *NETS, *(f"solver {name}" for name in SOLVERS)])
def test_caffe_refuses_the_error_and_takes_the_mended_text(name: str) -> None:
    wrong, sound = said()[f"wrong {name}"], said()[f"sound {name}"]
    assert not wrong.taken and wrong.code, wrong
    assert sound.taken, sound


@pytest.mark.parametrize("name", NETS)
def test_the_words_that_caffe_is_said_to_stop_with_are_its_own(name: str, tmp_path: Path) -> None:
    error = NETS[name]
    found = [one for one in errors(tmp_path, error.wrong) if one.rule == error.rule]
    told = [one.why.partition("Caffe stops: ")[2].partition(",")[0] for one in found if error.said in one.what]
    assert any(words in said()[f"wrong {name}"].said for words in told)


@pytest.mark.parametrize("name", SPOILT)
def test_what_spoils_the_training_caffe_takes(name: str, tmp_path: Path) -> None:
    rule, net, solver = SPOILT[name]
    found = [one for one in errors(tmp_path, net, solver) if one.rule == rule]
    assert found and not any("Caffe stops" in one.why for one in found)
    assert said()[f"spoilt {name}"].taken, said()[f"spoilt {name}"].said


def test_a_snapshot_of_two_layers_of_one_name_cannot_be_loaded() -> None:
    assert "shape mismatch" in said()["reloaded"].said


def test_of_drawn_layers_lint_and_caffe_refuse_the_same_and_shapes_are_caffes(tmp_path: Path) -> None:
    unlike = {seed: drawn(seed) for seed in range(DRAWS) if not _agree(drawn(seed), said()[f"drawn {seed}"], tmp_path)}
    assert not unlike, [(seed, one.text, said()[f"drawn {seed}"]) for seed, one in unlike.items()]
    taken = sum(said()[f"drawn {seed}"].taken for seed in range(DRAWS))
    assert DRAWS // 4 < taken < DRAWS * 3 // 4


def _agree(one: Drawn, verdict: Verdict, folder: Path) -> bool:
    if not verdict.taken:
        return bool(errors(folder, one.text))
    ours = infer(graph.layers(parse(one.text), "TEST"))
    params = {row.layer.name: [list(shape) for shape in row.params or ()] for row in ours.rows}
    blobs = {name: None if shape is None else list(shape) for name, shape in ours.blobs.items()}
    mine = ({name: shapes for name, shapes in params.items() if shapes}, blobs)
    return not errors(folder, one.text) and mine == (verdict.params, verdict.blobs)
