"""Targets made for the tests of shards and stores, and the words in which a store is refused."""

import json

import numpy as np
import pytest

from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError

LENGTHS = (3200, 6401, 320, 12_800, 960, 321, 4000)


def random_arrays(kind, seed=0):
    """Seven rows of 0 to 40 frames; row 2 is empty, as that of a damaged file is."""
    rng = np.random.default_rng(seed)
    frames = [10, 21, 0, 40, 3, 2, 13]
    if kind == "codes":
        return [rng.integers(0, (1000, 16), (count, 2)).astype(np.uint16) for count in frames]
    return [rng.standard_normal((count, 3)).astype(np.float16) for count in frames]


def refusal(folder, manifest, kind="codes", frame_rate=75.0):
    """The message with which opening a store is refused; one line, as the command shows it."""
    with pytest.raises(MertError) as caught:
        TargetStore(folder, manifest, kind, frame_rate)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit_json(path, **changes):
    side = path.with_suffix(".json")
    side.write_text(json.dumps({**json.loads(side.read_text()), **changes}))


MAKE_AGAIN = "run `mert labels` again"
