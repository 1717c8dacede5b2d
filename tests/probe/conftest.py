"""Makes the modules beside it importable, `from miniatures import build`, and builds each miniature once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def miniature(tmp_path_factory):
    """Task's name -> the data folder of its miniature, built once and not to be changed."""
    from miniatures import build

    folder, built = tmp_path_factory.mktemp("miniatures"), {}

    def get(task):
        if task not in built:
            built[task] = build(task, folder)
        return built[task]

    return get
