"""Checkpoints in both placements of the layer norm, and a disk that is full."""

import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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
