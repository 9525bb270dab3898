"""What is told of an image: its bill of materials and its provenance, valid by their own libraries, and true."""

import builtins
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from images import attest, inventory, provenance
from images.build import Image, Order
from images.choose import parse
from images.lock import make
from images.made import Made
from images.render import render
from images.source import Source
from infra.basepin import Pin
from infra.errors import MissingExtraError
from provision.cli import run

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
DAY = datetime(2026, 11, 29, 13, 14, 15, tzinfo=timezone.utc)
COMMIT = "9b891540183ddc834a02b2bd81b31afae71b2153"

# as a container prints it
INSIDE = """\
os\tdebian\t12
deb\tlibc6\t2.36-9+deb12u14\tamd64\tglibc\t2.36-9+deb12u14\t/usr/share/doc/libc6/copyright
deb\tadduser\t3.134\tall\tadduser\t3.134\t/usr/share/doc/adduser/copyright
deb\tprovision-host-driver\t1\tamd64\tprovision-host-driver\t1\t
python\tnumpy\t2.4.6\t/opt/venv/numpy-2.4.6.dist-info/METADATA\tBSD-3-Clause AND MIT
python\tnumpy\t1.24.2\t/usr/lib/python3/dist-packages/numpy-1.24.2.egg-info/PKG-INFO\tBSD
python\tkiwisolver\t1.5.1\t/opt/venv/kiwisolver-1.5.1.dist-info/METADATA\t=========
python\t\t\t/usr/lib/half-removed.egg-info\t
some words that a shell printed
"""


def made(name: str = "caffe:cuda11.8-cudnn8.7-debian12", source: Source | None = None, locked: bool = True) -> Made:
    target = parse(name)
    bases = {base: Pin(digest=ONE) for base in {target.variant.base, target.variant.base_runtime, "debian:bookworm"}}
    lock = make(target, bases, DAY) if locked else None
    context = render(target, lock=lock)
    image = Image(context.tag, TWO, target, 5, True)
    pins = {f"{base}@{ONE}": pin for base, pin in bases.items()} if locked else {"debian:bookworm": Pin(made_here=TWO)}
    return Made(image, DAY, context, Order(source or Source()), pins, DAY, DAY)


# what is inside


def test_an_inventory_is_sorted_and_leaves_out_what_is_no_package() -> None:
    found = inventory.parse(INSIDE)
    assert (found.system, found.release) == ("debian", "12")
    assert [one.name for one in found.debs] == ["adduser", "libc6", "provision-host-driver"]
    assert found.debs[1].source == "glibc" and found.debs[2].licence_file == ""
    assert [(one.name, one.version) for one in found.python] == [
        ("kiwisolver", "1.5.1"), ("numpy", "1.24.2"), ("numpy", "2.4.6")]  # fmt: skip
    assert inventory.parse("").system == "linux"


# the bill of materials


def bill(of: Made) -> dict[str, Any]:
    pytest.importorskip("cyclonedx")
    from images.sbom import sbom

    found: dict[str, Any] = json.loads(sbom(of, inventory.parse(INSIDE)))
    return found


def test_the_bill_is_valid_by_cyclonedxs_own_schema() -> None:
    pytest.importorskip("cyclonedx")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    for name in ("caffe:cuda11.8-cudnn8.7-debian12", "tools:cpu-debian12", "detectron", "cuda"):
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill(made(name)))) is None


def test_the_bill_names_packages_licences_source_patches_and_what_was_unpacked() -> None:
    found = bill(made())
    by_name = {(one["name"], one.get("version")): one for one in found["components"]}
    facts = {
        name: {one["name"]: one["value"] for one in there.get("properties", [])} for name, there in by_name.items()
    }
    libc = ("libc6", "2.36-9+deb12u14")
    assert facts[libc]["provision:licence-file"] == "/usr/share/doc/libc6/copyright"
    assert by_name[libc]["purl"].startswith("pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12")
    numpy = by_name["numpy", "2.4.6"]
    assert numpy["licenses"] == [{"license": {"name": "BSD-3-Clause AND MIT"}}]
    assert "licenses" not in by_name["kiwisolver", "1.5.1"] and ("numpy", "1.24.2") in by_name
    caffe = next(one for name, one in by_name.items() if name[0] == "caffe")
    assert caffe["version"] == COMMIT and caffe["externalReferences"][0]["url"].endswith("BVLC/caffe")
    patches = {value for name, value in facts["caffe", COMMIT].items() if name.startswith("provision:patch ")}
    assert "column-buffer" in patches and "cudnn8" in patches
    cudnn = by_name["nvidia-cudnn-cu11", "8.7.0.84"]
    assert len(cudnn["hashes"]) == 1 and cudnn["purl"] == "pkg:pypi/nvidia-cudnn-cu11@8.7.0.84"
    of = found["metadata"]["component"]
    assert of["hashes"][0]["content"] == "2" * 64 and of["type"] == "container"


