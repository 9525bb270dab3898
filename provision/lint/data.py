"""What stops or spoils a training, found before it is paid for: `provision data check`.

A label that is no class makes the loss read beyond its memory on a GPU: error 77 (700 since CUDA 10.1), an illegal
memory access; on a CPU it trains nonsense. Records of different sizes, empty databases, images and labels out of step
stop Caffe at once or teach it the wrong thing; records sorted by class and one class only let a training stand still;
a test picture that was trained with makes a score worthless.
"""

from collections.abc import Callable, Iterator

import msgspec

from provision.data.scan import Scan, Seen, Size

_SHOWN = 3
_SORTED_FROM = 20  # records; a shorter database may be sorted by chance


class Finding(msgspec.Struct, frozen=True):
    """`level` is error or warning."""

    level: str
    where: str
    what: str
    mend: str


class Unit(msgspec.Struct, frozen=True):
    """What one data layer reads, or a pair of them.

    `phase` is train, test or empty; `labels` are the label pictures, where they are apart. `classes` is what the net
    tells apart (0: not known), `batch` its batch (0: not known), `crop` the side that it cuts out.
    """

    images: Scan
    labels: Scan | None = None
    phase: str = ""
    classes: int = 0
    ignore: frozenset[int] = frozenset({255})
    limit: int = 0
    batch: int = 0
    crop: int = 0


def check(units: list[Unit]) -> list[Finding]:
    """All findings, errors first."""
    found = [finding for unit in units for rule in RULES for finding in rule(unit)]
    trained = [unit.images for unit in units if unit.phase == "train"]
    tested = [unit.images for unit in units if unit.phase == "test"]
    found += [finding for one in trained for other in tested for finding in overlap(one, other)]
    return sorted(found, key=lambda finding: finding.level != "error")


def empty(unit: Unit) -> Iterator[Finding]:
    for scan in filter(None, (unit.images, unit.labels)):
        if not scan.records:
            yield Finding("error", scan.where, "holds no records: Caffe stops", "make it again: provision data lmdb")


def bad(unit: Unit) -> Iterator[Finding]:
    for scan in filter(None, (unit.images, unit.labels)):
        wrong = [one for one in scan.records if one.bad]
        if wrong:
            what = f"{_many(wrong, 'picture')} cannot be used: {_named(wrong, lambda one: f'{one.key} {one.bad}')}"
            yield Finding("error", scan.where, what, "mend these files or take them out of the list, and make it again")


def sizes(unit: Unit) -> Iterator[Finding]:
    """One size, or a crop, or batches of one; and none above the limit or below the crop."""
    found = unit.images.sizes()
    if len(found) > 1 and not unit.crop and unit.batch != 1:
        words = ", ".join(f"{_size(size)} ({count})" for size, count in found.most_common(_SHOWN))
        what = f"pictures of {len(found)} sizes: {words}: in one batch, they stop Caffe"
        mend = "make it again with --resize HEIGHT WIDTH or --pad SIZE; or batch_size: 1, or a crop_size"
        yield Finding("error" if unit.batch else "warning", unit.images.where, what, mend)
    for words, side, wrong in (
        ("larger than", unit.limit, [one for one in found if unit.limit and max(one[-2:]) > unit.limit]),
        ("smaller than the crop of", unit.crop, [one for one in found if min(one[-2:]) < unit.crop]),
    ):
        if wrong:
            count = sum(found[one] for one in wrong)
            what = f"{count} pictures are {words} {side}: {', '.join(_size(one) for one in wrong[:_SHOWN])}"
            yield Finding("error", unit.images.where, what, "make it again with --resize HEIGHT WIDTH")


def labels(unit: Unit) -> Iterator[Finding]:
    """Each label is a class of the net or the one to ignore."""
    scan = unit.labels or unit.images
    if not unit.classes:
        return
    values = scan.values()
    wrong = sorted(value for value in values if not 0 <= value < unit.classes and value not in unit.ignore)
    if not wrong:
        return
    which = next(one.key for one in scan.good if wrong[-1] in one.values)
    what = (
        f"labels {', '.join(map(str, wrong[:8]))}{' …' if len(wrong) > 8 else ''} are no class of {unit.classes} "
        f"(0 to {unit.classes - 1}), {wrong[-1]} in {which}: error 77 or 700 on a GPU, nonsense on a CPU"
    )
    yield Finding("error", scan.where, what, _label_mend(unit, wrong))


