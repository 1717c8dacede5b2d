"""A plugin of pytest, loaded where a mutated package is tested: sees that it is this package that is imported, and notes how tests end.

The environment variable MUTATION_TREE names the folder that the package must come from, MUTATION_REPORT the file for the notes.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

NOTES = {"imported": "", "collection_errors": [], "passed": [], "failed": []}


def pytest_configure(config):
    found = Path(importlib.util.find_spec("mert_fairseq").origin).resolve()
    if not found.is_relative_to(Path(os.environ["MUTATION_TREE"]).resolve()):
        raise pytest.UsageError(f"{found} would be tested, not the copy in {os.environ['MUTATION_TREE']}")


def pytest_exception_interact(node, call, report):
    """Only of test processes themselves: a failure with its exception's name."""
    if isinstance(report, pytest.CollectReport):
        NOTES["collection_errors"].append(node.nodeid)
    else:
        NOTES["failed"].append([node.nodeid, report.when, call.excinfo.typename, str(call.excinfo.value)[:300]])


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        NOTES["passed"].append(report.nodeid)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        return
    NOTES["imported"] = getattr(sys.modules.get("mert_fairseq"), "__file__", "")
    Path(os.environ["MUTATION_REPORT"]).write_text(json.dumps(NOTES), encoding="utf-8")
