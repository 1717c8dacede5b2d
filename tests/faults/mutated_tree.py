"""A copy of the repository in which one protection at a time is taken out, and pytest in it.

A test runs in a fork of this process, which has the libraries imported and the package not: most of a test's time would go there.
"""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Dict, List, Optional

from mutation_list import Mutation

NOT_COPIED = (".git", ".venv", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis", "*.egg-info")
NOT_COPIED += ("build", "dist", "runs", "multirun", "work", "demo")
LIBRARIES = ("numpy", "scipy.signal", "torch", "torchaudio", "soundfile", "fairseq_cli.train", "fairseq.models.hubert")
OPTIONS = ("-q", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "mutation_outcome")
LIMIT_S = 240  # of one test without its protection
#: What a test raises that only hangs: it does not say what is wrong, and a slow machine would do the same.
HANGS = ("TimeoutExpired", "TimeoutError", "Hang")
#: What a badly written mutation raises, not one that takes out a protection.
NO_FAILURE = ("NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "SyntaxError", "FixtureLookupError")


def import_libraries() -> None:
    """Once, before the first fork."""
    for name in LIBRARIES:
        importlib.import_module(name)
    assert "mert_fairseq" not in sys.modules


class MutatedTree:
    """One copy; at most one test runs in it at a time."""

    def __init__(self, root: Path, folder: Path):
        self.folder = folder
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
        if (root / ".venv").exists():
            (folder / ".venv").symlink_to((root / ".venv").resolve())
        self._report, self._output = folder.with_suffix(".json"), folder.with_suffix(".txt")
        # The copy's Hydra plugin too; and no bytecode, which tells versions of a file apart by size and second alone.
        self._paths = [str(path) for path in (folder, folder / "mert_fairseq" / "hydra_searchpath", Path(__file__).parent)]
        self._environment = {"PYTHONPATH": os.pathsep.join([*self._paths, *filter(None, [os.environ.get("PYTHONPATH")])])}
        self._environment |= {"MUTATION_TREE": str(folder), "MUTATION_REPORT": str(self._report)}
        self._environment |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}

    def run_unmutated(self, tests: List[str], processes: int) -> Dict[str, Any]:
        """Notes (see `mutation_outcome`), exit code and text of all tests as things are."""
        several = ["-n", str(processes), "--dist", "loadfile"] if processes > 1 else []
        with open(self._output, "w") as output:
            command = [sys.executable, "-m", "pytest", *OPTIONS, *several, *tests]
            done = subprocess.run(command, cwd=self.folder, env={**os.environ, **self._environment}, stdout=output, stderr=output)
        return self._notes(done.returncode)

    def begin(self, mutation: Mutation) -> None:
        """Takes the protection out, and starts its test."""
        self.mutation, self._started = mutation, time.monotonic()
        self._path = self.folder / mutation.file
        self._source = self._path.read_text(encoding="utf-8")
        self._path.write_text(mutation.apply(self._source), encoding="utf-8")
        self._report.unlink(missing_ok=True)
        sys.stdout.flush()
        self._process = os.fork()
        if self._process == 0:
            self._become_pytest(["-x", mutation.test])

    def _become_pytest(self, arguments: List[str]) -> None:
        """In the child; does not return."""
        code = 70
        try:
            os.setsid()
            output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.environ.update(self._environment)
            os.chdir(self.folder)
            sys.path[:0], sys.dont_write_bytecode = self._paths, True
            vars(sys.modules["__main__"]).pop("__file__", None)  # processes that a test spawns would run it
            import pytest

            code = int(pytest.main([*OPTIONS, *arguments]))
        except BaseException:  # noqa: BLE001  nothing may come back into the parent's code
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def end(self) -> Optional[str]:
        """None while the test runs; then why its end is no failure, "" where it is one, and the protection is back."""
        ended, status = os.waitpid(self._process, os.WNOHANG)
        late = not ended and time.monotonic() - self._started > LIMIT_S
        if late:
            self.give_up()
        elif not ended:
            return None
        self.seconds = time.monotonic() - self._started
        said = f"TIMED OUT: more than {LIMIT_S} s" if late else self._undefined_names()
        said = said or self._judge(self._notes(os.waitstatus_to_exitcode(status)))
        self._path.write_text(self._source, encoding="utf-8")
        return said

    def give_up(self) -> None:
        """Ends a test that runs."""
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def _notes(self, code: int) -> Dict[str, Any]:
        notes = json.loads(self._report.read_text(encoding="utf-8")) if self._report.is_file() else {}
        return {"code": code, "text": self._output.read_text(errors="replace"), **notes}

    def _judge(self, run: Dict[str, Any]) -> str:
        if run.get("collection_errors") or run["code"] not in (0, 1) or "failed" not in run:
            return "not collected: " + _last_line(run["text"])
        if run["imported"] and not Path(run["imported"]).resolve().is_relative_to(self.folder.resolve()):
            return f"another package was tested: {run['imported']}"
        wrong = [f"{name}: {text}" for _, _, name, text in run["failed"] if name in NO_FAILURE]
        wrong += [f"TIMED OUT: {name}: {text}" for _, _, name, text in run["failed"] if name in HANGS]
        real = [when == "call" or name in ("AssertionError", "Failed") for _, when, name, _ in run["failed"]]
        return "; ".join(wrong) or ("" if run["code"] == 1 and any(real) else "SURVIVED")

    def _undefined_names(self) -> str:
        """Names that a mutation uses and nobody defines: its test would fail of them alone, perhaps in a process of its own."""
        options = ["-q", "--isolated", "--select", "F821,F822,F823", "--output-format", "concise"]
        command = [sys.executable, "-m", "ruff", "check", *options, str(self._path)]
        done = subprocess.run(command, capture_output=True, text=True) if self._path.suffix == ".py" else None
        return _last_line(done.stdout + done.stderr) if done is not None and done.returncode else ""


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing said"])[-1]
