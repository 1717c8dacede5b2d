"""examples/laptop_to_cluster.md: every command of the page is run, on a small corpus and a real cluster, and prints what the page says."""

import re
import shutil
import subprocess
from typing import List, Tuple

import pytest
from slurm_cluster import REPOSITORY

PAGE = (REPOSITORY / "examples" / "laptop_to_cluster.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(<!-- needs a GPU -->\n)?```console\n(.*?)```", re.DOTALL)
END = "@@end"  # of a command's output, with its number


def commands_of(text: str) -> List[Tuple[str, List[str]]]:
    """Command and what it prints, of the blocks that can run without a GPU."""
    found = []
    for gpu, body in BLOCK.findall(text):
        for line in body.splitlines() if not gpu else ():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


INTRODUCTION, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
PRELUDE = [command for command, _ in commands_of(INTRODUCTION)] + [". slurm/site.sh"]


def pattern(line: str) -> str:
    """... stands for anything, a number for any number."""
    parts = [re.sub(r"\d+(?:\.\d+)?", r"\\d+(?:\\.\\d+)?", re.escape(part).replace(r"\.", ".")) for part in line.split("...")]
    return ".*".join(parts)


@pytest.fixture(scope="module")
def place(corpus, site, tmp_path_factory):
    """The folder that the page speaks of."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("manifest", "labels"):
        (folder / name).symlink_to(corpus / name)
    shutil.copytree(REPOSITORY / "slurm", folder / "slurm")
    shutil.copy(site, folder / "slurm" / "site.sh")
    return folder


@pytest.mark.parametrize("section", SECTIONS, ids=[section.split("\n")[0].replace(" ", "-") for section in SECTIONS])
def test_every_command_prints_what_the_page_says(cluster, place, section):
    """In the order of the page; the last section goes on with a run of the second."""
    commands = commands_of(section)
    script = [*PRELUDE, *(line for number, (command, _) in enumerate(commands) for line in (command, f"echo {END} {number} $?"))]
    result = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=place, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    rest = result.stdout
    for number, (command, wanted) in enumerate(commands):
        assert f"{END} {number} 0\n" in rest, f"failed: {command}\n{result.stdout[-5000:]}"
        printed, rest = rest.split(f"{END} {number} 0\n", 1)
        for line in wanted:
            assert re.search(f"^{pattern(line)}", printed, re.MULTILINE), f"{command}\ndid not print: {line}\nbut:\n{printed[-5000:]}"


def test_only_what_needs_a_gpu_is_left_out():
    """Two commands; each asks for one."""
    skipped = [line for gpu, body in BLOCK.findall(PAGE) if gpu for line in body.splitlines()]
    assert len(skipped) == 2 and all(line.startswith("$ ") and "common.cpu=false" in line for line in skipped)
    run = [command for command, _ in commands_of(PAGE)]
    assert len(run) + len(skipped) == len(re.findall(r"^\$ ", PAGE, re.MULTILINE))
    assert PAGE.count("```") == 2 * len(BLOCK.findall(PAGE))
