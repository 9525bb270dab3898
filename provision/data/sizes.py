"""Names and sizes of pictures, as SSD's evaluation reads them: `provision data sizes`.

A line is the file's name without folder and suffix, its height and its width. Only the files' heads are read. A photo
that is stored lying on its side has the size that it has when shown, as OpenCV reads it.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from infra.errors import UsageError
from provision.data import lists
from provision.data.heads import BadPictureError, head
from provision.data.parallel import ordered, tracked


def size_of(path: Path) -> tuple[int, int]:
    """Height and width in pixels. BadPictureError where the file is no picture."""
    return head(path).shown


def refuse_other(out: Path) -> None:
    """UsageError where `out` is a file that is no list of sizes."""
    lists.refuse_other(out, "list of sizes", r".*\S \d+ \d+")


def size_lines(root: Path | Callable[[str], Path], paths: Sequence[str], jobs: int = 0) -> Iterator[str]:
    """`NAME HEIGHT WIDTH` of each; `root` is the folder that paths start from, or tells where one is. UsageError names
    a picture without a size."""
    place = root if callable(root) else root.joinpath
    sizes = ordered(lambda path: _size(place(path)), paths, jobs)
    for path, size in zip(paths, tracked(sizes, len(paths), "sizes"), strict=True):
        if isinstance(size, str):
            raise UsageError(f"{place(path)} {size}", "mend the picture, or take it out of the list")
        yield f"{Path(path).stem} {size[0]} {size[1]}"


def _size(path: Path) -> tuple[int, int] | str:
    try:
        return size_of(path)
    except BadPictureError as error:
        return str(error)
