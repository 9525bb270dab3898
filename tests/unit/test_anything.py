"""Whatever is typed, and whatever a user's file holds: one message, an exit code of the table, no traceback.

Every command gets words that are anything; every file gets bytes that are anything. PROVISION_ANYTHING=500 tries so
many of each (default: few, always the same). What would ask the world ends there: the words were right so far.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provision import clouds
from tests.unit import anything_kit as kit
from tests.unit.anything_files import GOOD, READERS, write_all
from tests.unit.anything_kit import no_world, run
from tests.unit.aws_region import region

__all__ = ["no_world"]
TIMES = int(os.environ.get("PROVISION_ANYTHING", "0"))


def often(count: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=TIMES or count,
        derandomize=not TIMES,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


LEAVES = kit.leaves()


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name.replace(" ", "-") for name, _ in LEAVES])
def test_any_words(name: str, command: click.Command, tmp_path: Path) -> None:
    write_all(tmp_path)

    @often(9)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        words = data.draw(kit.calls(name, command))
        kit.right(words, run(words))

    check()


@often(40)
@given(data=st.data())
def test_any_words_at_all(data: st.DataObject) -> None:
    words = data.draw(
        st.lists(
            st.one_of(kit.words(), st.sampled_from([one for name, _ in LEAVES for one in name.split()])), max_size=5
        )
    )
    if words[:1] != ["demo"] and words[:1] != ["image"]:  # these write without --dry-run
        kit.right(words, run(words))


WARM = region({"p3.8xlarge": ("a",)}, {"p3.8xlarge": 3.0})  # its clients are made before the guard stands
RENT = {"up": ("up",), "train": ("train", "digits")}


@pytest.mark.parametrize("name", RENT)
def test_any_type(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a region answers."""
    monkeypatch.setattr(clouds, "resolve", lambda *_: WARM.cloud)
    command = dict(LEAVES)[name]

    @often(25)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        kind = data.draw(st.one_of(st.just("p3.8xlarge"), st.just("p3.8xlarge"), kit.words()))
        words = [*RENT[name], "--instance", kind, *data.draw(kit.some_options(command))]
        kit.right(words, run(words))

    check()


PAIRS = [(file, words) for file, several in READERS.items() for words in several]


@pytest.mark.parametrize(("file", "words"), PAIRS, ids=[f"{words}: {file}" for file, words in PAIRS])
def test_any_file(file: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    write_all(tmp_path)

    @often(8)
    @given(st.one_of(kit.mutated(GOOD[file]), st.none()))
    def check(content: bytes | None) -> None:
        _put(tmp_path / file, content)
        for made in ("out", "out.png", "out.json"):
            _remove(tmp_path / made)
        kit.right([words], run(words.split()))

    check()


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)


def _put(path: Path, content: bytes | None) -> None:
    """The file's bytes; a folder in its place for None."""
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


@often(40)
@given(st.one_of(kit.mutated(GOOD["folder/.provisionignore"]), st.none()))
def test_any_ignore_file(tmp_path_factory: pytest.TempPathFactory, content: bytes | None) -> None:
    from provision.files.index import local_index

    folder = tmp_path_factory.mktemp("folder")
    (folder / "a").write_bytes(b"a")
    _put(folder / ".provisionignore", content)
    kit.right([], kit.outcome(lambda: len(local_index(folder)) * 0))


@often(40)
@given(st.sampled_from(["PROVISION_REGION", "PROVISION_CLOUD", "XDG_CACHE_HOME"]), kit.words())
def test_any_environment(name: str, value: str) -> None:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        kit.right([name, value], run(["up", "--instance", "p3.8xlarge", "--dry-run"]))
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
