"""What a command line says of tasks and their data."""

import argparse
from pathlib import Path
from typing import Dict, List, Tuple

from mert_fairseq.errors import MertError
from mert_fairseq.probe.registry import TASKS, task_named
from mert_fairseq.probe.task import Task


def add_data(parser: argparse.ArgumentParser) -> None:
    """Options that say where data is and how it is read."""
    parser.add_argument("--data", type=Path, help="the dataset's folder, or the one that holds it under its name")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="another reading of the protocol, see --list")
    parser.add_argument("--any-counts", action="store_true", help="go on with counts that are not the published ones")


def tasks_named(names: List[str]) -> List[Task]:
    """Rows of those names; `all` alone is every one."""
    return list(TASKS.values()) if names == ["all"] else [task_named(name) for name in names]


def given_options(given: List[str], tasks: List[Task]) -> Dict[str, Dict[str, str]]:
    """Options by task; one that no task has is refused."""
    pairs: List[Tuple[str, str]] = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise MertError(f"--option {text}: NAME=VALUE wanted")
        if not any(option.name == name for task in tasks for option in task.options):
            known = sorted({option.name for task in tasks for option in task.options})
            raise MertError(f"--option {text}: no task given has {name}; they have {', '.join(known) or 'none'}")
        pairs.append((name, value))
    return {task.name: {name: value for name, value in pairs if any(option.name == name for option in task.options)} for task in tasks}
