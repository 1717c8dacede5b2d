"""Faults of the input, given to the real command: one clear line, exit code 1, nothing trained."""

import json
import shutil

import pytest
import torch
import training_runs as runs
from omegaconf import OmegaConf

from mert_fairseq.folder_lock import sole_use
from mert_fairseq.launch.run_folder import take_before_writing

ONE_UPDATE = ["optimization.max_update=1", "dataset.num_workers=0", "dataset.disable_validation=true"]


class Payload:
    """A pickle that would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return runs.build_corpus(tmp_path_factory.mktemp("corpus"), num_train=2, num_valid=1)


@pytest.fixture
def corpus(pristine, tmp_path):
    copy = shutil.copytree(pristine, tmp_path / "corpus")
    for manifest in (copy / "manifest").glob("*.tsv"):
        manifest.write_text(manifest.read_text().replace(str(pristine), str(copy), 1))
    return copy


def refusal(corpus, run_dir, *overrides) -> str:
    """The one line that the command says."""
    result = runs.train(corpus, run_dir, *ONE_UPDATE, *overrides)
    assert result.returncode == 1, result.stderr[-2000:]
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line]
    framed = lines.index(next(line for line in lines if line.startswith("Error executing job with overrides")))
    _, line, hint = lines[framed:]  # ours stands alone between Hydra's two
    assert hint.startswith("Set the environment variable HYDRA_FULL_ERROR")
    return line


def train_shard(corpus, suffix):
    return corpus / "labels" / "train.encodec" / f"shard-00000-of-00001{suffix}"


def test_missing_labels(corpus, tmp_path):
    shutil.rmtree(corpus / "labels" / "train.encodec")
    line = refusal(corpus, tmp_path / "run")
    assert "train.encodec" in line and "mert labels" in line


def test_truncated_labels(corpus, tmp_path):
    shard = train_shard(corpus, ".npy")
    shard.write_bytes(shard.read_bytes()[:-100])
    line = refusal(corpus, tmp_path / "run")
    assert str(shard.name) in line and "truncated" in line and "mert labels" in line


def edit_info(corpus, **changes):
    path = train_shard(corpus, ".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_labels_of_another_rate(corpus, tmp_path):
    edit_info(corpus, frame_rate=50.0)
    line = refusal(corpus, tmp_path / "run")
    assert train_shard(corpus, ".npy").name in line and "50.0" in line and "75.0" in line


def test_labels_of_another_manifest(corpus, tmp_path):
    edit_info(corpus, manifest_sha256="0" * 64)
    line = refusal(corpus, tmp_path / "run")
    assert train_shard(corpus, ".npy").name in line and "another manifest" in line


def test_wrong_sample_rate(corpus, tmp_path):
    line = refusal(corpus, tmp_path / "run", "task.sample_rate=16000")
    assert "16000" in line and "24000" in line


def test_code_out_of_range(corpus, tmp_path):
    for split in ("train", "valid"):
        path = corpus / "labels" / f"{split}.encodec" / "shard-00000-of-00001.json"
        edited = {**json.loads(path.read_text()), "num_classes": [4, 4, 4], "content_sha256": ""}  # as older versions wrote it
        path.write_text(json.dumps(edited))
    line = refusal(corpus, tmp_path / "run")
    assert "codebook" in line and "0..3 allowed" in line


def test_audio_that_is_gone(corpus, tmp_path):
    for path in (corpus / "audio").glob("train*.flac"):
        path.unlink()
    line = refusal(corpus, tmp_path / "run", "dataset.num_workers=1")
    assert "train" in line and ".flac" in line


@pytest.mark.parametrize("given, mend", [("missing", "`mert manifest AUDIO_DIR "), ("manifest/train.tsv", "task.data=")])
def test_a_folder_of_manifests_that_is_none(corpus, tmp_path, given, mend):
    line = refusal(corpus, tmp_path / "run", f"task.data={corpus}/{given}", "dataset.disable_validation=false")
    assert line.startswith(f"task.data={corpus}/{given}: ") and mend in line.partition(": ")[2]


def test_a_package_that_is_not_there(corpus, tmp_path):
    result = runs.train(corpus, tmp_path / "run", "common.user_dir=/missing")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "\ncommon.user_dir=/missing: no such folder; leave it out for the installed package" in result.stderr


def test_training_that_would_train_nothing(corpus, tmp_path):
    line = refusal(corpus, tmp_path / "run", "optimization.stop_min_lr=1")
    assert line.startswith("optimization.stop_min_lr=1: the learning rate starts at 0, not above it")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_figure_that_is_not_logged(corpus, tmp_path, processes):
    several = f"distributed_training.distributed_world_size={processes}"
    line = refusal(corpus, tmp_path / "run", "checkpoint.best_checkpoint_metric=foo", "dataset.disable_validation=false", several)
    assert line.startswith("checkpoint.best_checkpoint_metric=foo: no figure of a validation; allowed: loss, ")
    assert not list((tmp_path / "run").rglob("checkpoint*.pt"))


def test_unknown_configuration_key(corpus, tmp_path):
    line = refusal(corpus, tmp_path / "run", "+model.mask_probability=0.5")
    assert "mask_probability" in line and "mask_prob" in line


def test_checkpoint_of_another_configuration(corpus, tmp_path):
    assert runs.train(corpus, tmp_path / "run", *ONE_UPDATE).returncode == 0
    kept = (tmp_path / "run" / "checkpoints" / "checkpoint_last.pt").read_bytes()
    line = refusal(corpus, tmp_path / "run", "model.encoder_embed_dim=64")
    assert "checkpoint_last.pt" in line and "encoder_embed_dim 32 -> 64" in line
    assert (tmp_path / "run" / "checkpoints" / "checkpoint_last.pt").read_bytes() == kept


def test_checkpoint_that_would_run_code_is_refused_unexecuted(corpus, tmp_path):
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save({"model": {}, "extra": Payload(tmp_path / "executed")}, checkpoints / "checkpoint_last.pt")
    line = refusal(corpus, tmp_path / "run")
    assert "checkpoint_last.pt" in line and "refused" in line
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_folder_in_use_is_left_as_it_is(pristine, tmp_path, processes):
    """Before Hydra writes the settings of the start that is refused, and opens its log."""
    with sole_use(tmp_path / "run" / ".hydra", "wait"):
        result = runs.train(pristine, tmp_path / "run", *ONE_UPDATE, f"distributed_training.distributed_world_size={processes}")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert f"{tmp_path}/run/.hydra: in use by process" in result.stderr and "give another hydra.run.dir" in result.stderr
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == [".lock"]


def test_the_other_processes_of_a_launch_write_no_settings(monkeypatch, tmp_path):
    """They would, before the first one is refused."""
    output = {"runtime": {"output_dir": str(tmp_path)}, "output_subdir": ".hydra", "job_logging": {"root": None}}
    for variable, rank, taken in (("RANK", "0", True), ("RANK", "1", False), ("SLURM_PROCID", "3", False)):
        cfg, seen = OmegaConf.create({"distributed_training": {"distributed_rank": 0}, "hydra": output}), []
        monkeypatch.setenv(variable, rank)
        take_before_writing(lambda log_config, verbose: seen.append(log_config))(cfg.hydra.job_logging)
        assert (cfg.hydra.output_subdir, seen) == (".hydra" if taken else None, [cfg.hydra.job_logging])
        monkeypatch.delenv(variable)
    take_before_writing(lambda log_config, verbose: None)(None)  # gives back
