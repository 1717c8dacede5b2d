"""Features of probes where the disk is full: one line, and what was heard is kept."""

import resource

import numpy as np
import pytest
import soundfile

from mert_fairseq.errors import MertError
from mert_fairseq.probe.encoders import open_encoder
from mert_fairseq.probe.features import hear
from mert_fairseq.probe.items import Item
from mert_fairseq.probe.task import Hearing


def test_a_full_disk_is_one_line(tmp_path):
    items = []
    for number in range(4):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(48_000), 24_000)
        items.append(Item(path.name, path, "train", 0))
    encoder, hearing = open_encoder("logmel", "cpu", "float32"), Hearing(window_s=0.2, least_s=0.1)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limit[1]))
    try:
        with pytest.raises(MertError, match="cannot be written .File too large.; make room, and the same command goes on"):
            hear(encoder, items, hearing, tmp_path / "cache", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert len(hear(encoder, items, hearing, tmp_path / "cache", tmp_path).places) == 40
