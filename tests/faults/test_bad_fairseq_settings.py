"""Settings of fairseq's own that cannot work: one line before anything is built, or before the first update where only then it shows."""

from types import SimpleNamespace

import pytest
import torch
import training_runs as runs
from fairseq.dataclass.configs import FairseqConfig
from fairseq.optim.adam import FairseqAdamConfig
from fairseq.optim.lr_scheduler.polynomial_decay_schedule import PolynomialDecayLRScheduleConfig
from omegaconf import OmegaConf

from mert_fairseq.errors import MertError
from mert_fairseq.launch.best_metric import check_best_metric, logged_figures
from mert_fairseq.launch.fairseq_settings import check_fairseq_settings, check_manifests
from mert_fairseq.launch.optimizer_settings import check_first_rate
from mert_fairseq.launch.run_folder import take_before_writing

GROUPS = ("common", "dataset", "optimization", "distributed_training", "checkpoint")
REFUSED = (
    "dataset.num_workers=-1", "dataset.max_tokens=0", "dataset.max_tokens=-5", "dataset.batch_size=0", "dataset.max_tokens_valid=0",
    "dataset.batch_size_valid=0", "optimization.update_freq=[0]", "optimization.update_freq=[1,-1]", "optimization.update_freq=[]",
    "optimization.lr=[nan]", "optimization.lr=[-0.1]", "optimization.lr=[0.1,inf]", "optimization.lr=[]", "common.seed=-1",
    "distributed_training.distributed_port=70000", "checkpoint.write_checkpoints_asynchronously=true",
    "dataset.required_batch_size_multiple=0", "dataset.required_batch_size_multiple=-8", "dataset.max_tokens=null",
    "dataset.validate_interval=0", "common.log_interval=0", "common.log_interval=-1", "checkpoint.save_interval=0",
    "optimization.max_update=0", "optimization.max_update=-5", "optimization.clip_norm=nan", "optimization.clip_norm=-1",
    "optimizer.adam_betas=nonsense", "optimizer.adam_betas='(0.9,)'", "optimizer.adam_betas='(2.0,3.0)'", "optimizer.adam_betas=0.9",
    "optimizer.adam_betas=[0.9,1.0]", "optimizer.adam_betas=[0.9,nan]", "optimizer.adam_betas=[-0.1,0.9]", "optimizer.adam_betas=[a,b]",
    "optimizer.adam_betas=[0.9,0.98,0.99]", "optimizer.adam_betas=null", "optimizer.adam_eps=-1", "optimizer.adam_eps=0",
    "optimizer.adam_eps=nan", "optimizer.weight_decay=nan", "lr_scheduler.warmup_updates=-5", "lr_scheduler.power=-1",
    "lr_scheduler.end_learning_rate=-1", "lr_scheduler.total_num_update=0", "checkpoint.save_dir=''", "common.log_file=/proc/x",
    "common.log_file=/missing/log", "common.log_file=/", "common.quantization_config_path=/x",
)  # fmt: skip
TAKEN = (
    "optimizer.adam_betas='(0.9, 0.98)'", "optimizer.adam_betas=[0,0.98]", "optimizer.adam_eps=1e-30", "optimization.clip_norm=0",
    "optimization.clip_norm=inf", "lr_scheduler.warmup_updates=0", "dataset.required_batch_size_multiple=1", "common.log_interval=1",
    "optimization.max_update=1",
)  # fmt: skip


def settings(override=None):
    """All groups that the check looks at, interpolated as fairseq does before it calls anything."""
    groups = {group: OmegaConf.structured(FairseqConfig.__dataclass_fields__[group].default) for group in GROUPS}
    groups |= {"optimizer": OmegaConf.structured(FairseqAdamConfig), "lr_scheduler": OmegaConf.structured(PolynomialDecayLRScheduleConfig)}
    good = OmegaConf.merge(groups, {"dataset": {"max_tokens": 1000}, "optimization": {"max_update": 10}, "common": {"tpu": False}})
    OmegaConf.set_struct(good, False)
    return good if override is None else OmegaConf.merge(good, OmegaConf.from_dotlist([override]))


@pytest.mark.parametrize("override", REFUSED)
def test_a_setting_of_fairseqs(override, faults):
    """Before anything is built."""
    with pytest.raises(MertError) as refusal:
        check_fairseq_settings(settings(override))
    said = str(refusal.value)
    faults.record("settings: fairseq's", "refused" if override.partition("=")[0] in said and "\n" not in said else "silent", said)


