"""What a net's data layer says against what its database holds: backend, channels, mean, EXIF.

Each of these stops Caffe at its start, or where two pictures meet (data_layer.cpp, data_transformer.cpp).
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from provision.data.datum import decode_blob
from provision.lint.finding import Finding
from provision.lint.unit import Unit

_FORCE = "transform_param { force_color: true }"


def backends(unit: Unit) -> Iterator[Finding]:
    """The layer's backend is that of the folder."""
    pairs = [(unit.layer, unit.images), (unit.layer.labels if unit.layer else None, unit.labels)]
    for layer, scan in pairs:
        if layer is None or scan is None or not scan.backend or scan.backend == layer.backend.lower():
            continue
        held = scan.backend.upper()
        what = f"{layer.name} reads {layer.backend} (Caffe's default is LEVELDB), and the folder holds {held}"
        yield Finding("error", scan.where, what, f"data_param {{ backend: {held} }}")


def channels(unit: Unit) -> Iterator[Finding]:
    """Gray among coloured pictures: the net has one number of channels."""
    found = Counter(size[0] for size, count in unit.images.sizes().items() if len(size) == 3 for _ in range(count))
    if len(found) < 2 or (unit.layer and (unit.layer.force_color or unit.layer.force_gray)):
        return
    words = ", ".join(f"{number} ({count})" for number, count in found.most_common())
    rare = min(found, key=lambda number: (found[number], number))
    which = next(record.name for record in unit.images.good if record.size[0] == rare)
    what = (
        f"pictures have {len(found)} numbers of channels: {words}, such as {which}: Caffe stops at the first other one"
    )
    mend = _FORCE if unit.images.encoded else "make it again: provision data lmdb makes all alike"
    yield Finding("error" if unit.layer else "warning", unit.images.where, what, mend)


def means(unit: Unit) -> Iterator[Finding]:
    """One mean for each channel, or one; a mean file of the pictures' own size."""
    layer = unit.layer
    if layer is None:
        return
    where, wanted = unit.images.where, _shapes(unit)
    if layer.mean_values and layer.mean_named:
        what = f"{layer.name} has mean_file and mean_value: Caffe stops, for it takes one of them"
        yield Finding("error", where, what, "take one of them out")
    wrong = [size for size in wanted if layer.mean_values > 1 and layer.mean_values != size[0]]
    if wrong:
        what = f"{layer.name} has {layer.mean_values} mean_values, and pictures of {wrong[0][0]} channels: Caffe stops"
        yield Finding("error", where, what, "give one mean_value, or one for each channel: provision data mean")
    if layer.mean_named and layer.mean_file is None:
        what = f"{layer.name}'s mean_file {layer.mean_named} is not there: it was not looked at"
        yield Finding("warning", where, what, "make it: provision data mean; --data DIR names what the net calls /data")
    if layer.mean_file is not None:
        yield from _mean_file(unit, layer.mean_file, wanted)


def _mean_file(unit: Unit, file: Path, wanted: list[tuple[int, ...]]) -> Iterator[Finding]:
    try:
        shape, _ = decode_blob(file.read_bytes())
    except (OSError, ValueError):
        yield Finding("error", str(file), "is no mean file: Caffe stops", "make it: provision data mean")
        return
    resized = unit.layer is not None and unit.layer.resized
    wrong = [size for size in wanted if size[0] != shape[0] or (size[1:] != shape[1:] and not resized)]
    if wrong:
        what = f"is {_words(shape)}, and pictures are {_words(wrong[0])}: Caffe stops, with a crop, too"
        mend = f"make it of this database: provision data mean {unit.images.where} {file}; or give mean_value"
        yield Finding("error", str(file), what, mend)


def turned(unit: Unit) -> Iterator[Finding]:
    """Encoded pictures that EXIF turns: Caffe decodes them as they are stored, but for force_color."""
    found = [record for record in unit.images.good if record.turned]
    if found and not (unit.layer and (unit.layer.force_color or unit.layer.force_gray)):
        what = f"{len(found)} pictures are stored lying on their side or mirrored (EXIF), such as {found[0].name}"
        again = "make it again by data boxes, of files stored upright (exiftran -ai FILE)"
        mend = f"{again if unit.images.boxes else 'make it again with --upright'}; or {_FORCE}"
        yield Finding("warning", unit.images.where, what, mend)


def _shapes(unit: Unit) -> list[tuple[int, ...]]:
    """The shapes that the layer makes of the pictures, before any crop."""
    forced = 0
    if unit.layer is not None and unit.images.encoded:
        forced = 3 if unit.layer.force_color else 1 if unit.layer.force_gray else 0
    return [(forced or size[0], *size[1:]) for size in unit.images.sizes() if len(size) == 3]


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
