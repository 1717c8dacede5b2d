"""The short account of a run: every codebook and the CQT against their baselines, as a table and a picture."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import List, Optional

from omegaconf import DictConfig

from mert_fairseq.errors import MertError
from mert_fairseq.report.baselines import CodeBaseline, CQTBaseline, code_baselines, cqt_baseline_of, open_stores
from mert_fairseq.report.run_log import LOG_NAME, RunLog, read_run_config, read_run_log


@dataclass
class LearningReport:
    """A run's validation curves and what they are held against."""

    run_dir: Path
    log: RunLog
    codes: List[CodeBaseline]
    cqt: Optional[CQTBaseline]

    @property
    def best_update(self) -> int:
        """The validated update with the lowest cross-entropy summed over codebooks."""
        return min(self.log.valid, key=lambda update: self.log.valid[update]["loss_codes_m"])

    def gain(self, update: int, codebook: int) -> float:
        """Nats below the held-out entropy of one codebook."""
        return self.codes[codebook].entropy - self.log.valid[update][f"loss_m_{codebook}"]

    def total_gain(self, update: int) -> float:
        """Nats below the held-out entropies, summed over codebooks."""
        return sum(baseline.entropy for baseline in self.codes) - self.log.valid[update]["loss_codes_m"]

    def cqt_ratio(self, update: int) -> Optional[float]:
        """CQT error over that of the held-out tracks' own mean spectrum."""
        error = self.log.valid[update].get("loss_cqt_m")
        return None if self.cqt is None or error is None else error / self.cqt.mse_heldout


def read_report(run_dir: Path) -> LearningReport:
    """Reads log, configuration and target stores of a run folder."""
    return learned(run_dir, read_run_log(run_dir), read_run_config(run_dir))


def learned(run_dir: Path, log: RunLog, config: DictConfig) -> LearningReport:
    """The same of a log and a configuration that were read.

    Raises:
        MertError: no validation was run yet, the stores are gone, or they are of other codebooks.
    """
    if not log.valid:
        raise MertError(f"{Path(run_dir) / LOG_NAME}: no validation logged yet; let the run reach dataset.validate_interval_updates")
    task = config.task
    train, valid = (open_stores(task.data, task.label_dir, split, task.labels, "codes") for split in ("train", "valid"))
    codes = code_baselines(train, valid)
    keys = {"loss_codes_m", *(f"{name}_m_{codebook}" for codebook in range(len(codes)) for name in ("loss", "correct"))}
    records = {update: record for update, record in log.valid.items() if keys <= record.keys()}
    if not records:
        raise MertError(f"{run_dir}: no validation of {len(codes)} codebooks in its log; give a run trained on {task.label_dir}")
    return LearningReport(Path(run_dir), replace(log, valid=records), codes, cqt_baseline_of(task, task.get("cqt_labels")))


def table(report: LearningReport) -> str:
    """First, best and last validation of the run beside the baselines; held-out tracks, masked frames only."""
    updates = sorted(report.log.valid)
    first, best, last = updates[0], report.best_update, updates[-1]
    head = f"update {first} -> {last}, best {best} (held-out tracks, masked frames only; nats)"
    lines = [head, "codebook  cross-entropy first -> best   entropy   below   accuracy %  most frequent code % (train's, held-out's)"]
    for codebook, baseline in enumerate(report.codes):
        before, after = (report.log.valid[update] for update in (first, best))
        lines.append(
            f"{codebook:8}{before[f'loss_m_{codebook}']:15.2f} -> {after[f'loss_m_{codebook}']:.2f}{baseline.entropy:17.2f}"
            f"{report.gain(best, codebook):8.2f}{100 * after[f'correct_m_{codebook}']:13.2f}"
            f"{100 * baseline.accuracy_train:14.2f}, {100 * baseline.accuracy_heldout:.2f}"
        )
    return "\n".join([*lines, *closing_lines(report)])


def closing_lines(report: LearningReport) -> List[str]:
    """The best validation in one sentence for all codebooks, and one for the CQT."""
    first, best = min(report.log.valid), report.best_update
    entropy, cross = (sum(getattr(baseline, name) for baseline in report.codes) for name in ("entropy", "cross_entropy"))
    best_sum = report.log.valid[best]["loss_codes_m"]
    summed = (
        f"summed: {best_sum:.2f}, {report.total_gain(best):.2f} below the held-out entropy {entropy:.2f}, "
        f"{cross - best_sum:.2f} below the training tracks' frequencies {cross:.2f}"
    )
    return [summed, *_cqt_lines(report, first, best)]


def _cqt_lines(report: LearningReport, first: int, best: int) -> List[str]:
    if "loss_cqt_m" not in report.log.valid[best]:
        return ["CQT: not predicted by this run (model.audio_cqt_loss_m=false)"]
    if report.cqt is None:
        return ["CQT: no store to take a baseline from; make one with `mert labels cqt` and set task.cqt_labels=cqt"]
    before, after = (report.log.valid[update]["loss_cqt_m"] for update in (first, best))
    return [
        f"CQT error: {before:.4f} -> {after:.4f}; mean spectrum {report.cqt.mse_heldout:.4f} (held-out's own; training tracks' "
        f"{report.cqt.mse_train:.4f}); ratio {report.cqt_ratio(best):.3f} ({after / report.cqt.mse_train:.3f})"
    ]