def _label_mend(unit: Unit, wrong: list[int]) -> str:
    if wrong == [255] and unit.labels:
        return "loss_param { ignore_label: 255 }"
    if wrong == [unit.classes] and 0 not in (unit.labels or unit.images).values():
        return "number the classes from 0"
    return f"num_output: {max(wrong) + 1}" if 0 <= max(wrong) < 255 else "number the classes from 0, without gaps"


def absent(unit: Unit) -> Iterator[Finding]:
    """Classes that occur nowhere; and a single one for all."""
    scan = unit.labels or unit.images
    values = [value for value in scan.values() if not (unit.labels and value in unit.ignore)]
    if len(values) == 1 and (unit.classes or unit.labels) and len(scan.records) > 1:
        what = f"every {'pixel' if unit.labels else 'picture'} has the label {values[0]}: there is nothing to learn"
        mend = "see what is in it: provision data lmdb-show; were the labels converted (provision data voc-labels)?"
        yield Finding("error", scan.where, what, mend)
        return
    missing = [value for value in range(unit.classes) if value not in values]
    if missing and scan.good:
        what = f"{len(missing)} of {unit.classes} classes do not occur: {', '.join(map(str, missing[:20]))}"
        yield Finding("warning", scan.where, what, "they cannot be learnt, nor scored; see the list, or the split")


def in_order(unit: Unit) -> Iterator[Finding]:
    """Caffe reads in the order of the file: batches of one class let a training stand still."""
    if unit.labels or unit.phase == "test" or len(unit.images.good) < _SORTED_FROM:
        return
    values = [next(iter(one.values)) for one in unit.images.good]
    if values == sorted(values) and values[0] != values[-1]:
        what = "records are sorted by class, and Caffe reads them in this order: each batch has one class only"
        yield Finding("warning", unit.images.where, what, "make it again with --shuffle")


def in_step(unit: Unit) -> Iterator[Finding]:
    """Images and label pictures: as many, of the same names in the same order, of the same sizes."""
    if unit.labels is None:
        return
    images, others = unit.images.records, unit.labels.records
    mend = "make both in one go, of a list of pairs: provision data lmdb"
    if len(images) != len(others):
        what = f"{len(images)} images and {len(others)} label pictures ({unit.labels.where}): they run out of step"
        yield Finding("error", unit.images.where, what, mend)
        return
    pairs = list(zip(images, others, strict=True))
    moved = [one for one, other in pairs if one.key != other.key]
    if moved:
        what = f"{_many(moved, 'record')} with other keys than the label picture in the same place: {moved[0].key}"
        yield Finding("error", unit.images.where, what, mend)
    apart = [(one, other) for one, other in pairs if one.size[-2:] != other.size[-2:] and not (one.bad or other.bad)]
    if apart:
        one, other = apart[0]
        what = f"{len(apart)} label pictures differ in size: {one.key} is {_size(one.size)}, its {_size(other.size)}"
        yield Finding("error", unit.images.where, what, mend)


def overlap(train: Scan, test: Scan) -> Iterator[Finding]:
    """Pictures of the test that are trained with, by name and by content."""
    names = {one.name for one in train.records}
    digests = {one.digest for one in train.good}
    by_name = [one for one in test.records if one.name.strip("0123456789") and one.name in names]
    by_content = [one for one in test.good if one.digest in digests]
    where = f"{test.where} and {train.where}"
    mend = "take them from one of the two lists, and make that one again: the score would be too good"
    if by_content:
        what = (
            f"{_many(by_content, 'picture')} of the test, too, in training: {_named(by_content, lambda one: one.name)}"
        )
        yield Finding("error", where, what, mend)
    elif by_name:
        what = f"{_many(by_name, 'name')} of the test, too, in training: {_named(by_name, lambda one: one.name)}"
        yield Finding("warning", where, what, "see that they are other pictures")


RULES: tuple[Callable[[Unit], Iterator[Finding]], ...] = (empty, bad, sizes, labels, absent, in_order, in_step)


def _many(records: list[Seen], word: str) -> str:
    return f"{len(records)} {word}{'' if len(records) == 1 else 's'}"


def _named(records: list[Seen], name: Callable[[Seen], str]) -> str:
    more = f" and {len(records) - _SHOWN} more" if len(records) > _SHOWN else ""
    return ", ".join(name(one) for one in records[:_SHOWN]) + more


def _size(size: Size) -> str:
    return " x ".join(map(str, size))
