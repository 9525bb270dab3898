"""Scripts of recipes, imported as they are: with a stand-in for the module `caffe`, which only images have."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import provision

FOLDER = Path(provision.__file__).parent / "recipes" / "builtin"


class Layer:
    """caffe.Layer as a script sees it: made by hand, without a net."""

    param_str = "{}"


def load_file(name: str, **modules: ModuleType) -> Any:
    """The script at `name` below the recipes; `modules` are what it imports by their plain names."""
    caffe = ModuleType("caffe")
    caffe.Layer = Layer  # type: ignore[attr-defined]
    proto = ModuleType("caffe.proto")
    proto.caffe_pb2 = ModuleType("caffe.proto.caffe_pb2")  # type: ignore[attr-defined]
    there = {"caffe": caffe, "caffe.proto": proto, **modules}
    before = {key: sys.modules.get(key) for key in there}
    sys.modules.update(there)
    try:
        spec = importlib.util.spec_from_file_location(Path(name).stem, FOLDER / name)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        for key, old in before.items():
            if old is None:
                del sys.modules[key]
            else:
                sys.modules[key] = old
