"""Names and sizes of pictures, as SSD's evaluation reads them: `provision data sizes`.

A line is the file's name without folder and suffix, its height and its width. Only the files' heads are read. A photo
that is stored lying on its side has the size that it has when shown, as OpenCV reads it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.errors import UsageError
from provision.data.extras import extra
from provision.data.parallel import ordered, tracked
from provision.data.pictures import BadPictureError

_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # EXIF


def size_of(path: Path) -> tuple[int, int]:
    """Height and width in pixels. BadPictureError where the file is no picture."""
    image = extra("PIL.Image")
    try:
        with image.open(path) as opened:
            width, height = opened.size
            turned = opened.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    except FileNotFoundError:
        raise BadPictureError("is not there") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BadPictureError(f"is not a picture: {error}") from None
    return (width, height) if turned else (height, width)


def size_lines(root: Path, paths: Sequence[str], jobs: int = 0) -> Iterator[str]:
    """`NAME HEIGHT WIDTH` of each. UsageError names a picture without a size."""
    sizes = ordered(lambda path: _size(root / path), paths, jobs)
    for path, size in zip(paths, tracked(sizes, len(paths), "sizes"), strict=True):
        if isinstance(size, str):
            raise UsageError(f"{root / path} {size}", "mend the picture, or take it out of the list")
        yield f"{Path(path).stem} {size[0]} {size[1]}"


def _size(path: Path) -> tuple[int, int] | str:
    try:
        return size_of(path)
    except BadPictureError as error:
        return str(error)
