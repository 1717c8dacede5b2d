"""Reads what a training run logged: one JSON object per line, as fairseq writes it with common.log_format=json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

from omegaconf import DictConfig, OmegaConf

from mert_fairseq.errors import MertError

LOG_NAME = "hydra_train.log"  # fairseq-hydra-train's log file in the run folder
Record = Dict[str, float]


@dataclass
class RunLog:
    """Attributes: records of training and of validation by update; where an update was run twice, the later record stands."""

    train: Dict[int, Record]
    valid: Dict[int, Record]

    def curve(self, key: str, split: str = "valid") -> Tuple[List[int], List[float]]:
        """(updates, values) of one logged key."""
        records = self.valid if split == "valid" else self.train
        points = [(update, record[key]) for update, record in sorted(records.items()) if key in record]
        return [update for update, _ in points], [value for _, value in points]


def read_run_log(run_dir: Path) -> RunLog:
    """Raises MertError if the folder holds no log, or no validation was run yet."""
    path = Path(run_dir) / LOG_NAME
    if not path.is_file():
        raise MertError(f"{path}: no such log; give the run folder of fairseq-hydra-train (hydra.run.dir)")
    log = RunLog({}, {})
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            record = _record_of(line)
            if "valid_num_updates" in record:
                log.valid[int(record["valid_num_updates"])] = _without_prefix(record, "valid_")
            elif "num_updates" in record:
                log.train[int(record["num_updates"])] = record
    if not log.valid:
        raise MertError(f"{path}: no validation logged yet; let the run reach dataset.validate_interval_updates")
    return log


def _record_of(line: str) -> Record:
    """The JSON object at the end of a log line with its numbers as floats; {} if there is none."""
    start = line.find('{"')
    try:
        fields = json.loads(line[start:]) if start >= 0 else {}
    except json.JSONDecodeError:
        return {}
    numbers = {}
    for key, value in fields.items():
        try:
            numbers[key] = float(value)
        except (TypeError, ValueError):
            continue
    return numbers


def _without_prefix(record: Record, prefix: str) -> Record:
    return {key[len(prefix) :] if key.startswith(prefix) else key: value for key, value in record.items()}


def read_run_config(run_dir: Path) -> DictConfig:
    """The configuration Hydra saved beside the log, folders made absolute; labels lie with the data if no folder was named."""
    hydra_dir = Path(run_dir) / ".hydra"
    for name in ("config.yaml", "hydra.yaml"):
        if not (hydra_dir / name).is_file():
            raise MertError(f"{hydra_dir / name}: missing; give the run folder of fairseq-hydra-train")
    config = OmegaConf.load(hydra_dir / "config.yaml")
    cwd = Path(OmegaConf.load(hydra_dir / "hydra.yaml").hydra.runtime.cwd)
    config.task.label_dir = str(cwd / (config.task.get("label_dir") or config.task.data))
    config.task.data = str(cwd / config.task.data)
    return config
