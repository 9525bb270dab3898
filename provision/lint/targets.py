"""What `provision data check` was pointed at, as units: databases, pairs, folders of them, lists, nets, solvers."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from infra.errors import UsageError
from provision.data.backends import backend_of
from provision.lint import scan
from provision.lint.unit import DataLayer, Unit
from provision.net import graph
from provision.net.graph import PHASES, Layer
from provision.net.text import Message, read

_JUDGES = {"SoftmaxWithLoss": "loss", "Accuracy": "accuracy", "InfogainLoss": "loss"}
_TESTS = ("test", "val", "valid", "validation")


class Asked(msgspec.Struct, frozen=True):
    """What is known besides: the net's classes (0: not), labels to ignore, the largest side (0: any), the folder that
    a net calls /data, the folder that lists start from, and what to hold against as the test."""

    classes: int = 0
    ignore: frozenset[int] = frozenset({255})
    limit: int = 0
    data: Path | None = None
    root: Path | None = None
    test: Path | None = None


def units(targets: list[Path], asked: Asked) -> list[Unit]:
    """The units behind the targets. UsageError for a target that is none of the above."""
    found = [unit for target in targets for unit in _target(target, asked, "train" if asked.test else "")]
    if asked.test:
        found += _target(asked.test, asked, "test")
    if not any(unit.phase for unit in found):
        found = [msgspec.structs.replace(unit, phase=_phase(Path(unit.images.where))) for unit in found]
    return found


def _target(target: Path, asked: Asked, phase: str) -> list[Unit]:
    if target.suffix in (".prototxt", ".pt"):
        return _net(target, asked)
    if target.is_file():
        images, labels = scan.listed(target, asked.root)
        return [_unit(images, labels, phase, asked)]
    folders = list(_folders(target))
    if not folders:
        raise UsageError(
            f"{target} is not there" if not target.exists() else f"{target} holds no LMDB or LevelDB database",
            "give databases, folders of them, lists, or a net's or solver's prototxt",
        )
    return [_unit(*_scanned(images, labels), phase, asked) for images, labels in folders]


def _unit(images: scan.Scan, labels: scan.Scan | None, phase: str, asked: Asked) -> Unit:
    return Unit(images, labels, phase, asked.classes, asked.ignore if labels else frozenset(), asked.limit)


def _scanned(images: Path, labels: Path | None) -> tuple[scan.Scan, scan.Scan | None]:
    return scan.database(images), scan.database(labels, pixels=True) if labels else None


def _folders(target: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[Path, Path | None]]:
    """Databases with their label databases: this one, or those in the folders below. A link to a folder `above` is not
    gone round."""
    if backend_of(target):
        yield target, None
        return
    whole = target.resolve()
    if whole in above:
        return
    inside = sorted(path for path in target.iterdir() if path.is_dir()) if target.is_dir() else []
    names = {path.name: path for path in inside}
    for path in inside:
        partner = names.get(path.name.replace("labels", "images"))
        if "labels" in path.name and partner is not None and backend_of(partner):
            continue
        own = names.get(path.name.replace("images", "labels")) if "images" in path.name else None
        if backend_of(path):
            yield path, own if own and backend_of(own) else None
        elif not path.name.startswith("."):
            yield from _folders(path, (*above, whole))


def _phase(path: Path) -> str:
    """By the last part of the path that tells."""
    for part in reversed(path.parts):
        words = part.lower().replace("-", "_").replace(".", "_").split("_")
        if any(word.startswith("train") for word in words):
            return "train"
        if any(word in _TESTS for word in words):
            return "test"
    return ""


def _net(path: Path, asked: Asked) -> list[Unit]:
    message = read(path)
    if not graph.every(message) and message.text("net"):
        named = Path(message.text("net"))
        path = named if named.is_file() else path.parent / named.name
        message = read(path)
    found = [unit for phase in PHASES for unit in _phase_units(message, phase, path, asked)]
    if not found:
        raise UsageError(
            f"{path} has no Data layer that reads a database",
            "name the databases themselves: provision data check FOLDER",
        )
    return found


def _phase_units(net: Message, phase: graph.Phase, path: Path, asked: Asked) -> Iterator[Unit]:
    layers = graph.layers(net, phase)
    sources = [layer for layer in layers if layer.type in ("Data", "AnnotatedData") and layer.tops]
    objects = max((layer.param("multibox_loss").whole("num_classes") for layer in layers), default=0)
    judges = [(at, layer) for at, layer in enumerate(layers) if layer.type in _JUDGES and len(layer.bottoms) > 1]
    answers = {layer.tops[0]: layer for layer in sources}  # label pictures, by the blob that they make
    apart = {layer.bottoms[1] for _, layer in judges if layer.bottoms[1] in answers}
    for layer in sources:
        if layer.tops[0] in apart or (phase == "TEST" and layer in graph.layers(net, "TRAIN")):
            continue  # a layer without a phase is told once, as training
        mine = [(place, judge) for place, judge in judges if judge.bottoms[1] in (*layer.tops[1:], *apart)]
        partner = next((answers[judge.bottoms[1]] for _, judge in mine if judge.bottoms[1] in apart), None)
        classes = next((count for at, judge in mine if (count := _classes(layers[:at], judge.bottoms[0]))), 0)
        ignore = frozenset(
            number for _, judge in mine for number in judge.param(_JUDGES[judge.type]).ints("ignore_label")
        )
        images, labels = _scanned(_place(layer, path, asked), _place(partner, path, asked) if partner else None)
        yield Unit(
            images,
            labels,
            phase.lower(),
            asked.classes or classes or (objects if layer.type == "AnnotatedData" else 0),
            ignore,
            asked.limit,
            layer.param("data").whole("batch_size"),
            layer.param("transform").whole("crop_size"),
            _told(layer, path, asked, partner),
        )


def _told(layer: Layer, net: Path, asked: Asked, labels: Layer | None = None) -> DataLayer:
    """What the layer says of its database and of what it does with pictures."""
    transform = layer.param("transform")
    named = transform.text("mean_file")
    inner = asked.data / named.removeprefix("/data/").lstrip("/") if asked.data and named.startswith("/data/") else None
    places = [inner] if inner else [Path(named), net.parent / named]
    return DataLayer(
        layer.name,
        _backend(layer),
        transform.flag("force_color"),
        transform.flag("force_gray"),
        bool(transform.messages("resize_param")),
        len(transform.all("mean_value")),
        next((place for place in places if named and place.is_file()), None),
        named,
        _told(labels, net, asked) if labels else None,
    )


def _backend(layer: Layer) -> str:
    """The backend by its word or number in caffe.proto, which takes LEVELDB where nothing is said."""
    given = layer.param("data")
    return "LMDB" if given.whole("backend") == 1 else given.text("backend", "LEVELDB")


def _classes(before: list[Layer], blob: str) -> int:
    """How many classes a score tells apart: num_output of the layer that it goes back to; 0 if none has."""
    for layer in reversed(before):
        if blob in layer.tops:
            inner = [param.value for param in layer.message.fields if isinstance(param.value, Message)]
            if found := [param.whole("num_output") for param in inner if param.ints("num_output")]:
                return found[0]
            if not layer.bottoms:
                return 0
            blob = layer.bottoms[0]
    return 0


def _place(layer: Layer, net: Path, asked: Asked) -> Path:
    """The database that a layer names: with --data, /data is that folder."""
    source = layer.param("data").text("source")
    inner = source.removeprefix("/data/").lstrip("/")
    places = [asked.data / inner] if asked.data else [Path(source), net.parent / source]
    for place in places:
        if backend_of(place):
            return place
    raise UsageError(
        f"{net}: the layer {layer.name} reads {source}, and {places[0]} holds no database",
        "name the folder that is /data in the training: --data FOLDER",
    )
