"""The matrix and the stacks: canonical, and wrong ones are refused with the place and the reason."""

from pathlib import Path

import pytest

from images import matrix, stacks
from images.check import CHECKS
from infra.errors import UsageError


def _changed(tmp_path: Path, old: str, new: str) -> Path:
    text = matrix.PATH.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "matrix.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_the_matrix_is_canonical() -> None:
    text = matrix.PATH.read_text(encoding="utf-8")
    assert matrix.dump(matrix.load()) == text, "run: python -m images.matrix"


def test_a_number_where_a_version_is_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        matrix.load(_changed(tmp_path, "gcc: '10'", "gcc: 9.10"))
    assert "rows[0].gcc" in error.value.what
    assert "quotes" in error.value.mend


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bsae"):
        matrix.load(_changed(tmp_path, "  base: debian:bullseye", "  bsae: debian:bullseye"))


def test_an_id_that_does_not_follow_from_its_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        matrix.load(_changed(tmp_path, "id: cpu-debian11", "id: cpu-debian10"))
    assert error.value.mend == "write cpu-debian11"


def test_a_row_twice_is_refused(tmp_path: Path) -> None:
    text = matrix.PATH.read_text(encoding="utf-8")
    path = tmp_path / "matrix.yaml"
    path.write_text(text + text[text.index("- id:") :], encoding="utf-8")
    with pytest.raises(UsageError, match="cpu-debian11, cpu-debian12 is there twice"):
        matrix.load(path)


def test_no_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        matrix.load(tmp_path / "none.yaml")


def test_a_row_with_cuda_has_its_id_from_cuda_and_cudnn() -> None:
    import msgspec

    row = msgspec.structs.replace(matrix.load()["cpu-debian12"], cuda="11.8", cudnn="8.7")
    assert row.expected_id == "cuda11.8-cudnn8.7-debian12"


@pytest.mark.parametrize("stack", stacks.load().values(), ids=lambda stack: stack.name)
def test_a_stack_names_only_what_exists(stack: stacks.Stack) -> None:
    assert set(stack.distributions) <= {row.distribution for row in matrix.load().values()}
    assert set(stack.checks) <= set(CHECKS)
    assert (Path(stacks.__file__).parent / "templates" / stack.template).exists()


def test_a_package_version_as_a_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stacks.yaml"
    text = stacks.PATH.read_text(encoding="utf-8")
    path.write_text(text.replace("revision: 99bd997", "revision: 9.10"), encoding="utf-8")
    with pytest.raises(UsageError, match="revision"):
        stacks.load(path)
