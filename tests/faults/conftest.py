"""The suite of injected faults: `make test-faults` (long) and `make test-faults-short`, with a table at the end."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for shared in (HERE, *(HERE.parent / name for name in ("integration", "export", "report", "probe", "fuzz"))):
    sys.path.insert(0, str(shared))

import commands  # noqa: E402
import training_runs  # noqa: E402
from damaged_audio import make_recordings  # noqa: E402
from forked import Interpreter  # noqa: E402
from made_checkpoints import write_checkpoint  # noqa: E402
from outcomes import SKIPPED, Faults, read_counts, read_injected, table, write_outcome  # noqa: E402
from promised import missing, standing  # noqa: E402

CONFIGS = []  # the session's, for hooks that are not given it


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="inject each fault as often as is promised")


def pytest_configure(config):
    CONFIGS.append(config)
    given = getattr(config, "workerinput", {}).get("faults_path")
    config.faults_path = Path(given) if given else Path(tempfile.mkdtemp(prefix="mert-faults-"), "faults.jsonl")


def pytest_configure_node(node):
    """Test processes of pytest-xdist append to one file."""
    node.workerinput["faults_path"] = str(node.config.faults_path)


@pytest.fixture(scope="session")
def faults(request):
    """Counts what is injected and what became of it."""
    return Faults(request.config.faults_path, request.config.getoption("--long"))


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory):
    """Starts `mert` and `fairseq-hydra-train` within milliseconds."""
    with Interpreter(tmp_path_factory.mktemp("terminals")) as started:
        yield started


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Inputs of all commands of `commands`."""
    return commands.write_inputs(tmp_path_factory.mktemp("inputs") / "data")


@pytest.fixture(scope="session")
def training_corpus(tmp_path_factory):
    """Audio, manifests and targets of `training_runs`."""
    return training_runs.build_corpus(tmp_path_factory.mktemp("training") / "corpus")


def pytest_runtest_logreport(report):
    """What is skipped stands in the table: a fault that was not injected was not survived. Called in the first process for all."""
    if report.skipped and CONFIGS and not hasattr(CONFIGS[0], "workerinput"):
        write_outcome(CONFIGS[0].faults_path, report.nodeid.rpartition("/")[2], SKIPPED)


def pytest_terminal_summary(terminalreporter, config):
    counts = read_counts(config.faults_path)
    if counts:
        terminalreporter.section("injected faults")
        for line in [*table(counts), *getattr(config, "broken_promises", [])]:
            terminalreporter.write_line(line)


def broken_promises(config):
    """Lines for a run that lost one, and for a long run of the whole suite that injected too few, or skipped one."""
    counts = read_counts(config.faults_path)
    bad = standing(getattr(config, "cache", None), counts, again=config.getoption("lf", False))
    whole_suite = len(config.args) == 1 and config.args[0].rstrip("/").endswith("faults")
    if not whole_suite or not config.getoption("--long"):
        return bad
    skipped = sum(counts.values(), Counter())[SKIPPED]
    return missing(read_injected(config.faults_path)) + bad + ([f"{SKIPPED}: {skipped}, must be 0"] if skipped else [])


def pytest_sessionfinish(session):
    """A run that breaks a promise has failed even if each test passed."""
    if not hasattr(session.config, "workerinput"):
        session.config.broken_promises = broken_promises(session.config)
        session.exitstatus = 1 if session.config.broken_promises else session.exitstatus


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return make_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model") / "model.pt").path