def test_settings_that_work_are_taken(tmp_path):
    for override in (None, *TAKEN, f"common.log_file={tmp_path}/log", f"common.quantization_config_path={__file__}"):
        check_fairseq_settings(settings(override))
    without = settings()
    without.optimizer, without.lr_scheduler = None, None
    check_fairseq_settings(without)


def test_the_manifests_folder(tmp_path, faults):
    (tmp_path / "train.tsv").touch()
    check_manifests(OmegaConf.create({"task": {"data": str(tmp_path)}}))
    check_manifests(OmegaConf.create({"task": {"_name": "another"}}))
    wanted = {"missing": f"`mert manifest AUDIO_DIR {tmp_path}/missing`", "train.tsv": f"wanted: task.data={tmp_path}"}
    for name, mend in wanted.items():
        with pytest.raises(MertError) as refusal:
            check_manifests(OmegaConf.create({"task": {"data": f"{tmp_path}/{name}"}}))
        said = str(refusal.value)
        told = said.startswith(f"task.data={tmp_path}/{name}: ") and said.endswith(mend)
        faults.record("settings: fairseq's", "refused" if told else "silent", said)


@pytest.mark.parametrize("rate, least, refused", [(0, 1, True), (0, 0, True), (1e-3, 1e-3, True), (1e-3, 1e-4, False), (0, -1, False)])
def test_a_least_rate_that_trains_nothing(rate, least, refused, faults):
    cfg = OmegaConf.create({"optimization": {"stop_min_lr": least}})
    if not refused:
        return check_first_rate(rate, cfg)
    with pytest.raises(MertError, match=f"optimization.stop_min_lr={least:g}: the learning rate starts at {rate:g}, not above") as refusal:
        check_first_rate(rate, cfg)
    faults.record("settings: fairseq's", "refused", str(refusal.value))


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA's profiler works")
def test_a_profile_of_a_cpu(tmp_path, faults):
    output = {"runtime": {"output_dir": str(tmp_path)}, "output_subdir": ".hydra", "job_logging": {"root": None}}
    cfg = OmegaConf.create({"distributed_training": {"distributed_rank": 0}, "hydra": output, "common": {"profile": True}})
    with pytest.raises(MertError, match="common.profile=true") as refusal:
        take_before_writing(lambda log_config, verbose: None)(cfg.hydra.job_logging)
    faults.record("settings: fairseq's", "refused" if not list(tmp_path.iterdir()) else "lost", str(refusal.value))


def trainer(metric, disable_validation=False):
    """What is looked at of fairseq's."""
    model = SimpleNamespace(num_classes=[36] * 2, skip_masked=False, skip_nomask=True, encoder_cqt_model=None)
    groups = {"checkpoint": {"best_checkpoint_metric": metric}, "dataset": {"disable_validation": disable_validation}}
    return SimpleNamespace(cfg=OmegaConf.create({**groups, "model": {"_name": "mert"}}), get_model=lambda: model)


def test_the_best_checkpoints_figure(faults):
    for metric in ("foo", "", "loss_m_2", "loss_u_0", "loss_cqt_m", "Loss"):
        with pytest.raises(MertError) as refusal:
            check_best_metric(trainer(metric))
        said = str(refusal.value)
        named = said.startswith(f"checkpoint.best_checkpoint_metric={metric}: ") and "allowed: loss, " in said and "\n" not in said
        faults.record("settings: fairseq's", "refused" if named else "silent", said)
    for metric in ("loss", "loss_codes_m", "correct_m_1", "perplexity_m_0"):
        check_best_metric(trainer(metric))
    check_best_metric(trainer("foo", disable_validation=True))


def test_the_figures_are_those_that_a_validation_logs(tmp_path):
    """All of them, in the log of a real run, with both kinds of frames predicted."""
    corpus = runs.build_corpus(tmp_path / "corpus", num_train=2, num_valid=1, seconds=3)
    both = ["model.skip_nomask=false", "criterion.pred_nomask_weight=0.5", "checkpoint.best_checkpoint_metric=correct_u_2"]
    result = runs.train(corpus, tmp_path / "run", "optimization.max_update=1", "dataset.num_workers=0", *both)
    assert result.returncode == 0, result.stderr[-2000:]
    (logged,) = runs.logged_numbers(tmp_path / "run")["valid"].values()
    figures = logged_figures(runs.NUM_CODEBOOKS, skip_masked=False, skip_nomask=False, with_cqt=True)
    assert set(figures) == set(logged) - {"epoch", "num_updates", "wpb", "bsz", "best_correct_u_2"}
