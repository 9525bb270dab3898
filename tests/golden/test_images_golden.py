"""Every target renders to the very bytes that are kept here."""

from pathlib import Path

from click.testing import CliRunner

from provision.commands.image import image

HERE = Path(__file__).parent
REFRESH = "if the change is meant: provision image render --all --out tests/golden"


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_bytes().decode() for path in folder.rglob("Dockerfile")}


def test_render_all_reproduces_the_kept_files(tmp_path: Path) -> None:
    done = CliRunner().invoke(image, ["render", "--all", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert _files(tmp_path) == _files(HERE), REFRESH
    assert _files(tmp_path)


def test_every_dockerfile_keeps_the_rules() -> None:
    for name, text in _files(HERE).items():
        assert "# syntax=" not in text, f"{name}: a frontend would be fetched from a registry"
        assert "\r" not in text and text.endswith("\n")
        assert "USER trainer" in text
        assert "STOPSIGNAL SIGINT" in text, f"{name}: Caffe loses its work on SIGTERM"
        assert "--no-install-recommends" in text
