"""The script that applies patches, on trees made here: it runs inside image builds and on users' checkouts."""

import json
from pathlib import Path

import pytest

from images.context import apply_patches
from images.context.apply_patches import ALREADY, CHANGED, FAILED, SKIPPED, Report, apply

Patch = dict[str, object]


def tree(tmp_path: Path, **files: str) -> Path:
    """Files by name without suffix: a.cpp, b.cpp."""
    root = tmp_path / "tree"
    (root / "src").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / "src" / f"{name}.cpp").write_bytes(text.encode())
    return root


def text(root: Path, name: str = "a") -> str:
    return (root / "src" / f"{name}.cpp").read_bytes().decode()


def edit(find: str, replace: str, **more: object) -> Patch:
    return {"file": "src/a.cpp", "find": find, "replace": replace, **more}


def patch(*edits: Patch, name: str = "mend", **more: object) -> Patch:
    return {"name": name, "edits": list(edits), **more}


def status(report: Report) -> list[str]:
    return [one.status for one in report.results]


@pytest.mark.parametrize(
    ("before", "find", "replace", "after"),
    [
        ("call(x, 5);\n", "call(x, 5)", "call(x)", "call(x);\n"),
        ("call(x);\n", "call(x)", "call(x, 5)", "call(x, 5);\n"),
        ("  run();\n", "  run();\n", "  log();\n  run();\n", "  log();\n  run();\n"),  # what is found stays in it
        ("int a;  // b\n", "int a;  // b", "int a;", "int a;\n"),  # what is put was there before, as a part
        ("a\r\nb\r\n", "a", "c", "c\r\nb\r\n"),  # line ends stay
    ],
)
def test_an_edit_applied_twice_changes_nothing(
    tmp_path: Path, before: str, find: str, replace: str, after: str
) -> None:
    root = tree(tmp_path, a=before)
    assert status(apply([patch(edit(find, replace))], root)) == [CHANGED]
    assert text(root) == after
    assert status(apply([patch(edit(find, replace))], root)) == [ALREADY]
    assert text(root) == after


def test_bytes_that_are_no_utf8_survive(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "src" / "a.cpp").write_bytes(b"// caf\xe9\nold\n")
    apply([patch(edit("old", "new"))], root)
    assert (root / "src" / "a.cpp").read_bytes() == b"// caf\xe9\nnew\n"


def test_a_count_that_is_off_stops_all_and_names_patch_source_and_file(tmp_path: Path) -> None:
    root = tree(tmp_path, a="one\n", b="two two\n")
    good = patch(edit("one", "1"), name="good")
    bad = patch(edit("two", "2", file="src/b.cpp", times=3), name="bad")
    report = apply([good, bad], root, "caffe-fork")
    assert report.message() == (
        "patch bad does not fit caffe-fork: in src/b.cpp, expected 3 times and found 2 times: two"
    )
    assert (text(root), text(root, "b")) == ("one\n", "two two\n")  # not even the good one


def test_lenient_applies_each_patch_that_fits_as_a_whole(tmp_path: Path) -> None:
    root = tree(tmp_path, a="one two\n")
    half = patch(edit("one", "1"), edit("three", "3"), name="half")
    whole = patch(edit("two", "2"), name="whole")
    report = apply([half, whole], root, "mine", lenient=True)
    assert status(report) == [FAILED, CHANGED]
    assert text(root) == "one 2\n"
    assert report.lines()[1] == "whole: changed (src/a.cpp)"
    assert "expected 1 times and found 0 times: three" in report.lines()[0]


def test_a_dry_run_says_what_would_change_and_writes_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path, a="one\n")
    assert status(apply([patch(edit("one", "1"))], root, dry_run=True)) == [CHANGED]
    assert text(root) == "one\n"


def test_patches_see_what_the_ones_before_them_did(tmp_path: Path) -> None:
    root = tree(tmp_path, a="one\n")
    assert status(apply([patch(edit("one", "two")), patch(edit("two", "three"))], root)) == [CHANGED, CHANGED]
    assert text(root) == "three\n"


def test_half_applied_by_hand_is_completed(tmp_path: Path) -> None:
    root = tree(tmp_path, a="old new\n")
    assert status(apply([patch(edit("old", "new", times=2))], root)) == [CHANGED]
    assert text(root) == "new new\n"


def test_forks_may_differ_in_how_often(tmp_path: Path) -> None:
    root = tree(tmp_path, a="x\n", b="old old\n")
    change = patch(edit("old", "new", times=[0, 2]))
    assert status(apply([change], root)) == [SKIPPED]
    elsewhere = patch(edit("old", "new", times=[0, 2], file="src/b.cpp"))
    assert status(apply([elsewhere], root)) == [CHANGED]


def test_the_first_of_several_paths_that_is_there_is_taken(tmp_path: Path) -> None:
    root = tree(tmp_path, b="old\n")
    report = apply([patch(edit("old", "new", file=["src/a.cpp", "src/b.cpp"]))], root)
    assert report.results[0].files == ["src/b.cpp"]


def test_a_file_that_is_not_there_stops_unless_forks_may_lack_it(tmp_path: Path) -> None:
    root = tree(tmp_path)
    needed = apply([patch(edit("old", "new", file=["src/a.cpp", "src/c.cpp"]))], root, "fork")
    assert needed.message() == "patch mend does not fit fork: src/a.cpp or src/c.cpp is not in the tree"
    may_lack = apply([patch(edit("old", "new", optional=True))], root)
    assert may_lack.lines() == ["mend: skipped (no src/a.cpp here)"]


@pytest.mark.parametrize("rule", [{"has": "static"}, {"lacks": "modern"}])
def test_a_layout_that_the_patch_is_not_for_is_refused_with_the_reason(tmp_path: Path, rule: Patch) -> None:
    root = tree(tmp_path, a="static old\n")
    refused = patch(edit("gone", "new"), refuse=[{"file": "src/a.cpp", "because": "it is of 2014", **rule}])
    report = apply([refused], root, "fork")
    assert report.message() == "patch mend does not fit fork: it is not for this tree: it is of 2014 (src/a.cpp)"


def test_new_files_are_made_once_and_never_over_others(tmp_path: Path) -> None:
    root = tree(tmp_path)
    new = {"name": "new", "create": [{"file": "tools/new/one.cpp", "text": "int one;\n"}]}
    assert status(apply([new], root)) == [CHANGED]
    assert (root / "tools" / "new" / "one.cpp").read_text() == "int one;\n"
    assert status(apply([new], root)) == [ALREADY]
    (root / "tools" / "new" / "one.cpp").write_text("int other;\n")
    assert status(apply([new], root)) == [FAILED]


def test_as_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(tmp_path, a="one\n")
    given = tmp_path / "patches.json"
    given.write_text(json.dumps([patch(edit("one", "1"))]))
    assert apply_patches.main([str(given), str(root), "--stack", "fork"]) == 0
    assert capsys.readouterr().out == "mend: changed (src/a.cpp)\n"
    given.write_text(json.dumps([patch(edit("gone", "2"))]))
    assert apply_patches.main([str(given), str(root), "--stack", "fork"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("patch mend does not fit fork: in src/a.cpp, expected 1 times and found 0 times: gone\n")
    assert "nothing was written" in said
    assert apply_patches.main([str(given), str(root), "--lenient"]) == 0
