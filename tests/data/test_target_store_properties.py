"""What is written to a store is what any window of any row of it gives back, however it is divided."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mert_fairseq.data.compact_cqt import from_bytes
from mert_fairseq.data.target_store import TargetStore

#: Of rows; some cross the boundary of a block of checksums.
FRAMES = st.lists(st.one_of(st.integers(0, 40), st.integers(1000, 1100)), min_size=1, max_size=8)


@st.composite
def stores(draw):
    """(frames of each row, arrays of them, kind, further fields of the description, number of shards)."""
    frames, width, kind = draw(FRAMES), draw(st.integers(1, 5)), draw(st.sampled_from(["codes", "cqt", "bytes"]))
    sizes = draw(st.lists(st.integers(1, 1 << 16), min_size=width, max_size=width))
    if kind == "codes":
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        rows = [np.stack([rng.integers(0, size, count) for size in sizes], axis=1) for count in frames]
        return frames, rows, "codes", {"width": width, "num_classes": sizes}, draw(st.integers(1, len(frames)))
    if kind == "cqt":
        numbers = st.floats(0, 60_000, width=16)
        rows = [draw(arrays.arrays(np.float16, (count, width), elements=numbers, fill=numbers)) for count in frames]
        return frames, rows, "cqt", {"width": width}, draw(st.integers(1, len(frames)))
    rows = [draw(arrays.arrays(np.uint8, (count, width))) for count in frames]
    scale = draw(st.lists(st.floats(0.0009765625, 1024, width=32), min_size=width, max_size=width))
    return frames, rows, "cqt", {"width": width, "scale": scale}, draw(st.integers(1, len(frames)))


@settings(max_examples=100)
@given(stores(), st.data())
def test_round_trip(corpus, made, data):
    frames, rows, kind, fields, num_shards = made
    with tempfile.TemporaryDirectory() as folder:
        fresh = type(corpus)(Path(folder))
        manifest = fresh.manifest([320 * count + 1 for count in frames])
        store = TargetStore(fresh.store(manifest, rows, kind=kind, num_shards=num_shards, **fields), manifest, kind, 75.0)
        wanted = rows if "scale" not in fields else [from_bytes(row, np.asarray(fields["scale"], np.float32)) for row in rows]
        assert store.num_frames.tolist() == frames and len(store.paths) == num_shards
        for row, array in enumerate(wanted):
            start = data.draw(st.integers(0, frames[row]), label="start")
            stop = data.draw(st.integers(start, frames[row]), label="stop")
            np.testing.assert_array_equal(store.read(row, start, stop), array[start:stop])
        size = data.draw(st.integers(1, 100), label="block")
        np.testing.assert_array_equal(np.concatenate([*store.blocks(size), wanted[0][:0]]), np.concatenate(wanted))
