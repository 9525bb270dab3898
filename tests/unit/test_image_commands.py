"""`provision image …` as typed: what needs no engine is done, and wrong words are refused before an engine is asked."""

import json
from pathlib import Path

import pytest
import yaml

from images.choose import choose, parse
from images.patches import select
from infra.disk import writing
from infra.errors import DiskError, UsageError
from provision.cli import run
from tests.unit.test_images_patches import most


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "caffe-debian", "--stage", "devel"], "has no stage devel"),
        (["build", "caffe-debian", "--source-mirror", "."], "not compiled from a source tree"),
        (["build", "caffe", "--source", "debian", "--source-mirror", "/x"], "two sources"),
        (["build", "caffe", "--source-mirror", "/nowhere/at/all"], "is not there"),
        (["build", "caffe", "--col-buffer", "shared"], "'shared' is not one of"),
        (["build", "caffe-crfrnn", "--source", "debian"], "no source package of caffe-crfrnn"),
        (["build", "caffe-debian", "--on", "ssh://"], "is no address of a host"),
        (["build", "cafe"], "did you mean"),
        (["build", "caffe", "--source-mirror", "https://me:word@git.example/caffe"], "password"),
        (["build", "detectron", "--stage", "suite"], "it has runtime, devel, build"),
        (["bake", "caffe-debian", "--out", "x", "--on", "far"], "o such option"),
        (["bake", "caffe-debian", "--out", "/dev/null/x"], "/dev/null/x/secrets cannot be written: Not a directory"),
        (["render", "caffe", "--out", "/dev/null/x"], "cannot be written: Not a directory"),
        (["bake", "--out", "x"], "name TARGETs"),
        (["bake", "--all", "caffe-debian", "--out", "x"], "name TARGETs"),
        (["patch", ".", "--stack", "caffe-debian"], "no patches for caffe-debian"),
        (["patch", "/nowhere", "--stack", "caffe"], "name the folder of a checkout"),
        (["patch", ".", "--stack", "detectron", "--gpu", "H100"], "no image of detectron runs on the H100"),
        (["choose", "--stack", "caffe", "--instance", "p3.9xlarge"], "p3.8xlarge"),
        (["choose", "--stack", "caffe", "--cuda", "7.9"], "no CUDA 7.9"),
        (["choose", "--stack", "caffe", "--driver", "new"], "write it as 470.256"),
        (["choose", "--stack", "caffe", "--cudnn", "new"], "write it as 8.7"),
    ],
)
def test_wrong_words_are_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["image", *words]) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_proof_and_bake_say_what_they_would_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["image", "prove", "caffe", "--col-buffer", "static", "--dry-run"]) == 0
    assert "devel stage with static" in capsys.readouterr().out
    assert run(["image", "bake", "caffe-debian", "caffe", "--out", str(tmp_path / "b"), "--dry-run"]) == 0
    assert "2 contexts" in capsys.readouterr().out
    assert not (tmp_path / "b").exists()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout of a fork: of its files only those that some patches speak of."""
    return tmp_path / "fork"


def write_expected(tree: Path, names: set[str], spoil: str = "", stack: str = "caffe") -> None:
    """Files that hold what the named patches look for; `spoil` is a patch whose anchors are missing."""
    files: dict[str, list[str]] = {}
    for patch in select(stack, None):
        for edit in patch.edits if patch.name in names else ():
            paths = [edit.file] if isinstance(edit.file, str) else list(edit.file)
            find = edit.find if isinstance(edit.find, str) else edit.find[-1]
            files.setdefault(paths[0], []).extend(["import skimage"] if patch.name == spoil else [find] * most(edit))
    if "protobuf-limit" in names:
        files.setdefault("src/caffe/util/io.cpp", []).append("bool ok() { input->SetTotalBytesLimit(most, 5); }")
    for name, texts in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("\n".join(texts) + "\n")


def test_what_fits_a_fork_is_applied_and_the_rest_is_named_with_the_reason(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_expected(tree, {"protobuf-limit", "lazy-imports"}, spoil="lazy-imports")
    before = {path: path.read_text() for path in tree.rglob("*") if path.is_file()}
    assert run(["image", "patch", str(tree), "--stack", "caffe", "--dry-run"]) == 12
    assert "nothing was written, and the others would fit" in capsys.readouterr().err
    assert {path: path.read_text() for path in before} == before
    capsys.readouterr()
    assert run(["image", "patch", str(tree), "--stack", "caffe", "--json"]) == 12
    done = capsys.readouterr()
    found = {one["patch"]: one for one in json.loads(done.out)}
    assert found["protobuf-limit"]["status"] == "changed"
    assert found["lazy-imports"]["status"] == "does not fit"
    assert any("io.py" in note for note in found["lazy-imports"]["notes"])
    assert "lazy-imports" in done.err and "the other patches are there" in done.err
    assert (tree / "src/caffe/util/io.cpp").read_text() != before[tree / "src/caffe/util/io.cpp"]
    assert run(["image", "patch", str(tree), "--stack", "caffe", "--json"]) == 12
    again = {one["patch"]: one["status"] for one in json.loads(capsys.readouterr().out)}
    assert again["protobuf-limit"] == "already there"


def patched(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 12) -> dict[str, tuple[str, list[str]]]:
    """What `image patch` says of each patch."""
    assert run(["image", "patch", *words, "--json"]) == code
    return {one["patch"]: (one["status"], one["notes"]) for one in json.loads(capsys.readouterr().out)}


def test_patches_are_for_all_versions_or_for_a_wish_and_then_those_left_out_are_named(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_expected(tree, {"cudnn8", "nccl-uid", "protobuf-limit"})
    words = [str(tree), "--stack", "caffe", "--dry-run"]
    found = patched(words, capsys)
    assert {found[name][0] for name in ("cudnn8", "nccl-uid", "protobuf-limit")} == {"changed"}
    assert "column-buffer-static" not in found and all(status != "left out" for status, _ in found.values())
    found = patched([*words, "--row", "cpu-debian12"], capsys)
    assert found["cudnn8"] == ("left out", ["for cudnn >=8, and this is without cudnn"])
    assert found["protobuf-limit"][0] == "changed"
    found = patched([*words, "--instance", "p3.8xlarge"], capsys)
    assert found["cudnn8"][0] == "changed"
    assert found["cuda13"][0] == "left out" and "cuda >=13, and this is 1" in found["cuda13"][1][0]


@pytest.mark.parametrize("driver", ["R535", "r535", "535"])
def test_a_driver_may_be_named_as_a_branch(driver: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "image",
        "choose",
        "--stack",
        "cuda",
        "--cuda",
        "13.0",
        "--distribution",
        "ubuntu22.04",
        "--driver",
        driver,
    ]
    assert run(words) == 0
    assert "under the driver 535 by the base's cuda-compat" in capsys.readouterr().out


def test_patches_are_for_the_target_that_choose_finds(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_expected(tree, {"protobuf-limit"})
    wish = ["--stack", "caffe", "--instance", "g7.48xlarge"]  # its driver is too old for the newest CUDA
    assert run(["image", "choose", *wish, "--json"]) == 0
    target = json.loads(capsys.readouterr().out)["target"]
    assert target == "caffe:cuda13.2-cudnn9.20-ubuntu22.04"
    assert run(["image", "patch", str(tree), *wish, "--dry-run"]) == 12
    assert f"for {target}: nothing is written" in " ".join(capsys.readouterr().out.split())


def test_the_next_command_quotes_a_folder_with_a_blank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = tmp_path / "my fork"
    write_expected(tree, {patch.name for patch in select("detectron", None)}, stack="detectron")
    assert run(["image", "patch", str(tree), "--stack", "detectron", "--dry-run"]) == 0
    assert f"--source-mirror '{tree}'" in capsys.readouterr().out


def test_no_build_is_proposed_that_will_not_compile(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"src/caffe/proto/caffe.proto": "syntax = 'proto2';", "include/caffe/mine.hpp": "#include <cublas_v2.h>",
             "python/caffe/_caffe.cpp": "int x;", "src/caffe/common.cpp": "int x;"}  # fmt: skip
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text + "\n")
    words = ["image", "patch", str(tree), "--stack", "caffe", "--dry-run", "--col-buffer", "none"]
    assert run(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "with --gpu or --row: it will not compile with the CPU alone" in said and "image build" not in said
    (tree / "include/caffe/mine.hpp").write_text("int x;\n")
    assert run(words) == 0
    assert "next: provision image build caffe:cpu-debian12" in " ".join(capsys.readouterr().out.split())


def test_a_tree_of_detectron_is_patched_too(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {patch.name for patch in select("detectron", None)}
    write_expected(tree, names, stack="detectron")
    assert run(["image", "patch", str(tree), "--stack", "detectron"]) == 0
    said = capsys.readouterr().out
    assert f"next: provision image build detectron:cpu-debian11 --source-mirror {tree}" in said
    assert names and all(name in said for name in names)


def test_a_full_disk_is_told_from_a_place_that_cannot_be_written() -> None:
    full = Path("/dev/full")
    with pytest.raises(DiskError, match="/dev/full cannot be written: No space left"), writing(full):
        full.write_text("x")
    with pytest.raises(UsageError, match="cannot be written: Is a directory"), writing(full):
        Path("/").write_text("x")


def test_one_row_for_different_gpus_has_a_folder_for_each(tmp_path: Path) -> None:
    from images.bake import write
    from images.render import render

    row = "caffe:cuda11.8-cudnn8.7-debian12"
    contexts = [render(parse(name)) for name in (row, f"{row}@V100", f"{row}@T4,V100")]
    raw = yaml.safe_load(write(contexts, tmp_path, "runtime", {}, {}).read_text())
    places = {one["context"] for one in raw["target"].values()}
    assert places == {place.replace(":", "/") for place in (row, f"{row}@V100", f"{row}@T4,V100")}
    for context in contexts:
        place = tmp_path / context.target.name.replace(":", "/")
        assert (place / "Makefile.config").read_text() == dict(context.files)["Makefile.config"]


def test_bake_writes_contexts_and_one_file_for_all(tmp_path: Path) -> None:
    from images.bake import write
    from images.render import render

    targets = [choose("caffe-debian"), choose("caffe"), choose("caffe", gpu="V100")]
    path = write([render(one) for one in targets], tmp_path, "runtime", {"ca": "src=secrets/ca"}, {})
    raw = yaml.safe_load(path.read_text())  # JSON is YAML
    assert set(raw["group"]) == {"default", "caffe-debian", "caffe"}
    assert len(raw["group"]["caffe"]["targets"]) == 2
    for target in raw["target"].values():
        assert (tmp_path / target["context"] / "Dockerfile").is_file()
        assert target["platforms"] == ["linux/amd64"]
