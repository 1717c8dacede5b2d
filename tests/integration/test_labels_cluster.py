"""The real command, one job per shard on this machine: what fails once, what fails until it is mended, and the store that comes out."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mert_fairseq.cli.cluster import shard_command
from mert_fairseq.cli.shard_run import ClusterSettings, run_shards
from mert_fairseq.data.target_store import TargetStore, store_folder
from mert_fairseq.errors import MertError
from mert_fairseq.frames import num_cqt_frames
from mert_fairseq.teachers.cqt import FastCQT
from mert_fairseq.teachers.store_check import check_store

LENGTHS = (4800, 9600, 3200)
FAIL_ONCE = 'if mkdir "$0" 2>/dev/null; then echo "mert: made-up fault" >&2; exit 1; fi; exec "$@"'


@pytest.fixture
def manifest(corpus):
    return corpus.manifest(LENGTHS, audio=True)


def test_failed_shards_are_made_again_and_the_store_is_that_of_one_run(corpus, manifest, tmp_path, monkeypatch, capfd):
    """Shard 0 fails once; shard 1 has a damaged file until it is mended."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    argv = ["labels", "cqt", "--slurm", "local", str(corpus.manifests), str(corpus.labels), "--splits", "train", "--nshard", "2"]
    plain, settings = shard_command(argv), ClusterSettings("local", corpus.labels / "logs", attempts=2, jobs_at_once=2)
    damaged, folder = corpus.audio / "train2.wav", store_folder(corpus.labels, "train", "cqt")
    sound = damaged.read_bytes()
    damaged.write_bytes(b"no audio")

    def command_of(shard):
        return ["/bin/sh", "-c", FAIL_ONCE, str(tmp_path / "failed"), *plain(shard)] if shard == 0 else plain(shard)

    with pytest.raises(MertError) as caught:
        run_shards(command_of, range(2), settings)
    told = re.fullmatch(r"1 of 2 shards are complete, 1 failed: shard 1: (.*) \(log (\S*)\); mend it and .*", str(caught.value))
    assert told[1].startswith(f"train: 1 damaged files (0 in the whole store allowed by --allow-bad): row 2: {damaged}: cannot be opened")
    assert told[1] in Path(told[2]).read_text()
    lines = sorted(line.split(" (")[0] for line in capfd.readouterr().err.splitlines())
    assert lines[0] == "shard 0: attempt 1 of 2 failed: made-up fault"
    assert lines[1:] == [f"shard 1: attempt {number} of 2 failed: train: 1 damaged files" for number in (1, 2)]
    assert sorted(path.name for path in folder.iterdir()) == ["shard-00000-of-00002.json", "shard-00000-of-00002.npy"]

    damaged.write_bytes(sound)
    kept = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    run_shards(plain, range(2), settings)
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())  # a complete shard is skipped
    assert check_store(folder, manifest).faults == []
    store = TargetStore(folder, manifest, "cqt", 75.0)
    assert store.num_frames.tolist() == [num_cqt_frames(length) for length in LENGTHS]
    transform = FastCQT()
    for row in range(3):
        wanted = transform(torch.from_numpy(corpus.wave(row, LENGTHS[row]))[None])[0].numpy()
        np.testing.assert_allclose(store.read(row, 0, len(wanted)), wanted, rtol=1e-3, atol=1e-3 * wanted.max())
