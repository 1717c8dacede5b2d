"""Programs that signal themselves, each in a process of its own."""

import subprocess
import sys
import textwrap

from mert_fairseq.launch import interruption as interruption_module

# The module alone, as a file: the package's import takes seconds.
BEGIN = f"""
    import logging, os, runpy, signal, sys, time
    logging.basicConfig(stream=sys.stdout)
    interruption = runpy.run_path({interruption_module.__file__!r})["Interruption"]()
"""


def run(program):
    """Runs a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BEGIN) + textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
