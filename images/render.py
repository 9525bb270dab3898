"""From a Target to its Context: pure, without network or engine, the same bytes each time and everywhere."""

import hashlib
import io
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from images.target import Target

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Context:
    """What docker is given: files by name, among them the Dockerfile."""

    target: Target
    files: tuple[tuple[str, str], ...]

    @property
    def dockerfile(self) -> str:
        return dict(self.files)["Dockerfile"]

    @property
    def hash(self) -> str:
        """12 hex digits that follow from names and contents."""
        digest = hashlib.sha256()
        for name, text in sorted(self.files):
            digest.update(f"{name}\0{len(text.encode())}\0{text}".encode())
        return digest.hexdigest()[:12]

    @property
    def tag(self) -> str:
        return f"provision/{self.target.stack.name}:{self.target.variant.id}-{self.hash}"

    def tar(self) -> bytes:
        """The files as a tar, the same bytes each time."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, text in sorted(self.files):
                info = tarfile.TarInfo(name)
                info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))
        return buffer.getvalue()

    def write(self, folder: Path) -> Path:
        """Put the files into FOLDER/STACK/ROW; that folder."""
        place = folder / self.target.stack.name / self.target.variant.id
        for name, text in self.files:
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        return place


def render(target: Target) -> Context:
    """The Context of a Target."""
    template = _environment().get_template(target.stack.template)
    text = template.render(target=target, stack=target.stack, row=target.variant)
    return Context(target, (("Dockerfile", text),))


@cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        newline_sequence="\n",
        autoescape=False,
    )