def test_the_same_image_has_the_same_bill() -> None:
    assert bill(made()) == bill(made())
    assert bill(made())["metadata"]["timestamp"].startswith("2026-11-29T13:14:15")


# the provenance


def told(of: Made) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(provenance.text(of, {"docker": "20.10"}))
    return found


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("name", ["caffe:cpu-debian12", "tools:cpu-debian12", "cuda", "detectron"])
def test_the_statement_is_valid_by_in_totos_own_types(name: str, locked: bool) -> None:
    pytest.importorskip("in_toto_attestation")
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    found = told(made(name, locked=locked))
    there = json_format.ParseDict(found, statement_pb2.Statement())  # type: ignore[attr-defined]
    Statement.copy_from_pb(there).validate()
    predicate = json_format.ParseDict(found["predicate"], provenance_pb2.Provenance())  # type: ignore[attr-defined]
    assert predicate.build_definition.build_type and predicate.run_details.builder.id
    for one in predicate.build_definition.resolved_dependencies:
        ResourceDescriptor.copy_from_pb(one).validate()
        assert one.digest, one.name


def dependencies(of: Made) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in told(of)["predicate"]["buildDefinition"]["resolvedDependencies"]:
        found.setdefault(one["name"], []).append(one)
    return found


def test_it_says_of_what_base_source_and_wheels_the_image_is() -> None:
    of = made()
    found = told(of)
    assert found["subject"] == [{"name": of.image.tag, "digest": {"sha256": "2" * 64}}]
    build = found["predicate"]["buildDefinition"]
    assert build["externalParameters"]["target"] == "caffe:cuda11.8-cudnn8.7-debian12"
    assert build["internalParameters"]["SOURCE_DATE_EPOCH"] == 1795910400
    assert "cudnn8" in build["internalParameters"]["patches"]
    there = dependencies(of)
    assert there["debian:bookworm"][0]["digest"] == {"sha256": "1" * 64}
    assert there["caffe"][0]["digest"] == {"gitCommit": COMMIT}
    assert there["caffe"][0]["uri"] == f"git+https://github.com/BVLC/caffe@{COMMIT}"
    assert len(there["nvidia-cudnn-cu11==8.7.0.84"][0]["digest"]["sha256"]) == 64
    times = found["predicate"]["runDetails"]["metadata"]
    assert times["startedOn"] == "2026-11-29T13:14:15Z"


def test_each_file_that_pip_may_take_is_listed() -> None:
    there = dependencies(made("detectron"))
    assert len(there["torch==1.10.2"]) == 1 and len(there["cython==0.29.37"]) > 1
    stack = parse("detectron").stack
    assert {f"{name}=={version}" for name, version in stack.packages.items()} <= set(there)


def test_a_tree_that_was_handed_in_is_known_by_its_sum_and_a_base_made_here_is_called_so(tmp_path: Path) -> None:
    tar = tmp_path / "source.tar"
    tar.write_bytes(b"tree")
    there = dependencies(made("caffe:cpu-debian12", Source("tree", "unknown", tar), locked=False))
    assert list(there["caffe"][0]["digest"]) == ["sha256"] and there["caffe"][0]["uri"].endswith("@unknown")
    assert there["debian:bookworm"][0]["annotations"] == {"madeHere": True}
    assert "caffe-debian" not in dependencies(made("caffe-debian"))


# the command


def test_without_the_library_nothing_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def missing(name: str, *more: Any, **named: Any) -> Any:
        if name == "images.sbom":
            raise ImportError("No module named 'cyclonedx'")
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingExtraError):
        attest.library()
    assert run(["image", "build", "tools", "--attest", "out"]) == MissingExtraError.exit_code
    assert "pip install 'provision-spot[attest]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
