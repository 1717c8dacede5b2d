"""Arguments of fairseq-hydra-train, tried before a job is queued for them: what Hydra would refuse is refused at once."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List

from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mert_fairseq.errors import MertError

PROGRAM = "fairseq-hydra-train"
OUTPUT_DIR = "${hydra:runtime.output_dir}"
LOG_LINE = re.compile(r"[A-Z]+:[\w.]+:")
CONFIGS = Path(__file__).parents[1] / "config"
FOLDERS = ("task.data", "task.label_dir")


@dataclass(frozen=True)
class TrainingCommand:
    """A training as Hydra understands it.

    Attributes:
        arguments: of fairseq-hydra-train.
        run_dir: its run folder, always the same.
        last: its newest checkpoint.
    """

    arguments: List[str]
    run_dir: Path
    last: Path


def read_training_command(arguments: List[str]) -> TrainingCommand:
    """Lets Hydra compose the configuration, without training.

    Raises:
        MertError: Hydra refuses it, a value is missing, a folder is not there, or the run folder's name changes with the time.
    """
    _check_form(arguments)
    cfg = _compose(arguments)
    missing = sorted(_missing(OmegaConf.to_container(cfg, resolve=False), ""))
    if missing:
        raise MertError(f"{', '.join(missing)}: no value; add {' '.join(f'{key}=...' for key in missing)}")
    for key in FOLDERS:
        folder = OmegaConf.select(cfg, key)
        if folder is not None and not Path(folder).is_dir():
            raise MertError(f"{key}={folder}: no such folder; make it with `mert manifest` and `mert labels`")
    run_dir = _run_dir(cfg)
    save_dir = OmegaConf.to_container(cfg.checkpoint, resolve=False)["save_dir"].replace(OUTPUT_DIR, str(run_dir))
    return TrainingCommand(list(arguments), run_dir, Path(save_dir) / "checkpoint_last.pt")


def _check_form(arguments: List[str]) -> None:
    given = get_args_parser().parse_known_args(arguments)[0]
    if given.multirun:
        raise MertError(f"{PROGRAM} --multirun submits its jobs itself: give it hydra/launcher=submitit_slurm, without submit.py")
    shipped = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    elsewhere = given.config_dir or any("hydra.searchpath" in word for word in given.overrides)
    if given.config_name not in shipped and not elsewhere:  # fairseq takes any name, with none of the settings
        raise MertError(f"--config-name {given.config_name}: unknown; allowed: {', '.join(shipped)}, or yours with --config-dir")


def _missing(values: Dict[str, Any], prefix: str) -> Iterator[str]:
    """Keys without a value, but for Hydra's own, which it fills as it runs."""
    for key, value in values.items():
        if isinstance(value, dict) and key != "hydra":
            yield from _missing(value, f"{prefix}{key}.")
        elif value == "???":
            yield f"{prefix}{key}"


def _compose(arguments: List[str]) -> DictConfig:
    """What the program itself makes of the arguments; in a process of its own, as it changes the interpreter it runs in."""
    code = "import sys; from fairseq_cli.hydra_train import cli_main; cli_main()"
    command = [sys.executable, "-c", code, *arguments, "--cfg", "all"]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    shown = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=quiet)
    if shown.returncode:
        said = [line.strip() for line in shown.stderr.splitlines() if line.strip() and not LOG_LINE.match(line)]
        raise MertError(f"{PROGRAM} refuses its arguments: {'; '.join(said[:2]) or 'no reason given'}")
    return OmegaConf.create(shown.stdout)


def _run_dir(cfg: DictConfig) -> Path:
    try:
        return Path(cfg.hydra.run.dir)
    except OmegaConfBaseException:
        written = OmegaConf.to_container(cfg.hydra.run, resolve=False)["dir"]
        raise MertError(f"hydra.run.dir={written}: must stay the same when the job starts again; give --run-dir DIR") from None
