"""Fixtures of the report's tests."""

import numpy as np
import pytest
from baselines_by_hand import TRAIN_CODES, TRAIN_CQT, VALID_CODES, VALID_CQT
from run_folders import RunFolders

from mert_fairseq.data.target_store import TargetStore


@pytest.fixture
def runs(corpus):
    """Run folders over targets that are there."""
    folders = RunFolders(corpus)
    folders.targets()
    return folders


@pytest.fixture
def stores(corpus):
    """stores(kind) -> train and valid store of the arrays of `baselines_by_hand`, written under the names a run looks for."""

    def make(kind, train=None, valid=None, name=None, **changes):
        pairs = {"codes": (TRAIN_CODES, VALID_CODES), "cqt": (TRAIN_CQT, VALID_CQT)}[kind]
        found = []
        for split, arrays in (("train", train or pairs[0]), ("valid", valid or pairs[1])):
            manifest = corpus.manifest([320] * len(arrays), split)
            values = dict(width=2, num_classes=[4, 3] if kind == "codes" else None, **changes)
            folder = corpus.store(manifest, [np.array(rows) for rows in arrays], split, name, kind, num_shards=2, **values)
            found.append(TargetStore(folder, manifest, kind, 75.0))
        return found

    return make
