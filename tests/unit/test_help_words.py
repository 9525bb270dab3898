"""`provision help WORD`: who looks for what a command does finds it first."""

import pytest

from provision.cli import run


def found(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The names of the commands, best first."""
    assert run(["help", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line.partition("  ")[0].removeprefix("provision ") for line in lines if line.startswith("provision ")]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("rent", "up"),
        ("gpu memory", "up"),
        ("gpu-memory", "up"),
        ("copy", "put"),
        ("evaluate", "score"),
        ("video", "infer"),
        ("lmdb", "data lmdb"),
        ("leveldb", "data lmdb"),
        ("quota", "doctor"),
        ("permissions", "iam-policy, doctor"),
        ("licence", "train"),
        ("coco", "data coco, data coco-check, data visual-genome"),
        ("plot", "logs"),
        # words that are not ours
        ("terminate", "down"),
        ("upload", "put"),
        ("jupyter", "forward"),
        ("price", "cost"),
        ("validate", "recipe check, data check"),
        # other forms of a word
        ("wrong", "recipe check, net lint"),
        ("pictures", "infer, data voc-labels"),
        ("interrupted training", "resume"),
        ("RENTS", "up"),
    ],
)
def test_the_first_is_the_one_that_was_meant(words: str, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(capsys, *words.split())[0] in first.split(", ")


def test_a_line_tells_what_the_command_does_and_which_options_are_meant(capsys: pytest.CaptureFixture[str]) -> None:
    run(["help", "gpu", "memory"])
    assert "provision up      rent a machine and make it ready  [--gpu-memory --gpus]" in capsys.readouterr().out


def test_commands_of_groups_are_found_with_the_first_sentence_of_their_help(capsys: pytest.CaptureFixture[str]) -> None:
    run(["help", "multiply"])
    assert (
        "provision net show  show the layers of FILE with their shapes, parameters and multiply-adds"
        in capsys.readouterr().out
    )


def test_all_words_have_to_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    both = found(capsys, "disk", "spot")
    assert both and set(both) < set(found(capsys, "--all", "spot"))


def test_what_was_left_out_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    run(["help", "machine"])
    shown = capsys.readouterr().out.splitlines()
    assert "provision help --all machine" in shown[-1]
    rest = int(shown[-1].split()[1])
    assert len(found(capsys, "--all", "machine")) == len(shown) - 1 + rest


def test_a_command_is_shown_itself_and_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "net", "lint"]) == 0
    assert capsys.readouterr().out.startswith("Usage: provision net lint ")
    assert run(["help", "score"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: provision score ")
    others = out.partition("\nSee also:\n")[2]
    assert "provision data boxes" in others and "provision score" not in others


def test_without_a_word_it_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    whole = capsys.readouterr().out
    assert run(["help"]) == 0
    assert capsys.readouterr().out == whole


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("diagnoze", "the nearest words: diagnose"),
        ("xyzzy", "provision --help"),
        ("?!", "provision --help"),
        ("jupyter credentials", "try one of them: provision help jupyter"),
    ],
)
def test_nothing_found_is_a_wrong_word(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", *words.split()]) == 2
    shown = capsys.readouterr()
    assert f"no command has to do with {words!r}" in shown.err and said in shown.err
    assert not shown.out
