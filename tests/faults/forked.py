"""Commands forked from one interpreter that has everything imported: a start takes milliseconds, so that many can be killed.

Run as a program it is that interpreter: it takes one JSON object a line and answers with one.
"""

import atexit
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Optional

END_S = 150  # a command that takes longer hangs
STARTED = set()


class Hang(Exception):
    """A command that does not come to what is waited for: a fault of its own kind, which says nothing of what was looked at."""


class Started:
    """A command in a process group of its own.

    Attributes:
        process: its number; also the group's.
        log: file with all that it wrote to the terminal.
    """

    def __init__(self, server: "Interpreter", process: int, log: Path):
        self._server, self.process, self.log = server, process, log
        self._code: Optional[int] = None

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def code(self, wait: bool = True) -> Optional[int]:
        """Exit code, -N for one killed by signal N; None while it runs and is not waited for."""
        deadline = time.monotonic() + END_S
        while self._code is None:
            self._code = self._server.ask(code_of=self.process)
            if self._code is None and not wait:
                return None
            if time.monotonic() > deadline:
                self.kill()
                raise Hang(f"no end within {END_S} s:\n{self.text[-3000:]}")
            time.sleep(0.003)
        return self._code

    def kill(self, number: int = signal.SIGKILL, group: bool = False) -> None:
        """Signals the process, or like a terminal all of its group; does nothing to one that has ended."""
        if self.code(wait=False) is None:
            (os.killpg if group else os.kill)(self.process, number)

    def until(self, true, what: str) -> None:
        """Waits for `true()` while the command runs."""
        deadline = time.monotonic() + END_S
        while not true():
            assert self.code(wait=False) is None, f"no {what}:\n{self.text[-3000:]}"
            if time.monotonic() > deadline:
                raise Hang(f"no {what} within {END_S} s:\n{self.text[-3000:]}")
            time.sleep(0.003)

    def until_all_ended(self) -> None:
        """Waits for the processes that the command has started, which notice its end by themselves within seconds."""
        deadline = time.monotonic() + 30
        while group_of(self.process):
            assert time.monotonic() < deadline, f"process {group_of(self.process)} of {self.process} lives on"
            time.sleep(0.05)


class Interpreter:
    """Starts commands; a context manager."""

    def __init__(self, folder: Path):
        self._folder, self._count = folder, 0
        tested = importlib.util.find_spec("mert_fairseq").submodule_search_locations[0]
        path = os.pathsep.join([str(Path(tested).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}  # it and what it spawns import what is tested
        self._program = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        assert json.loads(self._program.stdout.readline()) == "ready"

    def __enter__(self) -> "Interpreter":
        return self

    def __exit__(self, *_) -> None:
        self._program.stdin.close()
        self._program.wait()

    def ask(self, **asked) -> Optional[int]:
        self._program.stdin.write(json.dumps(asked) + "\n")
        self._program.stdin.flush()
        return json.loads(self._program.stdout.readline())

    def start(self, *argv: object, before: str = "", cwd: Optional[Path] = None) -> Started:
        """`mert ...` or `fairseq-hydra-train ...`.

        Args:
            before: Python that the process runs first, for what is to go wrong in it.
        """
        self._count += 1
        log = self._folder / f"{self._count}.log"
        words = [str(word) for word in argv]
        return Started(self, self.ask(argv=words, before=before, log=str(log), cwd=str(cwd or self._folder)), log)

    def run(self, *argv: object, before: str = "") -> Started:
        """The same, to its end."""
        started = self.start(*argv, before=before)
        started.code()
        return started


def group_of(group: int) -> list:
    """Numbers of the living processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def _become(argv: list, before: str, log: str, cwd: str) -> None:
    """The command, in the forked process."""
    os.setpgid(0, 0)
    terminal = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(terminal, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = list(argv)
    exec(before, {"__name__": "before"})  # noqa: S102  of the tests' own
    if argv[0] == "mert":
        sys.exit(mert_main(argv[1:]))
    train()


def _fork(**asked) -> int:
    process = os.fork()
    if process:
        with contextlib.suppress(PermissionError, ProcessLookupError):  # it has done so itself, or ended
            os.setpgid(process, process)
        STARTED.add(process)
        return process
    code = 1
    try:
        _become(**asked)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  what the interpreter does with it
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _code_of(process: int) -> Optional[int]:
    found, status = os.waitpid(process, os.WNOHANG)
    STARTED.discard(found)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    import torch
    from fairseq_cli.hydra_train import cli_main as train

    import mert_fairseq  # noqa: F401
    from mert_fairseq.cli.main import main as mert_main

    with contextlib.suppress(ImportError):  # an extra
        from transformers import AutoModel, HubertModel  # noqa: F401  `mert export` takes seconds to import them

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _code_of(asked["code_of"]) if "code_of" in asked else _fork(**asked)
        print(json.dumps(answer), file=answers, flush=True)
    for process in STARTED:  # what failed tests left
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
