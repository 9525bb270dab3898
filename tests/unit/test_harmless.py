"""What others wrote reaches a terminal without what it obeys, and a spreadsheet without formulas."""

import ast
import io
import sys
from pathlib import Path

import pytest

from infra.errors import HostError
from infra.harmless import Plain, cell, plain
from provision import cli, console
from provision.logs.read import Printer
from tests.unit.test_logexport import table

TITLE, CLEAR, RED, CLIPBOARD = "\x1b]0;owned\x07", "\x1b[2J", "\x1b[31m", "\x1b]52;c;cm0gLXJm\x1b\\"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("as it is: é 猫 \t tab\nline\n", "as it is: é 猫 \t tab\nline\n"),
        (f"a{TITLE}{CLEAR}{RED}b\x1b[0m{CLIPBOARD}c", "abc"),
        ("\x9b2Ja\x9d0;x\x9cb", "ab"),
        ("\x1bPq#0\x1b\\sixel\x1bc\x1b(0\x1b7", "sixel"),
        ("never ended \x1b]0;title\nnext line", "never ended ]0;title\nnext line"),
        ("lost\x08\x08\x08\x08\x00\x07kept\x7f", "lostkept"),
        ("50%\r100%\r\nnext", "50%\n100%\nnext"),
        ("cat \u202egnp.exe \u2066x\u2069", "cat gnp.exe x"),
    ],
)
def test_a_terminal_gets_no_control_sequence(text: str, left: str) -> None:
    assert plain(text) == left
    whole = Plain()
    assert (whole.take(text.encode()) + whole.end()).decode() == left


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_stream_is_cleaned_wherever_it_is_cut(size: int) -> None:
    data = f"é{TITLE}one\r\ntwo 猫{RED}\rthree{CLEAR}\n{CLIPBOARD}four\u202e\x1b".encode()
    stream = Plain()
    got = b"".join(stream.take(data[at : at + size]) for at in range(0, len(data), size)) + stream.end()
    assert got.decode() == "éone\ntwo 猫\nthree\nfour"


def test_bytes_that_are_no_text_pass_but_for_those_of_c1() -> None:
    stream = Plain()
    assert stream.take(b"\xff\xe9 \x9b2J|\x85\n") + stream.end() == b"\xff\xe9 2J|\n"


def test_whatever_is_said_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    odd = f"{CLEAR}na{TITLE}me\u202e"
    console.say(odd)
    console.line(odd)
    console.table(odd, [odd], [[odd], [None], [3]])
    console.table(odd, [odd], [[odd]], meanwhile=True)
    console.emit_json({odd: odd})
    with console.step(odd):
        pass
    assert cli._tell(HostError(f"S3 says {odd}", f"see {odd}")) == HostError.exit_code
    out, err = capsys.readouterr()
    assert out.count("name") == 4 and err.count("name") >= 6
    assert not [letter for letter in out + err if letter in "\x1b\x07\u202e"]


def test_a_table_on_a_terminal_keeps_its_own_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.table("", ["name"], [[f"{RED}lab"]])
    assert "\x1b[1mname\x1b[0m" in terminal.getvalue() and "\x1b[31m" not in terminal.getvalue()


def test_logs_prints_no_control_sequence_and_raw_prints_all(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(data := f"one{TITLE}{CLEAR}\rtwo \u202e\n".encode() + b"\xff\n")
    assert cli.run(["logs", str(path)]) == 0
    assert capfdbinary.readouterr().out == b"one\ntwo \n\xff\n"
    assert cli.run(["logs", str(path), "--raw"]) == 0
    assert capfdbinary.readouterr().out == data


def test_a_log_that_is_followed_is_printed_alike(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    printer = Printer()
    for piece in (b"one\x1b", b"[2J two\r", b"\nthree \xe7\x8c", b"\xab\n"):
        printer.take(piece)
    printer.end()
    assert capfdbinary.readouterr().out.decode() == "one two\nthree 猫\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('=HYPERLINK("http://x")', "'=HYPERLINK(\"http://x\")"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-1+1", "'-1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("\tx", "'\tx"), ("\r=x", "'\n=x"),
        ("-1.5e-3", "-1.5e-3"), ("+2", "+2"), ("-inf", "-inf"), ("nan", "nan"), ("-1_0", "'-1_0"),
        ("loss", "loss"), (-1.5, -1.5), (7, 7), (None, None), ("a\x1b[2Jb", "ab"),
        ("\x1b[m=1+1", "'=1+1"), ("\x00=HYPERLINK(1)", "'=HYPERLINK(1)"), ("a\u200fb", "ab"),
    ],
)  # fmt: skip
def test_a_cell_is_no_formula(value: object, written: object) -> None:
    assert cell(value) == written


def test_a_csv_of_a_log_has_no_formula(tmp_path: Path) -> None:
    lines = (
        "I0101 10:00:00.000000  1 solver.cpp:218] Iteration 0 (1 iter/s), loss = 1",
        'I0101 10:00:00.000000  1 solver.cpp:237]     Train net output #0: =HYPERLINK("http://x") = -1 (* 1 = 1 loss)',
        "I0101 10:00:00.000000  1 sgd_solver.cpp:105] Iteration 0, lr = 0.1",
    )
    path = tmp_path / "a.log"
    path.write_text("\n".join(lines) + "\n")
    assert cli.run(["logs", str(path), "--csv", str(tmp_path / "a.csv")]) == 0
    (row,) = table(tmp_path / "a.train.csv")
    assert row['\'=HYPERLINK("http://x")'] == "-1.0"
    assert [name[:1] for name in row] == ["N", "S", "L", "'"]


def test_every_csv_is_written_through_the_border() -> None:
    """Whoever writes a CSV has to take `cell` for it."""
    root = Path(cli.__file__).parents[1]
    for path in (path for wing in ("provision", "infra", "images") for path in (root / wing).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "csv.writer(" in text or "csv.DictWriter(" in text:
            assert "from infra.harmless import cell" in text, path


def prints(path: Path) -> bool:
    """Whether a module writes to the standard streams by itself."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    dotted = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    return "print" in names or bool(
        dotted & {"click.echo", "sys.stdout.write", "sys.stdout.buffer", "sys.stderr.write"}
    )


def test_all_but_a_few_modules_speak_by_the_console() -> None:
    root = Path(cli.__file__).parent
    ours = [path for path in root.rglob("*.py") if "builtin" not in path.parts]
    assert {str(path.relative_to(root)) for path in ours if prints(path)} == {
        "console.py",
        "cli.py", "commands/completion.py", "commands/help.py",  # words of our own
        "commands/image_matrix.py", "logs/export.py",  # JSON and CSV
        "logs/read.py",  # a log, by infra.harmless
    }  # fmt: skip
