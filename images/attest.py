"""A built image's attestations, as two files: its bill of materials and its provenance.

BuildKit can make both itself, but `--load` drops them, and it knows nothing of sources, patches and wheels.
"""

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from images import inventory, provenance
from images.build import Image, Order, bases, stage_in
from images.made import Made
from images.render import Context
from infra import basepin, distribution
from infra.disk import writing
from infra.errors import MissingExtraError
from infra.shell import Shell

Times = tuple[datetime, datetime]


def look(image: Image, context: Context, order: Order, shell: Shell, times: Times | None = None) -> Made:
    """What the engine says of an image and of its bases. `times`: begin and end of the build.

    ImageError where one of them is gone.
    """
    names = bases(context.dockerfile, stage_in(context, order))
    pins = {name: basepin.pin_of(name, basepin.look(name, shell)) for name in names}
    moment = str(basepin.look(image.tag, shell)["Created"])[:19]
    created = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    begun, ended = times or (None, None)
    return Made(image, created, context, order, pins, begun, ended)


def write(made: Made, shell: Shell, folder: Path) -> tuple[Path, Path]:
    """Write NAME.cdx.json and NAME.provenance.json into the folder; NAME is the tag's, with `-` for `:`.

    MissingExtraError without the libraries, DiskError or UsageError where it cannot be written.
    """
    sbom = library()
    texts = (sbom(made, inventory.take(made.image.tag, shell)), provenance.text(made, versions(shell)))
    name = made.image.tag.removeprefix("provision/").replace(":", "-")
    paths = (folder / f"{name}.cdx.json", folder / f"{name}.provenance.json")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, encoding="utf-8")
    return paths


def library() -> Callable[[Made, inventory.Inventory], str]:
    """The function that writes a bill of materials. MissingExtraError where the libraries for it are not installed."""
    try:
        from images.sbom import sbom
    except ImportError as error:
        need = "pip install 'provision-spot[attest]'"
        raise MissingExtraError("a bill of materials needs cyclonedx-python-lib", need) from error
    return sbom


def versions(shell: Shell) -> dict[str, str]:
    """The versions of the engine and, if it was installed as a package, of provision."""
    found = {"docker": shell.run(["docker", "version", "--format", "{{.Server.Version}}"]).out.strip()}
    ours = distribution.version()
    return {"provision": ours, **found} if ours else found
