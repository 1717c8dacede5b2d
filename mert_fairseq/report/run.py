"""A run as the report sees it: its log, its configuration, and its baselines where the targets are at hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from omegaconf import DictConfig, OmegaConf

from mert_fairseq.errors import MertError
from mert_fairseq.report.learning import LearningReport, learned
from mert_fairseq.report.run_log import UNREADABLE, RunLog, read_run_config, read_run_log

#: Parts of fairseq's configuration that say nothing of this kind of run.
IRRELEVANT = {"hydra", "job_logging_cfg", "_name", "bmuf", "bpe", "common_eval", "ema", "eval_lm", "generation", "interactive", "scoring"}
IRRELEVANT |= {"tokenizer"}


@dataclass
class Run:
    """Attributes:
    learning: the run against its baselines; None if there are none.
    without: why there are none.
    """

    run_dir: Path
    log: RunLog
    config: DictConfig
    learning: Optional[LearningReport]
    without: str = ""

    @property
    def name(self) -> str:
        """The folder's."""
        return self.run_dir.resolve().name

    @property
    def state(self) -> str:
        """How far it is."""
        most = self.setting("optimization.max_update")
        if isinstance(most, (int, float)) and 0 < most <= self.log.last_update:
            return "finished"
        return "ended" if self.log.done else "running, or broken off"

    def setting(self, key: str, default: Any = None) -> Any:
        """A setting by its dotted name; the default where it is missing or cannot be resolved."""
        return self.settings.get(key, default)

    @property
    def settings(self) -> Dict[str, Any]:
        """All settings by their dotted names, as they were given: interpolations are not resolved."""
        container = OmegaConf.to_container(self.config, resolve=False)
        return dict(_flat({name: part for name, part in container.items() if name not in IRRELEVANT}))

    @property
    def overrides(self) -> List[str]:
        """What the command line set."""
        path = self.run_dir / ".hydra" / "overrides.yaml"
        try:
            return [str(override) for override in OmegaConf.load(path)] if path.is_file() else []
        except UNREADABLE as error:
            raise MertError(f"{path}: cannot be read ({type(error).__name__}); remove it, or give the folder as it was written") from None

    def most_frequent(self, codebook: int) -> Optional[float]:
        """Accuracy of always guessing the most frequent code: as validation counted it on its own frames, else of the whole store."""
        counted = self.log.latest(f"most_frequent_m_{codebook}", "valid")
        if counted is None and self.learning is not None and codebook < len(self.learning.codes):
            return self.learning.codes[codebook].accuracy_heldout
        return counted


def read_run(run_dir: Path) -> Run:
    """Raises MertError for a folder that holds no run or one that has logged nothing; without targets it says why in `without`."""
    log, config = read_run_log(run_dir), read_run_config(run_dir)
    try:
        return Run(Path(run_dir), log, config, learned(run_dir, log, config))
    except MertError as error:
        return Run(Path(run_dir), log, config, None, str(error))


def _flat(settings: Dict[str, Any], prefix: str = ""):
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
