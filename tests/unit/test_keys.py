"""The login key: one for each user, whoever asks for it first, and however many at once."""

import multiprocessing
from pathlib import Path
from queue import Queue

from cryptography.hazmat.primitives import serialization as form

from infra.keys import login_key


def ask(folder: Path, barrier: object, answers: "Queue[str]") -> None:
    barrier.wait()  # type: ignore[attr-defined]
    answers.put(login_key(folder)[1])


def public_of(private: Path) -> str:
    key = form.load_ssh_private_key(private.read_bytes(), None).public_key()
    return key.public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode()


def test_commands_that_make_it_at_once_use_one_key(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for number in range(5):
        folder, barrier, answers = tmp_path / str(number), fork.Barrier(6), fork.Queue()
        others = [fork.Process(target=ask, args=(folder, barrier, answers)) for _ in range(6)]
        for one in others:
            one.start()
        found = {answers.get(timeout=30) for _ in others}
        for one in others:
            one.join()
        assert found == {f"{public_of(folder / 'id_ed25519')} provision"}
        assert sorted(path.name for path in folder.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_the_public_half_follows_the_private(tmp_path: Path) -> None:
    """Where the one or the other was lost."""
    path, first = login_key(tmp_path)
    path.with_suffix(".pub").unlink()
    assert login_key(tmp_path)[1] == first == path.with_suffix(".pub").read_text().strip()
    path.unlink()
    _, second = login_key(tmp_path)
    assert second == f"{public_of(path)} provision" != first
