"""What lies in the published weights' place and is not them: refused in one line, and nothing of it is run."""

import pickle

import pytest
import torch

from mert_fairseq.errors import MertError
from mert_fairseq.teachers.rvqvae import PUBLISHED_FILE, load_teacher


class Touch:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    for write in (lambda value, path: torch.save(value, path), lambda value, path: path.write_bytes(pickle.dumps(value))):
        write({"encoder": Touch(tmp_path / "ran")}, tmp_path / PUBLISHED_FILE)
        with pytest.raises(MertError, match="nothing in it was run") as refusal:
            load_teacher(tmp_path)
        assert "\n" not in str(refusal.value) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"<html>404</html>"])
def test_a_damaged_published_file_is_refused(tmp_path, content):
    (tmp_path / PUBLISHED_FILE).write_bytes(content)
    with pytest.raises(MertError, match="is not EnCodec's state dict or is damaged"):
        load_teacher(tmp_path)


@pytest.mark.parametrize("state", [[1, 2], {"a": torch.zeros(1)}])
def test_another_models_state_is_refused(tmp_path, state):
    torch.save(state, tmp_path / PUBLISHED_FILE)
    with pytest.raises(MertError, match="is not EnCodec's state dict"):
        load_teacher(tmp_path)
