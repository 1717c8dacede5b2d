"""Every reader of `readers` fuzzed for so many seconds, two at a time: `python tests/fuzz/fuzz_all.py SECONDS`, or `make fuzz`.

Exit code 1, with a line, where one brings up a fault, and where nothing could be fuzzed: a fuzzer that did not run has found nothing.
"""

import importlib.util
import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List

FUZZ = Path(__file__).with_name("fuzz.py")
TAIL = 40  # lines of a fuzzer that failed


def main(seconds: str, program: Path = FUZZ) -> int:
    """Prints a line for each reader."""
    if importlib.util.find_spec("atheris") is None:
        here = f"{platform.machine()} {platform.system()}"
        return _failed(f"atheris is not installed, it exists for x86_64 Linux (this is {here}): nothing was fuzzed; run `make setup` there")
    listed = _run(program)
    names = listed.stdout.split()
    if listed.returncode or not names:
        return _failed(f"{program.name} lists no readers: {(listed.stderr.strip().splitlines() or ['nothing said'])[-1]}")
    with ThreadPoolExecutor(2) as pool:
        for name, done in zip(names, pool.map(lambda name: _run(program, name, seconds), names)):
            inputs = re.search(r"stat::number_of_executed_units: *(\d+)", done.stderr + done.stdout)
            if done.returncode or not inputs or not int(inputs[1]):
                pool.shutdown(cancel_futures=True)
                print("\n".join((done.stdout + done.stderr).splitlines()[-TAIL:]), file=sys.stderr)
                return _failed(f"{name}: exit code {done.returncode} after {inputs[1] if inputs else 'an unknown number of'} inputs")
            print(f"{name}: {inputs[1]} inputs", flush=True)
    print(f"{len(names)} readers, {seconds} s each: no fault found")
    return 0


def _run(program: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command: List[str] = [sys.executable, str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", env={**os.environ, "OMP_NUM_THREADS": "1"})


def _failed(line: str) -> int:
    print(f"fuzz: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
