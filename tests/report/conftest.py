"""Fixtures of the report's tests."""

import pytest
from run_folders import RunFolders


@pytest.fixture
def runs(corpus):
    """Run folders over targets that are there."""
    folders = RunFolders(corpus)
    folders.targets()
    return folders
