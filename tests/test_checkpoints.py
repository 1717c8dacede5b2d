"""Checkpoints: damaged and hostile files are refused in one line and never run."""

import io
import pickle
import random
import tarfile
import zipfile
from argparse import Namespace

import pytest
from fairseq.data.dictionary import Dictionary
from saved_checkpoints import Network, content, save, settings

import mert_fairseq  # noqa: F401  (allow-lists the classes that fairseq's checkpoints hold)
from mert_fairseq.checkpoints import check_resumable, read_checkpoint
from mert_fairseq.errors import MertError


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def refusal(path):
    with pytest.raises(MertError) as error:
        read_checkpoint(str(path))
    text = str(error.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


@pytest.mark.parametrize("old_style", [False, True])
def test_reads_what_was_saved(tmp_path, old_style):
    state = content()
    found = read_checkpoint(str(save(tmp_path / "last.pt", state, old_style)))
    assert found["cfg"] == state["cfg"] and found["extra_state"] == {"epoch": 3}
    assert found["model"].keys() == state["model"].keys()
    assert all(found["model"][name].equal(tensor) for name, tensor in state["model"].items())


@pytest.mark.parametrize("old_style", [False, True])
def test_what_fairseq_keeps_beside_the_weights_is_fine(tmp_path, old_style):
    dictionary = Dictionary()
    dictionary.add_symbol("7")
    state = {**content(), "args": Namespace(arch="mert"), "task_state": {"dictionaries": [dictionary]}}
    found = read_checkpoint(str(save(tmp_path / "last.pt", state, old_style)))
    assert found["task_state"]["dictionaries"][0].symbols == dictionary.symbols and found["args"].arch == "mert"


def test_missing(tmp_path):
    assert refusal(tmp_path / "none.pt").endswith("no such checkpoint")


def test_a_folder(tmp_path):
    assert "a folder, a checkpoint wanted" in refusal(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.99])
def test_truncated(tmp_path, share):
    path = save(tmp_path / "last.pt", content())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    text = refusal(path)
    assert "truncated or not a checkpoint" in text and text.endswith("put a whole one in its place")


def test_truncated_old_style(tmp_path):
    """Cut after any byte: torch's loader raises nearly every kind of error, all of them a refusal here."""
    path = save(tmp_path / "last.pt", content(), old_style=True)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refusal(path)


@pytest.mark.parametrize("start", [b"", b"\x80\x02", b"\x80\x02}", b"PK\x03\x04"])
def test_random_bytes(tmp_path, start):
    path, rng = tmp_path / "last.pt", random.Random(0)
    for _ in range(60):
        path.write_bytes(start + rng.randbytes(rng.randint(1, 300)))
        refusal(path)


def test_flipped_bytes_are_read_or_refused(tmp_path):
    """In a weight they cannot be seen; elsewhere nothing but a refusal may come of them."""
    path, rng = save(tmp_path / "last.pt", content(), old_style=True), random.Random(1)
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(str(path))
        except MertError:
            refused += 1
    assert refused > 50


def zip_of_text():
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        archive.writestr("notes.txt", "not weights")
    return stream.getvalue()


def tar_of_nothing():
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w") as archive:
        archive.addfile(tarfile.TarInfo("notes.txt"))
    return stream.getvalue()


@pytest.mark.parametrize("data", [zip_of_text(), b"junk" + zip_of_text(), tar_of_nothing(), b"a text\n", b'{"model": {}}'])
def test_files_of_other_kinds(tmp_path, data):
    (tmp_path / "last.pt").write_bytes(data)
    assert "not a checkpoint" in refusal(tmp_path / "last.pt")


@pytest.mark.parametrize("state", [{"cfg": {}}, [1, 2], 3, {"model": None}, {"model": "weights"}, {"model": {"a.weight": 3}}])
def test_no_weights_in_it(tmp_path, state):
    assert refusal(save(tmp_path / "last.pt", state)).endswith("not a fairseq checkpoint (no weights under 'model')")


@pytest.mark.parametrize("place", ["instead of the weights", "beside them", "among them", "as the whole"])
@pytest.mark.parametrize("kind", ["zip", "old style", "pickle 2", "pickle 4"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, kind, place):
    made, path = tmp_path / "made", tmp_path / "last.pt"
    harm, good = Harm(made), content()
    state = {
        "instead of the weights": {**good, "model": harm},
        "beside them": {**good, "extra_state": {"harm": harm}},
        "among them": {**good, "model": {**good["model"], "harm": harm}},
        "as the whole": harm,
    }[place]
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps(state, protocol=int(kind[-1])))
    else:
        save(path, state, old_style=kind == "old style")
    text = refusal(path)
    assert not made.exists()
    assert ("not a checkpoint" if kind == "pickle 4" else "refused, unread") in text  # torch's own loader reads protocol 2 only
    assert "open" in text or kind.startswith("pickle")


def test_the_harm_would_be_seen(tmp_path):
    function, arguments = Harm(tmp_path / "made").__reduce__()
    function(*arguments).close()
    assert (tmp_path / "made").exists()


def test_resume_with_code_in_the_checkpoint_is_refused_and_not_run(tmp_path):
    save(tmp_path / "last.pt", {**content(), "extra_state": Harm(tmp_path / "made")})
    with pytest.raises(MertError, match="refused, unread"):
        check_resumable(str(tmp_path / "last.pt"), Network(), settings())
    assert not (tmp_path / "made").exists()
