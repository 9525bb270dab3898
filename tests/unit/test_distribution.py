"""The name that packages are installed by: one in pyproject.toml, in the code and in the documents."""

import re

import pytest

from infra import distribution
from provision.cli import run
from tests.documents import ROOT, every_page

CODE = sorted(
    path for folder in ("infra", "images", "provision", "localcloud") for path in (ROOT / folder).rglob("*.py")
)


def test_the_name_is_that_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'(?m)^\[project\]\nname = "(.*)"', text)[1] == distribution.NAME  # type: ignore[index]


def test_every_word_that_installs_an_extra_names_the_distribution_and_an_extra_that_is_there() -> None:
    """`pip install 'provision[…]'` would bring another project of the package index."""
    text = (ROOT / "pyproject.toml").read_text()
    extras = re.findall(
        r"(?m)^(\w+) = \[", text.partition("[project.optional-dependencies]")[2].partition("[project.s")[0]
    )
    found = 0
    for path in [*CODE, *every_page()]:
        for name, words in re.findall(r"([\w.-]+)\[([a-z,]+)\]'", path.read_text(encoding="utf-8")):
            if name in ("provision", distribution.NAME):
                assert name == distribution.NAME, f"{path}: {name}[{words}]"
                assert set(words.split(",")) <= set(extras), f"{path}: {words}"
                found += 1
    assert found >= 10


def test_the_version_is_told_where_it_is_not_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert distribution.version("no-such-distribution") == ""
    assert run(["--version"]) == 0
    assert re.fullmatch(r"provision, version (\d\S*|unknown: not installed as a package)\n", capsys.readouterr().out)
