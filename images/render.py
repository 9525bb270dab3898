"""From a Target to its Context: pure, without network or engine, the same bytes each time and everywhere."""

import hashlib
import io
import tarfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from images import hashes, own_source
from images.distributions import distributions
from images.lock import Lock, fixed
from images.matrix import rows
from images.patches import ColumnBuffer, select, to_json
from images.target import Target
from infra import apt
from infra.disk import writing

_TEMPLATES = Path(__file__).parent / "templates"
_FILES = Path(__file__).parent / "context"
_STEPS = (
    "apply_patches.py", "apt.sh", "nvidia_repo.py", "source_passes.py", "source_python.py", "source_stubs.py",
    "source_text.py", "source_tree.py",
)  # fmt: skip

# what sources are fetched and patched on, for all rows: its TLS and git are of today
MODERN = "cpu-debian12"


@dataclass(frozen=True)
class Context:
    """What docker is given: files by name, among them the Dockerfile; and the `lock` that they are held to."""

    target: Target
    files: tuple[tuple[str, str], ...]
    lock: Lock | None = None

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
        """`provision/caffe-debian:cpu-debian11-<hash>`: another Dockerfile is another tag."""
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
        """Put the files into FOLDER/STACK/ROW; that folder. DiskError or UsageError where it cannot be written."""
        place = folder / folder_of(self.target)
        with writing(place):
            for parent in {(place / name).parent for name, _ in self.files}:
                parent.mkdir(parents=True, exist_ok=True)
            for name, text in self.files:
                (place / name).write_bytes(text.encode())
        return place


def folder_of(target: Target) -> Path:
    """Where a Target's files lie among those of others: STACK/ROW, or STACK/ROW@GPU,GPU."""
    return Path(target.stack.name, target.name.partition(":")[2])


def render(target: Target, *, column_buffer: ColumnBuffer = "ours", lock: Lock | None = None) -> Context:
    """The Context of a Target, held to its lock if there is one.

    `column_buffer` chooses Caffe's: each layer's own ("none"), or shared in two ways.
    """
    stack = target.stack
    chosen = select(stack.name, target.versions, column_buffer=column_buffer) if stack.patched else ()
    values = {
        "target": target, "stack": stack, "row": target.variant, "dist": target.distribution,
        "patches": [patch.name for patch in chosen], "requirement": partial(hashes.line, stack),
    }  # fmt: skip
    files = {"Dockerfile": _fill(stack.template, values)}
    files |= {name.removesuffix(".j2"): _fill(name, values) for name in stack.rendered}
    files |= {name: _handed_in(name) for name in _wanted(files["Dockerfile"], stack.files)}
    if stack.hashes:
        files["requirements.txt"] = hashes.text(stack)
    for package in stack.own_source:
        files |= own_source.files(package)
    if stack.patched:
        files["patches.json"] = to_json(chosen)
    if lock is not None:
        files = fixed(files, lock, target)
    return Context(target, tuple(sorted(files.items())), lock)


def _wanted(dockerfile: str, files: tuple[str, ...]) -> list[str]:
    """The stack's files, and those that the steps of the templates name."""
    return sorted({*files, *(name for name in _STEPS if name in dockerfile)})


def _fill(template: str, values: dict[str, Any]) -> str:
    text: str = _environment().get_template(template).render(values)
    return text


def macros(template: str) -> Any:
    """What a template of macros defines: its values and macros by name, to be called with a row."""
    return _environment().get_template(template).module


@cache
def _handed_in(name: str) -> str:
    return apt.SCRIPT if name == "apt.sh" else (_FILES / name).read_text(encoding="utf-8")


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        newline_sequence="\n",
        autoescape=False,
    )
    environment.globals["release_ends"] = {name: release.end_of_life for name, release in distributions().items()}
    environment.globals["modern"] = rows()[MODERN]
    return environment
