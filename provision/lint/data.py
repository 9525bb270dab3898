"""What stops or spoils a training, found before it is paid for: `provision data check`.

A label that is no class makes the loss read beyond its memory on a GPU: error 77 (700 since CUDA 10.1), an illegal
memory access; on a CPU it trains nonsense. Records of different sizes, empty databases, images and labels out of step
stop Caffe at once or teach it the wrong thing; records sorted by class and one class only let a training stand still;
a test picture that was trained with makes a score worthless.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from provision.lint import data_layer
from provision.lint.finding import Finding
from provision.lint.scan import Scan, Seen, Size
from provision.lint.unit import Unit

_SHOWN = 3
_SORTED_FROM = 20  # records; a shorter database may be sorted by chance


def check(units: list[Unit]) -> list[Finding]:
    """All findings, errors first."""
    found = [finding for unit in units for rule in RULES for finding in rule(unit)]
    trained = [unit.images for unit in units if unit.phase == "train"]
    tested = [unit.images for unit in units if unit.phase == "test"]
    found += [finding for training in trained for other in tested for finding in overlap(training, other)]
    found += [finding for training in trained for other in tested for finding in other_names(training, other)]
    return sorted(found, key=lambda finding: finding.level != "error")


def empty(unit: Unit) -> Iterator[Finding]:
    for scan in filter(None, (unit.images, unit.labels)):
        if not scan.records:
            yield Finding("error", scan.where, "holds no records: Caffe stops", "make it again: provision data lmdb")


def bad(unit: Unit) -> Iterator[Finding]:
    for scan in filter(None, (unit.images, unit.labels)):
        wrong = [record for record in scan.records if record.bad]
        if wrong:
            named = _named(wrong, lambda record: f"{record.key} {record.bad}")
            what = f"{_many(wrong, 'picture')} cannot be used: {named}"
            yield Finding(
                "error", scan.where, what, "mend these files or take them out of the list, and make the database again"
            )


def lost(unit: Unit) -> Iterator[Finding]:
    """As many records as data.json says."""
    for scan in filter(None, (unit.images, unit.labels)):
        if scan.expected is not None and scan.expected != len(scan.records):
            what = f"holds {len(scan.records)} records, and its data.json says {scan.expected}: a part of it is lost"
            yield Finding("error", scan.where, what, "copy it again, or make it again")


def sizes(unit: Unit) -> Iterator[Finding]:
    """Pictures need one size, a crop, or batches of one picture; none may be above the limit or below the crop."""
    found = Counter[Size]()
    for size, count in unit.images.sizes().items():
        found[size[-2:]] += count
    alike = unit.crop or unit.batch == 1 or unit.images.boxes or (unit.layer is not None and unit.layer.resized)
    if len(found) > 1 and not alike:
        words = ", ".join(f"{_size(size)} ({count})" for size, count in found.most_common(_SHOWN))
        what = f"pictures have {len(found)} sizes: {words}; Caffe stops where they meet in one batch"
        mend = "make it again with --resize HEIGHT WIDTH or --pad SIZE; or batch_size: 1, or a crop_size"
        yield Finding("error" if unit.batch else "warning", unit.images.where, what, mend)
    for words, side, wrong in (
        ("larger than", unit.limit, [size for size in found if unit.limit and max(size[-2:]) > unit.limit]),
        ("smaller than the crop of", unit.crop, [size for size in found if min(size[-2:]) < unit.crop]),
    ):
        if wrong:
            count = sum(found[size] for size in wrong)
            what = f"{count} pictures are {words} {side}: {', '.join(_size(size) for size in wrong[:_SHOWN])}"
            yield Finding("error", unit.images.where, what, "make it again with --resize HEIGHT WIDTH")


def labels(unit: Unit) -> Iterator[Finding]:
    """Each label must be a class of the net, or the label to ignore."""
    scan = unit.labels or unit.images
    values = scan.values()
    if not unit.classes:
        if negative := sorted(value for value in values if value < 0 and value not in unit.ignore):
            what = f"{sum(values[value] for value in negative)} labels are below 0, such as {negative[0]}: no class is"
            mend = (
                f"number the classes from 0; or loss_param {{ ignore_label: {negative[0]} }} and --ignore {negative[0]}"
            )
            yield Finding("warning", scan.where, what, mend)
        return
    lowest = 1 if scan.boxes else 0  # 0 is the background, which no box may be
    wrong = sorted(value for value in values if not lowest <= value < unit.classes and value not in unit.ignore)
    if not wrong:
        return
    which = next(record.key for record in scan.good if wrong[-1] in record.values)
    what = (
        f"labels {', '.join(map(str, wrong[:8]))}{' …' if len(wrong) > 8 else ''} are no class of {unit.classes} "
        f"({lowest} to {unit.classes - 1}), {wrong[-1]} in {which}: error 77 or 700 on a GPU, nonsense on a CPU"
    )
    yield Finding("error", scan.where, what, _label_mend(unit, wrong))


def _label_mend(unit: Unit, wrong: list[int]) -> str:
    if wrong == [255] and unit.labels:
        return "loss_param { ignore_label: 255 }"
    if wrong == [unit.classes] and 0 not in (unit.labels or unit.images).values():
        return "number the classes from 0"
    return f"num_output: {max(wrong) + 1}" if 0 <= max(wrong) < 255 else "number the classes from 0, without gaps"


def absent(unit: Unit) -> Iterator[Finding]:
    """Classes that occur nowhere; and one class for all records."""
    scan = unit.labels or unit.images
    values = [value for value in scan.values() if not (unit.labels and value in unit.ignore)]
    if len(values) == 1 and (unit.classes or unit.labels) and len(scan.records) > 1 and not scan.boxes:
        what = f"every {'pixel' if unit.labels else 'picture'} has the label {values[0]}: there is nothing to learn"
        mend = "see what is in it: provision data lmdb-show; were the labels converted (provision data voc-labels)?"
        yield Finding("error", scan.where, what, mend)
        return
    if len(values) == 1 and not unit.labels and not scan.boxes and len(scan.records) > 1:
        folders = {record.name.split("/")[0] for record in scan.records if "/" in record.name}
        if len(folders) > 1 and not unit.classes:
            what = f"every picture has the label {values[0]}, though they lie in {len(folders)} folders"
            mend = "if the folders are classes, make it again with --kind classes"
            yield Finding("warning", scan.where, f"{what}: {', '.join(sorted(folders)[:_SHOWN])}", mend)
    missing = [value for value in range(1 if scan.boxes else 0, unit.classes) if value not in values]
    if missing and scan.good:
        what = f"{len(missing)} of {unit.classes} classes do not occur: {', '.join(map(str, missing[:20]))}"
        yield Finding(
            "warning",
            scan.where,
            what,
            "these classes cannot be learnt or scored; look at the list, or at how it was split",
        )


def contradictory(unit: Unit) -> Iterator[Finding]:
    """The same picture has one class."""
    if unit.labels or unit.images.boxes:
        return
    first: dict[bytes, Seen] = {}
    apart = [
        (before, record)
        for record in unit.images.good
        if (before := first.setdefault(record.digest, record)).values != record.values
    ]
    if apart:
        (one, other), many = apart[0], _many([record for _, record in apart], "picture")
        labels = [next(iter(record.values)) for record in (one, other)]
        what = f"{many} came before with another label: {one.key} has {labels[0]}, {other.key} has {labels[1]}"
        yield Finding("warning", unit.images.where, what, "take the wrong one out of the list, and make it again")


def in_order(unit: Unit) -> Iterator[Finding]:
    """Caffe reads in the order of the file: batches of one class let a training stand still."""
    if unit.labels or unit.images.boxes or unit.phase == "test" or len(unit.images.good) < _SORTED_FROM:
        return
    values = [next(iter(record.values)) for record in unit.images.good]
    if values == sorted(values) and values[0] != values[-1]:
        what = "records are sorted by class, and Caffe reads them in this order: each batch has one class only"
        yield Finding("warning", unit.images.where, what, "make it again with --shuffle")


def in_step(unit: Unit) -> Iterator[Finding]:
    """Images and label pictures must be as many, with the same keys in the same order, and of the same sizes."""
    if unit.labels is None:
        return
    images, others = unit.images.records, unit.labels.records
    mend = "make both in one go, of a list of pairs: provision data lmdb"
    if len(images) != len(others):
        what = f"{len(images)} images and {len(others)} label pictures ({unit.labels.where}): they run out of step"
        yield Finding("error", unit.images.where, what, mend)
        return
    pairs = list(zip(images, others, strict=True))
    moved = [image for image, other in pairs if image.key != other.key]
    if moved:
        what = f"{_many(moved, 'image')} and the label pictures in the same places have different keys: {moved[0].key}"
        yield Finding("error", unit.images.where, what, mend)
    apart = [
        (image, other) for image, other in pairs if image.size[-2:] != other.size[-2:] and not (image.bad or other.bad)
    ]
    if apart:
        image, other = apart[0]
        what = (
            f"{len(apart)} label pictures differ in size: {image.key} is {_size(image.size)}, its {_size(other.size)}"
        )
        yield Finding("error", unit.images.where, what, mend)


def overlap(train: Scan, test: Scan) -> Iterator[Finding]:
    """Pictures of the test that are trained with, by name and by content."""
    names = {record.name for record in train.records}
    digests = {record.digest for record in train.good}
    by_name = [record for record in test.records if record.name.strip("0123456789") and record.name in names]
    by_content = [record for record in test.good if record.digest in digests]
    where = f"{test.where} and {train.where}"
    mend = "take them from one of the two lists, and make that list again: the score would be too good"
    if by_content:
        named = _named(by_content, lambda record: record.name)
        what = f"training and test share {_many(by_content, 'picture')}: {named}"
        yield Finding("error", where, what, mend)
    elif by_name:
        named = _named(by_name, lambda record: record.name)
        what = f"training and test share {_many(by_name, 'name')}: {named}"
        yield Finding("warning", where, what, "check that the names stand for different pictures")


def other_names(train: Scan, test: Scan) -> Iterator[Finding]:
    """The same number is the same class in training and test."""
    if not train.names or not test.names or train.names == test.names:
        return
    pairs = zip(train.names, test.names, strict=False)
    apart = next(
        (f"{number} is {ours} and {theirs}" for number, (ours, theirs) in enumerate(pairs) if ours != theirs), ""
    )
    what = f"class {apart}" if apart else f"{len(train.names)} classes and {len(test.names)} in labels.txt"
    mend = f"make the test again with --classes {train.where}/labels.txt"
    yield Finding("error", f"{train.where} and {test.where}", f"classes have other numbers: {what}", mend)


RULES: tuple[Callable[[Unit], Iterator[Finding]], ...] = (
    empty, bad, lost, data_layer.backends, data_layer.channels, data_layer.means, data_layer.turned, sizes, labels,
    absent, contradictory, in_order, in_step,
)  # fmt: skip


def _many(records: list[Seen], word: str) -> str:
    return f"{len(records)} {word}{'' if len(records) == 1 else 's'}"


def _named(records: list[Seen], name: Callable[[Seen], str]) -> str:
    more = f" and {len(records) - _SHOWN} more" if len(records) > _SHOWN else ""
    return ", ".join(name(record) for record in records[:_SHOWN]) + more


def _size(size: Size) -> str:
    return " x ".join(map(str, size))
