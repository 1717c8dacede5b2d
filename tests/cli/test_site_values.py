"""The values of a site, and the plain sbatch form that reads them as well."""

import os
import subprocess
from pathlib import Path

import pytest

from mert_fairseq.cli.site import DEFAULTS, PARAMETERS, read_site
from mert_fairseq.errors import MertError

SLURM = Path(__file__).parents[2] / "slurm"


def site(folder, text):
    (folder / "site.sh").write_text(text)
    return read_site(folder / "site.sh")


def test_site_values_are_read_without_being_run(tmp_path):
    text = """# values
    SITE_PARTITION=gpu # comment
    export SITE_ACCOUNT='my project'
    SITE_CPUS_PER_TASK="16"
    SITE_GPUS_PER_NODE=
    SITE_SETUP='module load x; . $HOME/env'
    SITE_OPTIONS="--qos=long --exclusive --constraint=a&b"
    SITE="--cpus-per-task=$SITE_CPUS_PER_TASK $(touch ran)"
    OTHER=$(touch ran)
    """
    assert site(tmp_path, text) == {
        "slurm_partition": "gpu",
        "slurm_account": "my project",
        "cpus_per_task": 16,
        "slurm_setup": ["module load x; . $HOME/env"],
        "slurm_additional_parameters": {"qos": "long", "exclusive": True, "constraint": "a&b"},
    }
    assert not (tmp_path / "ran").exists() and not Path("ran").exists()


@pytest.mark.parametrize(
    "line, message",
    [
        ("SITE_QUEUE=x", "SITE_QUEUE is not known; allowed: SITE_PARTITION, SITE_ACCOUNT"),
        ("SITE_MEM_GB=8G", "SITE_MEM_GB='8G'; need a whole number, at least 1"),
        ("SITE_TIMEOUT_MIN=", "SITE_TIMEOUT_MIN=''; need a whole number, at least 1"),
        ("SITE_GPUS_PER_NODE=0", "SITE_GPUS_PER_NODE='0'; need a whole number, at least 1 or none"),
        ("SITE_SETUP=module load x", "'module load x' is several words; put them in quotes"),
        ("SITE_SETUP='module", "\"'module\" cannot be read (No closing quotation)"),
        ("SITE_OPTIONS='-p gpu'", "'-p' in SITE_OPTIONS; write sbatch's long options as --name=value or --name"),
    ],
)
def test_a_wrong_site_value_is_named_with_its_line(tmp_path, line, message):
    with pytest.raises(MertError) as caught:
        site(tmp_path, f"# values\n{line}\n")
    assert str(caught.value).startswith(f"{tmp_path}/site.sh, line 2: {message}")


def test_the_shipped_site_file_names_every_value_and_both_forms_agree(tmp_path):
    text = (SLURM / "site.sh").read_text()
    assert all(f"\nSITE_{name}=" in text for name in PARAMETERS)
    assert site(tmp_path, text) == DEFAULTS
    options = subprocess.run(["bash", "-c", f". {SLURM}/site.sh; echo $SITE"], capture_output=True, text=True, check=True).stdout
    assert options.split() == ["--cpus-per-task=4", "--mem=8G", "--time=240"]
    filled = text.replace("SITE_PARTITION=", "SITE_PARTITION=p").replace("SITE_ACCOUNT=", "SITE_ACCOUNT=a")
    filled = filled.replace("SITE_GPUS_PER_NODE=", "SITE_GPUS_PER_NODE=2").replace("SITE_OPTIONS=", "SITE_OPTIONS='--qos=q --exclusive'")
    assert site(tmp_path, filled) == {
        **DEFAULTS,
        "slurm_partition": "p",
        "slurm_account": "a",
        "gpus_per_node": 2,
        "slurm_additional_parameters": {"qos": "q", "exclusive": True},
    }
    program = f". {tmp_path}/site.sh; echo $SITE"
    options = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True).stdout
    wanted = ["--cpus-per-task=4", "--mem=8G", "--time=240", "--qos=q", "--exclusive", "--partition=p", "--account=a", "--gpus-per-node=2"]
    assert options.split() == [*wanted, "--ntasks-per-node=2"]  # of pretrain.sbatch; the other scripts ask for one task in all


# The plain sbatch form.


def sbatch_task(folder, *arguments, **variables):
    """Runs the script as a task of an array would, with a `mert` that says what it was given."""
    (folder / "mert").write_text('#!/bin/sh\necho "$OMP_NUM_THREADS: $*"\n')
    (folder / "mert").chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", **variables}
    command = ["bash", str(SLURM / "labels.sbatch"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def array(task, count, maximum=None):
    values = {"TASK_ID": task, "TASK_COUNT": count, "TASK_MAX": count - 1 if maximum is None else maximum}
    return {f"SLURM_ARRAY_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize("name", ["labels.sbatch", "site.sh"])
def test_scripts_are_bash(name):
    checked = subprocess.run(["bash", "-n", str(SLURM / name)], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_task_of_the_array_does_its_shard(tmp_path):
    done = sbatch_task(tmp_path, "cqt", "m", "l l", "--name", "x", **array(5, 64), SLURM_CPUS_PER_TASK="7", SITE_SETUP="echo set up")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["set up", "7: labels cqt m l l --name x --nshard 64 --shard 5"]


def test_some_shards_of_a_larger_division(tmp_path):
    done = sbatch_task(tmp_path, "cqt", "m", "l", "--nshard", "64", **array(17, 2, 17))
    assert done.stdout == "1: labels cqt m l --nshard 64 --shard 17\n"
    done = sbatch_task(tmp_path, "cqt", "m", "l", **array(17, 2, 17))
    assert done.returncode == 2 and done.stderr == (
        "labels.sbatch: --array is not 0 to N-1; say with --nshard N how many shards there are in all\n"
    )


def test_the_script_without_an_array(tmp_path):
    done = sbatch_task(tmp_path, "cqt", "m", "l")
    assert done.returncode == 2 and done.stderr.startswith("labels.sbatch: not a task of an array; submit it with sbatch --array=")
