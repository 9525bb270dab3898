"""README and docs as texts; their commands are run by tests/cloud/long/test_docs.py."""

import re
from pathlib import Path

import pytest

from tests.documents import DOCUMENTS, ROOT, RUN, commands, every_page

# run by `make demo`'s own test, or by whoever runs these tests
ELSEWHERE = {"make demo", "make test"}


def test_other_blocks_hold_only_what_is_run_elsewhere() -> None:
    for name in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.S):
            found = {line.split("#")[0].strip() for line in block.splitlines() if line.strip()}
            assert found <= ELSEWHERE, f"{name} has commands that no test runs: {found - ELSEWHERE}"


def test_no_document_holds_a_gap() -> None:
    for name in DOCUMENTS:
        assert not re.findall(r"(?m)^[A-Z]{4,}$", (ROOT / name).read_text()), name


def test_the_page_of_the_demo_shows_what_the_demo_prints() -> None:
    """Its steps are those of the demo as it is."""
    from provision.commands import demo_story

    shown = (ROOT / "docs/demo.md").read_text()
    source = Path(demo_story.__file__).read_text()
    for step in re.findall(r'story\.type\("([^"]+)"', source):
        assert re.search(rf"^{re.escape(step)}\s+\d", shown, re.M), f"the demo's page has no step {step!r}"
    assert "NOT SO" not in shown


def test_the_readme_shows_lines_that_the_demo_printed() -> None:
    readme, shown = ((ROOT / name).read_text() for name in ("README.md", "docs/demo.md"))
    [block] = re.findall(r"```text\n(.*?)```", readme, re.S)
    places = [shown.splitlines().index(line) for line in block.splitlines() if line]
    assert len(places) >= 8
    assert places == sorted(places)


def test_the_readme_is_read_in_a_minute() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    assert "## Install" in lines[:40]


def test_the_index_has_a_line_for_each_page() -> None:
    index = (ROOT / "docs/README.md").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert name == "README.md" or index.count(f"]({name})") == 1, name


def test_every_setting_is_explained() -> None:
    from provision.settings import Settings

    rows = re.findall(r"(?m)^\| `(\w+)` \| ([^|]+) \|", (ROOT / "docs/settings.md").read_text())
    assert sorted(name for name, _ in rows) == sorted(Settings.__struct_fields__)
    usual = Settings()
    for name, said in rows:
        value = getattr(usual, name)
        if isinstance(value, bool):
            assert said == f"`{str(value).lower()}`", name
        elif isinstance(value, (int, float)) or name in ("cloud", "region", "fallback", "via"):
            assert said.strip("`") == (value if isinstance(value, str) else f"{value:g}"), name


def links(page: Path) -> list[tuple[str, Path, str]]:
    """The words, the file and the heading's anchor of each link to a file of the repository."""
    found = re.findall(r"\[([^\]]+)\]\((?!\w+:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    return [(words, (page.parent / name).resolve() if name else page, anchor) for words, name, anchor in found]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", every_page(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_what_is_there(page: Path) -> None:
    for words, target, anchor in links(page):
        assert target.exists(), f"[{words}] leads to {target}, which is not there"
        assert not anchor or anchor in anchors(target), f"[{words}]: {target.name} has no heading #{anchor}"


@pytest.mark.parametrize("page", every_page(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_name_that_links_to_a_module_is_defined_there(page: Path) -> None:
    for words, target, _ in links(page):
        if target.suffix == ".py" and (name := re.fullmatch(r"`(\w+)`", words)):
            text = target.read_text(encoding="utf-8")
            assert re.search(rf"(?m)^(def|class) {name[1]}\b", text), f"{target} has no {name[1]}"


def test_every_path_that_a_page_names_is_there() -> None:
    """Paths in backquotes, with a folder of ours in front."""
    for page in every_page():
        for path in re.findall(r"`((?:infra|images|provision|localcloud|tests)/[\w./-]+)`", page.read_text()):
            assert (ROOT / path).exists() or "NAME" in path or path == "provision/engines/", f"{page}: {path}"


def test_the_architecture_names_every_wing_and_every_floor() -> None:
    shown = (ROOT / "docs/architecture.md").read_text()
    for path in (ROOT / "provision").iterdir():
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            name = path.name + "/" * path.is_dir()
            assert path.stem.startswith("__") or f"[{name}](../provision/" in shown, name


def test_every_environment_of_tox_is_explained() -> None:
    named = set(re.findall(r"(?m)^\[testenv:(\w+)\]", (ROOT / "tox.ini").read_text()))
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"(?m)^\| (`\w+`(?:, `\w+`)*) \|", text)
    assert named <= {name for row in rows for name in re.findall(r"\w+", row)}


def test_every_command_is_in_the_docs() -> None:
    from provision.cli import _COMMANDS

    said = "".join((ROOT / name).read_text() for name in DOCUMENTS)
    for name in set(_COMMANDS) - {"demo"}:
        assert f"$ provision {name}" in said, name


def test_commands_of_blocks_and_of_tables_are_found_in_their_order() -> None:
    text = "```console\n$ provision ls\nsaid\n$ provision runs\n```\n"
    text += "| a | b |\n|---|---|\n| `$ provision ssh x -- 'a b'` | c |\n"
    found = [["provision", "ls"], ["provision", "runs"], ["provision", "ssh", "x", "--", "a b"]]
    assert commands(text + "| `provision down` | is not run |\n") == found
    assert "README.md" in RUN
