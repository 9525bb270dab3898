"""A file of settings or a recipe may hold any bytes: one message with the path, and the key where there is one."""

from pathlib import Path

import pytest

from infra.border import LARGEST, read_text, read_yaml
from infra.errors import UsageError
from provision import settings
from provision.cli import run

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
WRONG = {
    "not UTF-8": (b"region: us-east-1\nami: \xff\xfe\n", "no text in UTF-8 (line 2)"),
    "UTF-16": ("region: us-east-1\n".encode("utf-16"), "no text in UTF-8 (line 1)"),
    "a NUL": (b"region: \0\n", "special characters are not allowed"),
    "a tab": (b"amis:\n\tp3: ami-1\n", "line 2 begins with a tab"),
    "a key twice": (
        b"region: us-east-1\nami: a\nregion: eu-west-1\n",
        "the key 'region' is given twice, in the lines 1 and 3",
    ),
    "a list": (b"- region: us-east-1\n", "Expected 'object', got 'array'"),
    "a text": (b"region\n", "got 'str'"),
    "a bomb": (BOMB.encode(), "stands for more than 100,000 values"),
    "a circle": (b"amis: &a {x: *a}\n", "refers to itself"),
    "an odd merge": (b"amis: {<<: [[a]]}\n", "expected a mapping"),
    "deep": (b"amis: " + b"[" * 5000, "nested too deep"),
    "a date that is none": (b"ami: 2001-99-99\n", "a value cannot be read"),
    "a number that is none": (b"disk_gb: !!int x\n", "a value cannot be read"),
    "a number that is too large": (b"disk_gb: " + b"9" * 30 + b"\n", "disk_gb must be at least 8 and at most 16384"),
    "an endless number": (b"max_hours: " + b"9" * 9000 + b"\n", "a value cannot be read"),
    "no number": (b"max_hours: .nan\n", "max_hours must be more than 0"),
    "another type": (b"disk_gb: many\n", "at disk_gb"),
    "a number as key": (b"1: 2\n", "Expected 'str' as a key"),
    "too much": (b"#" * (LARGEST + 1), "larger than 1 MiB"),
    "more than a document": (b"region: us-east-1\n---\nregion: x\n", "expected a single document"),
    "a program": (b"ami: !!python/object/apply:os.system [true]\n", "could not determine a constructor"),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("what", WRONG)
def test_settings_that_cannot_be(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    content, said = WRONG[what]
    Path("provision.yaml").write_bytes(content)
    assert run(["ls"]) == UsageError.exit_code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert said in err
    assert "provision.yaml" in err or "must be" in err
    assert len(err) < 1000


def test_a_folder_in_place_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    Path("provision.yaml").mkdir()
    assert run(["ls"]) == UsageError.exit_code
    assert "provision.yaml cannot be read: Is a directory" in capsys.readouterr().err


def test_the_users_own_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "provision" / "settings.yaml"
    path.parent.mkdir()
    path.write_text("regoin: x")
    with pytest.raises(UsageError, match=str(path)):
        settings.load()


def test_only_the_keys_of_a_file_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "provision").mkdir()
    (tmp_path / "provision" / "settings.yaml").write_text("region: eu-west-1\ndisk_gb: 50\n")
    Path("provision.yaml").write_text("disk_gb: 60\n")
    found = settings.load()
    assert (found.region, found.disk_gb, found.max_hours) == ("eu-west-1", 60, 24.0)


def test_an_alias_and_a_merge_stay_allowed() -> None:
    Path("x.yaml").write_text("base: &b {a: 1}\nmore: {<<: *b, c: 2}\nsame: *b\n")
    assert read_yaml(Path("x.yaml")) == {"base": {"a": 1}, "more": {"a": 1, "c": 2}, "same": {"a": 1}}


def test_an_empty_file_says_nothing() -> None:
    Path("x.yaml").write_text("# nothing\n")
    assert read_yaml(Path("x.yaml")) == {}


def test_a_path_that_is_none_cannot_be_read() -> None:
    for name in ("x\0y", "a" * 300, "nowhere/x"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_text(Path(name))


NOT_OF_A_RECIPE = {"no number", "a number as key", "another type", "a number that is too large"}


@pytest.mark.parametrize("what", [what for what in WRONG if what not in NOT_OF_A_RECIPE])
def test_a_recipe_that_cannot_be(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    content, _ = WRONG[what]
    folder = Path("recipes/my")
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_bytes(content)
    assert run(["train", "my", "--dry-run"]) == UsageError.exit_code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "recipe.yaml" in err
    assert run(["recipe", "ls"]) == 0
    assert "WRONG" in capsys.readouterr().out
