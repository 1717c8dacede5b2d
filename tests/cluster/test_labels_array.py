"""slurm/labels.sbatch and slurm/probe.sbatch: arrays, a task of which fails once."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import training_runs as runs
from slurm_cluster import REPOSITORY

from mert_fairseq.data.manifest import write_manifest
from mert_fairseq.data.target_store import store_folder
from mert_fairseq.frames import SAMPLE_RATE

NUM_SHARDS = 8
SLURM = REPOSITORY / "slurm"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    """One file for each shard."""
    folder = tmp_path_factory.mktemp("music")
    rows = []
    for number in range(NUM_SHARDS):
        wave = runs.tune(np.random.default_rng(number), 1.0)
        soundfile.write(folder / f"{number}.flac", wave, SAMPLE_RATE)
        rows.append((f"{number}.flac", len(wave)))
    write_manifest(folder / "manifest" / "train.tsv", folder, rows)
    return folder / "manifest"


def in_place_of_mert(folder, site, script) -> Path:
    """A site file whose jobs find `script` as the command mert."""
    (folder / "bin").mkdir()
    (folder / "bin" / "mert").write_text(f"#!/bin/bash\n{script}\n")
    (folder / "bin" / "mert").chmod(0o755)
    changed = folder / "site.sh"
    text = site.read_text()
    assert "SITE_SETUP='export PATH=" in text
    changed.write_text(text.replace("SITE_SETUP='export PATH=", f"SITE_SETUP='export PATH={folder}/bin:", 1))
    return changed


def test_shard_that_dies_once_is_made_again(cluster, site, manifests, tmp_path):
    real = Path(sys.executable).with_name("mert")
    once = f'case "$*" in *"--shard 3") mkdir {tmp_path}/died 2>/dev/null && kill -9 $$ ;; esac; exec {real} "$@"'
    arguments = ("cqt", manifests, tmp_path / "labels", "--splits", "train")
    array = f"--array=0-{NUM_SHARDS - 1}"
    job = cluster.submit(tmp_path, array, SLURM / "labels.sbatch", *arguments, site=in_place_of_mert(tmp_path, site, once)).wait()
    assert job.states() == ["COMPLETED"] * NUM_SHARDS, job.log()[-4000:]
    assert (tmp_path / "died").is_dir()
    assert "shard 3 failed with code 137; the task is requeued (1 of 2)" in job.log()
    assert len(list(store_folder(tmp_path / "labels", "train", "cqt").glob("*.npy"))) == NUM_SHARDS
    checked = cluster.run(real, "labels", "check", manifests, tmp_path / "labels")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_shard_that_always_fails_is_given_up(cluster, site, manifests, tmp_path):
    changed = in_place_of_mert(tmp_path, site, 'echo "mert: made-up fault" >&2; exit 1')
    job = cluster.submit(tmp_path, "--array=0", SLURM / "labels.sbatch", "cqt", manifests, tmp_path, site=changed).wait()
    assert job.states() == ["FAILED"] and job.field("Restarts") == "2"
    assert job.log().count("mert: made-up fault") == 3
    assert "labels.sbatch: shard 0 failed with code 1 after 2 restarts; mend it" in job.log()


def test_probe_tasks_one_by_one(cluster, site, tmp_path):
    """Each task of the array runs `mert probe` for one name with the options of all."""
    changed = in_place_of_mert(tmp_path, site, f'echo "$*" >{tmp_path}/called.$SLURM_ARRAY_TASK_ID')
    arguments = ("gtzan", "giantsteps", "--model", "M", "--data", "D", "--out", "O")
    job = cluster.submit(tmp_path, "--array=0-1", SLURM / "probe.sbatch", *arguments, site=changed).wait()
    assert job.states() == ["COMPLETED"] * 2, job.log()
    called = [(tmp_path / f"called.{number}").read_text().strip() for number in range(2)]
    assert called == [f"probe {task} --model M --data D --out O" for task in ("gtzan", "giantsteps")]
    wrong = cluster.submit(tmp_path / "wrong", "--array=0-2", SLURM / "probe.sbatch", *arguments, site=changed).wait()
    assert wrong.states() == ["FAILED"] * 3 and "2 tasks named (gtzan giantsteps), array up to 2" in wrong.log()
