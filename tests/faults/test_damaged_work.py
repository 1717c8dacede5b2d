"""What probes and separation keep, damaged: one line, done again, or the same as before; no other numbers."""

import numpy as np
import pytest
import torch
from damaged_content import inject
from made_separation import SCORES, CountingEncoder, counting, made_run, make_run, opened_run
from made_up_recordings import WHOLE, Ramp, all_of, hear, write_recordings
from made_up_task import probed

from mert_fairseq.probe.frame_features import recordings_of
from mert_fairseq.probe.kept_work import KeptWork
from mert_fairseq.probe.probing import GridSettings
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.stored_features import KeepingListener

ONE = GridSettings(layers=(0,), rates=(1e-2,), seeds=(1,))
POINT = "{}_layer-0_rate-0.01_seed-1"


@pytest.mark.parametrize("name", ["settings.json", "piece.json", "piece.npy"])
def test_kept_work(faults, tmp_path, name):
    """As `probing` goes about it: what is not finished is done again."""
    content, array = {"validation": 0.75, "decision": "mean", "epoch": 3}, np.arange(12, dtype=np.float32).reshape(3, 4)

    def read():
        work = KeptWork(tmp_path, {"task": "GTZAN", "seed": 1})
        if work.read("piece") is None:
            work.write("piece", content, array)
        found = work.read_array("piece")
        return work.read("piece"), found.dtype.str, found.shape, found.tobytes()

    inject(faults, f"kept work, {name}", tmp_path / name, read, read(), (40, 400))


@pytest.mark.parametrize("name", [f"{POINT.format('grid')}.json", f"{POINT.format('test')}.json", f"{POINT.format('test')}.npy"])
def test_a_probe_of_kept_work(faults, tmp_path, name):
    """The whole of it: results are those that were there."""

    def read():
        results = probed(tmp_path, grid=ONE)
        return results.scores, results.seeds, results.chosen, results.predictions_sha256

    inject(faults, f"kept work, {name.partition('_')[0]} of a probe", tmp_path / "work" / name, read, read(), (4, 60))


def test_kept_frames(faults, tmp_path):
    items = write_recordings(tmp_path)
    path = recordings_of(Ramp(), items, WHOLE, [0, 1], tmp_path / "cache", tmp_path)[0].files[0]

    def read():
        heard = hear(Ramp(), items, tmp_path / "cache", [0, 1])
        return [(own.num_frames, all_of(own, layer).tobytes()) for own in heard for layer in (0, 1)]

    wanted = read()
    inject(faults, "kept frames, a hidden state", path, read, wanted, (60, 600))


@pytest.mark.parametrize("name", ["run.json", "training.pt", "vocals.pt", "scores_alone_24000.json"])
def test_a_separation(faults, tmp_path, name):
    make_run(tmp_path)

    def read():
        if not opened_run(tmp_path).scores():
            opened_run(tmp_path).save_scores(SCORES, {"vocals": 1.5})
        return made_run(tmp_path)

    inject(faults, f"kept separation, {name}", tmp_path / name, read, read(), (20, 200))


@pytest.mark.parametrize("name", ["mixes.npy", "mixes_sums.npy", "songs/a song.array"])
def test_features_of_a_separation(faults, tmp_path, name):
    waves, settings = torch.stack([counting(24_000, 640 * clip) for clip in range(4)]), SeparationSettings(chunk_s=1.0, piece_s=1.0)

    def read():
        listener = KeepingListener(CountingEncoder(), settings, tmp_path, 4)
        song = torch.cat(list(listener.song(counting(60_000), "a song")), 2)
        return listener.chunks(waves, range(4)).numpy().tobytes(), song.numpy().tobytes()

    inject(faults, f"kept separation, {name}", tmp_path / name, read, read(), (20, 200))
