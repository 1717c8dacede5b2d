"""A made-up teacher whose codes say frame and row, and the stores that it writes."""

import weakref

import numpy as np

from mert_fairseq.frames import num_code_frames
from mert_fairseq.teachers.labeller import Labeller
from mert_fairseq.teachers.labelling import write_labels

LENGTHS = (3200, 6401, 320, 12_800, 960, 321, 4000)  # 10, 21, 1, 40, 3, 2 and 13 frames with the last one padded


class Teacher:
    """Codes (frame, row) of a made-up recording, told from its first sample; counts what it was asked for."""

    def __init__(self):
        self.rows, self.given = [], []

    def label(self, wave):
        if len(wave) == 0:  # a damaged file
            return np.zeros((0, 2))
        row, start = divmod(round(float(wave[0]) * 2**24), 2**20)
        assert start == 0 and len(wave) == LENGTHS[row]  # the whole recording
        assert all(array() is None for array in self.given[:-1])  # only the row before is still in memory
        frames = np.arange(num_code_frames(len(wave)))
        codes = np.stack([frames, np.full_like(frames, row)], axis=1)
        self.rows.append(row)
        self.given.append(weakref.ref(codes))
        return codes

    def labeller(self, **changes):
        values = dict(kind="codes", teacher="maker", width=2, label_tracks=lambda waves: map(self.label, waves))
        values |= dict(num_classes=[1000, 16], settings={"gain": 0.5})
        return Labeller(**{**values, **changes})


def write(manifest, folder, num_shards=3, shards=None, by=None, allow_bad=0, **changes):
    shards = range(num_shards) if shards is None else shards
    return write_labels(manifest, folder, (by or Teacher()).labeller(**changes), num_shards, shards, allow_bad)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
