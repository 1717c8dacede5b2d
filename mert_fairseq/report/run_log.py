"""Reads what a training run left: its log, one JSON object per line (common.log_format=json), and the configuration Hydra saved."""

import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mert_fairseq.errors import MertError
from mert_fairseq.json_text import parse_json
from mert_fairseq.tasks.alarm_line import Alarm, read_alarm
from mert_fairseq.tasks.versions import read_versions

#: What reading a damaged YAML file has been seen to raise.
UNREADABLE = (OmegaConfBaseException, YAMLError, AttributeError, TypeError, ValueError, OSError, RecursionError)
LOG_NAME = "hydra_train.log"  # fairseq-hydra-train's log file in the run folder
Record = Dict[str, float]
TIME = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")
DONE = "][INFO] - done training in "


@dataclass
class RunLog:
    """What the log says; where an update was run twice, the later record stands.

    Attributes:
        train, valid: records of training and of validation by update.
        alarms: in the order of their updates.
        versions: of the last start; {} where none were logged.
        last_time: of the last line that has one.
        done: whether the last start came to its end.
    """

    train: Dict[int, Record]
    valid: Dict[int, Record]
    alarms: List[Alarm] = field(default_factory=list)
    versions: Dict[str, str] = field(default_factory=dict)
    last_time: Optional[datetime] = None
    done: bool = False

    def curve(self, key: str, split: str = "valid") -> Tuple[List[int], List[float]]:
        """(updates, values) of one logged key."""
        records = self.valid if split == "valid" else self.train
        points = [(update, record[key]) for update, record in sorted(records.items()) if key in record]
        return [update for update, _ in points], [value for _, value in points]

    def latest(self, key: str, split: str = "train") -> Optional[float]:
        """The last value of one logged key; None if there is none."""
        _, values = self.curve(key, split)
        return values[-1] if values else None

    @property
    def num_codebooks(self) -> int:
        """Codebooks whose masked frames were logged, in training or in validation."""
        keys = {key for records in (self.train, self.valid) for record in records.values() for key in record}
        return sum(bool(re.fullmatch(r"loss_m_\d+", key)) for key in keys)

    @property
    def last_update(self) -> int:
        """The last update that was logged."""
        return max([*self.train, *self.valid], default=0)


def read_run_log(run_dir: Path) -> RunLog:
    """Raises MertError if the folder holds no log, or nothing was logged yet."""
    path = Path(run_dir) / LOG_NAME
    if not path.is_file():
        raise MertError(f"{path}: no such log; give the run folder of fairseq-hydra-train (hydra.run.dir)")
    log, alarms = RunLog({}, {}), {}
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            _add_record(log, _record_of(line))
            alarm = read_alarm(line)
            if alarm is not None:
                alarms[alarm.update, alarm.name, alarm.subjects, alarm.over] = alarm
            log.versions = read_versions(line) or log.versions
            log.last_time = _time_of(line) or log.last_time
            log.done = DONE in line or (log.done and "][train_inner][" not in line)
    if not log.train and not log.valid:
        raise MertError(f"{path}: nothing logged yet; let the run reach common.log_interval updates (common.log_format=json)")
    log.alarms = sorted(alarms.values(), key=lambda alarm: alarm.update)
    return log


def _add_record(log: RunLog, record: Record) -> None:
    update = record.get("valid_num_updates", record.get("num_updates", math.nan))
    if not math.isfinite(update):
        return
    if "valid_num_updates" in record:
        log.valid[int(update)] = _without_prefix(record, "valid_")
    else:
        log.train[int(update)] = record


def _record_of(line: str) -> Record:
    """The JSON object at the end of a log line with its numbers as floats; {} if there is none."""
    start = line.find('{"')
    try:
        fields = parse_json(line[start:]) if start >= 0 else {}
    except ValueError:
        return {}
    numbers = {}
    for key, value in fields.items():
        try:
            numbers[key] = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
    return numbers


def _time_of(line: str) -> Optional[datetime]:
    found = TIME.match(line)
    try:
        return datetime.fromisoformat(found[1]) if found else None
    except ValueError:  # no such day
        return None


def _without_prefix(record: Record, prefix: str) -> Record:
    return {key[len(prefix) :] if key.startswith(prefix) else key: value for key, value in record.items()}


def read_run_config(run_dir: Path) -> DictConfig:
    """The configuration Hydra saved beside the log, folders made absolute; labels lie with the data if no folder was named."""
    hydra_dir = Path(run_dir) / ".hydra"
    for name in ("config.yaml", "hydra.yaml"):
        if not (hydra_dir / name).is_file():
            raise MertError(f"{hydra_dir / name}: missing; give the run folder of fairseq-hydra-train")
    try:
        config = OmegaConf.load(hydra_dir / "config.yaml")
        cwd = Path(OmegaConf.load(hydra_dir / "hydra.yaml").hydra.runtime.cwd)
        config.task.label_dir = str(cwd / (config.task.get("label_dir") or config.task.data))
        config.task.data, config.task.labels = str(cwd / config.task.data), _names(config.task.labels)
    except UNREADABLE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MertError(f"{hydra_dir}: not the configuration of a training run ({reason}); give the run folder as it was written") from None
    return config


def _names(labels: object) -> List[str]:
    """Raises ValueError for anything but a list of names: a text would be taken for one of letters, a mapping for its keys."""
    if not isinstance(labels, ListConfig) or not labels or not all(isinstance(name, str) and name for name in labels):
        raise ValueError(f"task.labels {str(labels)[:80]!r}: a list of names wanted, e.g. [encodec]")
    return list(labels)
