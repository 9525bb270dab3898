"""What is left out of a copy."""

from pathlib import Path

import pytest

from provision.sync import ignored, local_index


@pytest.mark.parametrize(
    ("path", "patterns", "out"),
    [
        ("a.pyc", ("*.pyc",), True),
        ("deep/a.pyc", ("*.pyc",), True),
        ("build/x/y", ("build/",), True),
        ("src/build/x", ("build/",), True),
        ("src/build/x", ("/build/",), False),
        ("build", ("build/",), False),
        ("data/raw/1.png", ("data/raw",), True),
        ("other/data/raw/1.png", ("data/raw",), False),
        ("keep.pyc", ("*.pyc", "!keep.pyc"), False),
        ("a.txt", ("*.pyc",), False),
    ],
)
def test_patterns_as_in_gitignore(path: str, patterns: tuple[str, ...], out: bool) -> None:
    assert ignored(path, patterns) is out


def test_the_ignore_file_and_git_are_left_out(tmp_path: Path) -> None:
    for name in ("train.py", "x.log", ".git/config", "sub/y.log", "sub/z.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".provisionignore").write_text("# logs\n*.log\n")
    assert sorted(local_index(tmp_path)) == ["sub/z.py", "train.py"]
