"""Site values: what a cluster wants to be told, read from the one file that the plain sbatch form reads as well."""

import re
import shlex
from pathlib import Path
from typing import Any, Dict, List

from mert_fairseq.errors import MertError

#: Name in the file without SITE_ -> submitit's parameter and its type.
PARAMETERS = {
    "PARTITION": ("slurm_partition", str),
    "ACCOUNT": ("slurm_account", str),
    "CPUS_PER_TASK": ("cpus_per_task", int),
    "MEM_GB": ("mem_gb", int),
    "TIMEOUT_MIN": ("timeout_min", int),
    "GPUS_PER_NODE": ("gpus_per_node", int),
    "SETUP": ("slurm_setup", str),
    "OPTIONS": ("slurm_additional_parameters", str),
}
DEFAULTS: Dict[str, Any] = {"cpus_per_task": 4, "mem_gb": 8, "timeout_min": 240}
ASSIGNMENT = re.compile(r"\s*(?:export\s+)?SITE_(\w+)=(.*)")


def read_site(path: Path) -> Dict[str, Any]:
    """submitit's parameters from a shell file of `SITE_NAME=value` lines; DEFAULTS and the cluster's own stand for what it lacks.

    Only these lines are read, nothing is run: variables are not expanded, except in SITE_SETUP, which a shell runs on the node.

    Raises:
        MertError: no such file, an unknown name, a value of the wrong type; the line is named.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MertError(f"--site {path}: cannot be read ({error}); start from slurm/site.sh") from None
    parameters = {}
    for number, line in enumerate(lines, start=1):
        found = ASSIGNMENT.match(line)
        if found:
            name, value = found[1], _value(found[2], f"{path}, line {number}")
            if name not in PARAMETERS:
                raise MertError(f"{path}, line {number}: SITE_{name} is not known; allowed: SITE_{', SITE_'.join(PARAMETERS)}")
            parameter = PARAMETERS[name][0]
            if value or parameter in DEFAULTS:
                parameters[parameter] = _parameter(name, value, f"{path}, line {number}")
    return parameters


def _value(text: str, where: str) -> str:
    """What a shell would assign, without expansion."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise MertError(f"{where}: {text!r} cannot be read ({error}); write SITE_NAME='value' on one line") from None
    if len(words) > 1:
        raise MertError(f"{where}: {text!r} is several words; put them in quotes")
    return words[0] if words else ""


def _parameter(name: str, value: str, where: str) -> Any:
    if PARAMETERS[name][1] is int:
        if not value.isdecimal() or int(value) == 0:
            raise MertError(f"{where}: SITE_{name}={value!r}; need a whole number, at least 1" + " or none" * (name == "GPUS_PER_NODE"))
        return int(value)
    if name == "SETUP":
        return [value]
    return _options(shlex.split(value), where) if name == "OPTIONS" else value


def _options(words: List[str], where: str) -> Dict[str, Any]:
    """sbatch's long options as submitit wants them: --qos=long --exclusive -> {"qos": "long", "exclusive": True}."""
    options = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise MertError(f"{where}: {word!r} in SITE_OPTIONS; write sbatch's long options as --name=value or --name")
        options[name] = value if equals else True
    return options
