"""Real Slurm clusters for these tests, and the small corpus that jobs train on.

`make test-slurm` runs them; the plain `pytest` does not collect this folder, since it installs and starts system software.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for shared in (HERE, HERE.parent / "integration"):
    sys.path.insert(0, str(shared))

import training_runs as runs  # noqa: E402
from slurm_cluster import REPOSITORY, CannotStart, Cluster  # noqa: E402


def _running(net):
    folder = Path(tempfile.mkdtemp(prefix=f"mert-slurm-{net}-"))  # short: it holds a socket
    cluster = Cluster(folder, net)
    try:
        try:
            cluster.start()
        except CannotStart as reason:
            pytest.skip(f"no Slurm: {reason}")
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster():
    """Nodes n1 and n2 on one loopback."""
    yield from _running("loop")


@pytest.fixture(scope="session")
def separate_cluster():
    """Nodes m1 and m2, each in a network namespace: what is wrongly called localhost is not reached."""
    yield from _running("netns")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Manifests and targets of 48 s of music; jobs of any user of the machine may read it."""
    return runs.build_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site file as a user fills it in: partition, small jobs, and how to get at the commands."""
    values = {"PARTITION": "main", "CPUS_PER_TASK": "1", "MEM_GB": "1", "TIMEOUT_MIN": "30"}
    values["SETUP"] = f"'export PATH={Path(sys.executable).parent}:$PATH'"
    lines = (REPOSITORY / "slurm" / "site.sh").read_text().splitlines()
    for number, line in enumerate(lines):
        name = line.split("=")[0].removeprefix("SITE_")
        if line.startswith("SITE_") and name in values:
            lines[number] = f"SITE_{name}={values.pop(name)}"
    assert not values, f"not in site.sh: {values}"
    path = tmp_path_factory.mktemp("site") / "site.sh"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def pretrain(corpus, site):
    """Submits slurm/pretrain.sbatch on two nodes, from `folder`; the run is in folder/run."""

    def submit(slurm, folder, *overrides, options=("-N2",), **environment):
        arguments = runs.command(corpus, folder / "run", *overrides)[1:]
        return slurm.submit(folder, *options, REPOSITORY / "slurm" / "pretrain.sbatch", *arguments, site=site, **environment)

    return submit
