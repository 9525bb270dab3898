"""Checksums of Python packages: data that agrees with the stacks, and the only way in which an image takes them."""

import re

import pytest

from images import hashes
from images.choose import targets
from images.render import render
from images.stacks import Stack, stacks
from infra.errors import UsageError
from infra.pipindex import File, Interpreter

WITH_PYTHON = [one for one in stacks().values() if one.hashes]


@pytest.mark.parametrize("stack", WITH_PYTHON, ids=lambda stack: stack.name)
def test_every_package_of_a_stack_has_its_version_and_checksums(stack: Stack) -> None:
    found = hashes.parse(hashes.text(stack))
    assert {name: version for name, (version, _) in found.items()} == stack.packages, "python -m images.hashes"
    assert all(sums and len(set(sums)) == len(sums) for _, sums in found.values())
    assert list(found) == sorted(found)


def test_no_dockerfile_asks_pip_for_what_has_no_checksum() -> None:
    seen = set()
    for target in targets():
        files = dict(render(target).files)
        for name, text in files.items():
            if name == "Dockerfile" or name.endswith(".sh"):
                for words in re.findall(r"pip (?:install|wheel|download) [^;\n]*", text):
                    seen.add(target.stack.name)
                    assert "--require-hashes" in words or "--no-index" in words, (target.name, words)
    assert {one.name for one in WITH_PYTHON} <= seen


def test_only_a_stack_that_builds_source_packages_has_any() -> None:
    for stack in WITH_PYTHON:
        builds = "build_sdists.sh" in stack.files
        assert (hashes.SDIST in hashes.text(stack)) == builds
    assert "--only-binary :all:" in render(next(t for t in targets() if t.stack.name == "tools")).dockerfile


def test_a_line_has_the_wheels_that_fit_or_else_the_source_package() -> None:
    wheels = {File(f"a-1-{tag}.whl", digit * 64) for tag, digit in (("py3-none-any", "b"), ("cp39-cp39-linux", "a"))}
    sdist = File("a-1.tar.gz", "c" * 64)
    both = f"a==1 --hash=sha256:{'a' * 64} --hash=sha256:{'b' * 64}\n"
    assert hashes.written("a", "1", {*wheels, sdist}) == both
    assert hashes.written("a", "1", {sdist}) == f"a==1 --hash=sha256:{'c' * 64}  # sdist\n"
    assert hashes.parse(both) == {"a": ("1", ("a" * 64, "b" * 64))}
    with pytest.raises(UsageError, match="the index has no file of a 1"):
        hashes.written("a", "1", set())
    with pytest.raises(UsageError, match="not a line of checksums: a>=1"):
        hashes.parse("a>=1\n")


def test_pip_is_told_of_the_images_python_and_not_of_this_machines() -> None:
    words = Interpreter("2.7", 31).words
    assert words[:4] == ["--python-version", "2.7", "--implementation", "cp"]
    assert "cp27mu" in words and "manylinux_2_31_x86_64" in words and "manylinux_2_32_x86_64" not in words
    assert "abi3" in Interpreter("3.9", 31).words
