"""The training command finds config and package: installed from anywhere, and from a checkout that is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest
import training_runs as runs

CHECKOUT = Path(__file__).parents[2]
ONE_UPDATE = ["optimization.max_update=1", "dataset.num_workers=0", "dataset.disable_validation=true"]

# Runs fairseq's entry point in an interpreter that does not know of this project's installation.
NOT_INSTALLED = """
import os, sys
sys.path[:] = [path for path in sys.path if "hydra_searchpath" not in path and not os.path.isdir(path + "/mert_fairseq")]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
import importlib.util
assert importlib.util.find_spec("mert_fairseq") is None, "installed after all"
from fairseq_cli.hydra_train import cli_main
cli_main()
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return runs.build_corpus(tmp_path_factory.mktemp("corpus"), num_train=2, num_valid=1)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What `pip install .` puts into site-packages."""
    target = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q", "--target", str(target)]
    source = tmp_path_factory.mktemp("source") / "project"
    subprocess.run(["git", "clone", "-q", str(CHECKOUT), str(source)], check=True)
    subprocess.run(["cp", "-r", str(CHECKOUT / "mert_fairseq"), str(CHECKOUT / "setup.py"), str(source)], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    return target


def test_installed_package_trains_from_any_folder(corpus, installed, tmp_path):
    environment = runs.environment(PYTHONPATH=str(installed))
    result = subprocess.run(
        runs.command(corpus, tmp_path / "run", *ONE_UPDATE), capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "run" / "checkpoints" / "checkpoint_last.pt").is_file()
    config = (tmp_path / "run" / ".hydra" / "config.yaml").read_text()
    assert "${mert_fairseq_dir:}" in config
    assert f"'user_dir': '{installed}/mert_fairseq'" in (tmp_path / "run" / "hydra_train.log").read_text()


def test_wheel_holds_configs_and_plugin(installed):
    names = {path.name for path in (installed / "mert_fairseq" / "config").glob("*.yaml")}
    assert {"mert_tiny.yaml", "mert_base.yaml", "mert_large.yaml", "mert_base_kmeans.yaml"} <= names
    assert (installed / "hydra_plugins" / "mert_fairseq_searchpath" / "__init__.py").is_file()
    assert (installed / "bin" / "mert").is_file()


PLUGIN = f"sys.path.append('{CHECKOUT}/mert_fairseq/hydra_searchpath')\n"
WITH_PLUGIN = NOT_INSTALLED.replace("from fairseq_cli", f"{PLUGIN}from fairseq_cli")


@pytest.mark.parametrize("program,processes", [(NOT_INSTALLED, 1), (WITH_PLUGIN, 2)])
def test_checkout_that_is_not_installed(corpus, tmp_path, program, processes):
    _, *arguments = runs.command(corpus, tmp_path / "run", *ONE_UPDATE, f"distributed_training.distributed_world_size={processes}")
    places = ["--config-dir", "mert_fairseq/config", *arguments, f"common.user_dir={CHECKOUT}/mert_fairseq"]
    result = subprocess.run(
        [sys.executable, "-P", "-c", program, *places],
        capture_output=True, text=True, env=runs.environment(), cwd=CHECKOUT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "run" / "checkpoints" / "checkpoint_last.pt").is_file()


def test_the_run_folder_does_not_hold_the_time(corpus, tmp_path):
    arguments = [part for part in runs.command(corpus, tmp_path, *ONE_UPDATE) if not part.startswith("hydra.run.dir")]
    result = subprocess.run(arguments, capture_output=True, text=True, env=runs.environment(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "runs" / "mert_tiny" / "checkpoints" / "checkpoint_last.pt").is_file()
