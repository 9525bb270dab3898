"""An image's bill of materials: CycloneDX 1.6 as JSON, by the library of that project (the extra `attest`).

It lists the packages of dpkg with the place of their licences in the image, Python's distributions, the stack's source
with its commit and patches, and the libraries of NVIDIA's wheels. Ids and dates follow from the image, so that the same
image has the same bill.
"""

import uuid
from collections.abc import Iterator, Mapping

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from images.inventory import Deb, Inventory, PythonPackage
from images.made import Made, Wheel

_SPACE = uuid.UUID("6f1c7a52-5a0c-5d0e-9c55-0d5a1f0e7b11")  # any fixed one: names of ours start from it


def sbom(made: Made, inside: Inventory) -> str:
    """The bill as JSON."""
    bom = Bom(serial_number=uuid.uuid5(_SPACE, made.image.digest), components=_components(made, inside))
    bom.metadata = BomMetaData(component=_image(made), timestamp=made.created)
    bom.register_dependency(bom.metadata.component, bom.components)
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    return text + "\n"


def _components(made: Made, inside: Inventory) -> list[Component]:
    found = [_system(inside), *(_deb(deb, inside) for deb in inside.debs), *map(_python, inside.python)]
    return [*found, *map(_wheel, made.unpacked), *_source(made)]


def _image(made: Made) -> Component:
    row = made.image.target.variant
    facts = {"target": made.image.target.name, "stage": made.image.stage, "context": made.context.hash,
             "cuda": row.cuda or "", "cudnn": row.cudnn or "", "nccl": row.nccl or ""}  # fmt: skip
    return Component(
        type=ComponentType.CONTAINER, name=made.name, version=made.image.tag.rpartition(":")[2], bom_ref="image",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=made.sha256)], properties=_properties(facts),
    )  # fmt: skip


def _system(inside: Inventory) -> Component:
    return Component(type=ComponentType.OPERATING_SYSTEM, name=inside.system, version=inside.release, bom_ref="os")


def _deb(deb: Deb, inside: Inventory) -> Component:
    more = {"arch": deb.architecture, "distro": f"{inside.system}-{inside.release}"}
    if (deb.source, deb.source_version) != (deb.name, deb.version):
        more["upstream"] = f"{deb.source}@{deb.source_version}"
    facts = {"source": f"{deb.source} {deb.source_version}", "licence-file": deb.licence_file}
    purl = PackageURL("deb", inside.system, deb.name, deb.version, more)
    return Component(name=deb.name, version=deb.version, purl=purl, bom_ref=str(purl), properties=_properties(facts))


def _python(package: PythonPackage) -> Component:
    said = package.licence if any(letter.isalpha() for letter in package.licence) else ""
    return Component(
        name=package.name, version=package.version,
        purl=PackageURL("pypi", None, package.name.lower(), package.version),
        licenses=[DisjunctiveLicense(name=said)] if said else [], bom_ref=package.path,
        properties=_properties({"path": package.path}),
    )  # fmt: skip


def _wheel(wheel: Wheel) -> Component:
    purl = PackageURL("pypi", None, wheel.name, wheel.version)
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256[0])] if len(wheel.sha256) == 1 else []
    return Component(name=wheel.name, version=wheel.version, purl=purl, bom_ref=f"unpacked {purl}", hashes=hashes)


def _source(made: Made) -> Iterator[Component]:
    """The program that was compiled, if one was."""
    stack = made.image.target.stack
    if not made.is_compiled:
        return
    facts = {f"patch {number}": name for number, name in enumerate(made.patches, 1)}
    facts |= {"tree-sha256": made.tree_sha256}
    yield Component(
        type=ComponentType.APPLICATION, name=stack.source.rpartition("/")[2], version=made.revision, bom_ref="source",
        external_references=[ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(stack.source))],
        properties=_properties(facts),
    )  # fmt: skip


def _properties(facts: Mapping[str, str]) -> list[Property]:
    return [Property(name=f"provision:{name}", value=value) for name, value in facts.items() if value]
