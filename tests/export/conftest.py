"""Checkpoints in both placements of the layer norm, and a disk that is full."""

import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parent))

from made_checkpoints import write_checkpoint


@pytest.fixture(params=[False, True], ids=["post-LN", "pre-LN"], scope="session")
def checkpoint(request, tmp_path_factory) -> SimpleNamespace:
    """A checkpoint with its model and content."""
    return write_checkpoint(tmp_path_factory.mktemp("trained") / "checkpoint_last.pt", request.param)


@pytest.fixture(scope="session")
def one_checkpoint(tmp_path_factory) -> SimpleNamespace:
    """One of them, where the placement of the norm is of no consequence."""
    return write_checkpoint(tmp_path_factory.mktemp("trained") / "checkpoint_last.pt")


@pytest.fixture
def full_disk():
    """A disk with room for 10,000 bytes per file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A folder of 2.5 s of decaying chords at 24 kHz, and files of odd lengths below it."""
    folder = tmp_path_factory.mktemp("music")
    time_s = np.arange(60_000) / 24_000
    wave = sum(np.sin(2 * np.pi * 220 * k * time_s) / k for k in range(1, 9)) * np.exp(-(time_s % 0.5) * 5) * 0.1
    soundfile.write(folder / "chords.flac", wave, 24_000)
    (folder / "album").mkdir()
    soundfile.write(folder / "album" / "short.wav", wave[:9_999], 24_000)
    soundfile.write(folder / "album" / "long.wav", np.tile(wave, 3)[:-77], 24_000)
    return folder
