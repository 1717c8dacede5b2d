"""Readers of what probes and separation keep: pieces of work, frames, windows, run folders and their features."""

import sys
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Dict

import numpy as np
import torch
from fuzzed_reader import Reader
from sound_files import Files, files_below

from mert_fairseq.probe.kept_work import KeptWork
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.stored_features import KeepingListener
from mert_fairseq.probe.stored_frames import StoredFrames, store_frames
from mert_fairseq.probe.window_store import WindowStore

sys.path.insert(0, str(Path(__file__).parent.parent / "probe"))

from made_separation import CountingEncoder, counting, made_run, make_run

SETTINGS = {"task": "GTZAN", "options": {"tolerance": 0.07}}
KEYS = ("0\t24000\tsong.wav", "24000\t24000\tsong.wav")
LISTENING = SeparationSettings(chunk_s=0.2, piece_s=1.0, layer=1)


@cache
def work() -> Files:
    """A piece with an array, and the settings that it is of."""
    with tempfile.TemporaryDirectory() as name:
        KeptWork(Path(name), SETTINGS).write("piece", {"layer": 3, "validation": 0.5}, np.arange(6, dtype=np.float32).reshape(2, 3))
        return files_below(Path(name))


@cache
def frames() -> Files:
    """Two hidden states of a recording."""
    with tempfile.TemporaryDirectory() as name:
        for layer in range(2):
            store_frames(Path(name) / f"{layer}.array", np.random.default_rng(layer).standard_normal((20, 3)))
        return files_below(Path(name))


@cache
def windows() -> Files:
    """Features of two windows."""
    with tempfile.TemporaryDirectory() as name, WindowStore(Path(name), (2, 3)).writing() as store:
        store.add(KEYS, np.arange(12, dtype=np.float32).reshape(2, 2, 3))
        return files_below(Path(name))


@cache
def run() -> Files:
    """The run folder of a separation, after an epoch."""
    with tempfile.TemporaryDirectory() as name:
        make_run(Path(name))
        return files_below(Path(name))


@cache
def features() -> Files:
    """Features of two mixes and of a song."""
    with tempfile.TemporaryDirectory() as name:
        _features(Path(name))
        return files_below(Path(name))


def _work(folder: Path) -> None:
    kept = KeptWork(folder, SETTINGS)
    if kept.read("piece") is not None:
        assert kept.read_as("piece", lambda layer, validation: (layer, validation)) == (3, 0.5)
        assert kept.read_array("piece").tolist() == [[0, 1, 2], [3, 4, 5]]


def _frames(folder: Path) -> None:
    found = StoredFrames(1, {layer: folder / f"{layer}.array" for layer in range(2)})
    assert found.layers([0, 1], np.arange(found.num_frames)).shape == (20, 2, 3)


def _windows(folder: Path) -> None:
    store = WindowStore(folder, (2, 3))
    there = store.places()
    store.check(there.values())
    assert all(np.array_equal(store.rows()[there[key]].ravel(), np.arange(6) + 6 * row) for row, key in enumerate(KEYS) if key in there)


def _run(folder: Path) -> None:
    found = made_run(folder)
    assert found["place"] == (1, 0) and found["best"] == (1.25, 0, False)
    assert all(song["vocals"]["sdr"] == 1.5 for song in found["scores"].values())


def _features(folder: Path) -> None:
    listener = KeepingListener(CountingEncoder(), LISTENING, folder, 2)
    song = torch.cat(list(listener.song(counting(24_000), "song")), 2)
    mixes = listener.chunks(torch.stack([counting(4_800), counting(4_800, 320)]), range(2))
    assert (song[..., 0] == 1).all() and (mixes[..., 0] == 1).all() and mixes[0, :, 0, 1].tolist() == [0, 1]


_WORK, _FRAMES, _WINDOWS = partial(Reader, work), partial(Reader, frames), partial(Reader, windows)
_RUN, _FEATURES = partial(Reader, run), partial(Reader, features)
KEPT_READERS: Dict[str, Reader] = {
    "kept_settings": _WORK("settings.json", _work),
    "kept_piece": _WORK("piece.json", _work),
    "kept_array": _WORK("piece.npy", _work),
    "stored_frames": _FRAMES("0.array", _frames),
    "window_store": _WINDOWS("store.json", _windows),
    "window_index": _WINDOWS("index.tsv", _windows),
    "window_rows": _WINDOWS("rows.f32", _windows),
    "separation_run": _RUN("run.json", _run),
    "separation_scores": _RUN("scores_alone_24000.json", _run),
    "separation_state": _RUN("training.pt", _run),
    "separation_network": _RUN("vocals.pt", _run),
    "separation_mixes": _FEATURES("mixes.npy", _features),
    "separation_sums": _FEATURES("mixes_sums.npy", _features),
    "separation_song": _FEATURES("songs/song.array", _features),
}
