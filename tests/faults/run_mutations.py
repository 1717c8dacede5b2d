"""Takes out each protection of the package in turn and sees a test fail: `make test-mutations`, or this file with names of mutations.

Works on copies of the repository, two at a time of one thread each. Exit code 1 if a mutation survives, 2 if the list itself is wrong.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import List, Optional, Sequence

from mutated_tree import MutatedTree, import_libraries
from mutation_list import FOLDER, ROOT, BadMutation, Mutation, read_mutations


def check_unmutated(tree: MutatedTree, mutations: Sequence[Mutation], processes: int) -> None:
    """All named tests in one run: each must pass as things are. Raises BadMutation."""
    tests, started = sorted({mutation.test for mutation in mutations}), time.monotonic()
    run = tree.run_unmutated(tests, processes)
    passed = {name.partition("[")[0] for name in run.get("passed", [])} | set(run.get("passed", []))
    missing = [test for test in tests if test not in passed]
    if run["code"] != 0 or missing:
        text = "\n".join(run["text"].splitlines()[-40:])
        raise BadMutation(f"{text}\ntests must pass where nothing is taken out; not passed: {', '.join(missing) or 'see above'}")
    print(f"{len(tests)} tests pass unmutated ({time.monotonic() - started:.0f} s)", flush=True)


def judge_all(trees: Sequence[MutatedTree], mutations: Sequence[Mutation]) -> int:
    """Each mutation in the next tree that is free; prints a line each and returns how many were caught."""
    waiting, busy, caught = list(mutations), [], 0
    idle = list(trees)
    try:
        while waiting or busy:
            while waiting and idle:
                busy.append(idle.pop())
                busy[-1].begin(waiting.pop(0))
            for tree in list(busy):
                said = tree.end()
                if said is not None:
                    caught += not said
                    _print_row(tree, said)
                    busy.remove(tree)
                    idle.append(tree)
            time.sleep(0.05)
    finally:
        for tree in busy:
            tree.give_up()
    return caught


def _print_row(tree: MutatedTree, said: str) -> None:
    mutation = tree.mutation
    print(f"{mutation.what:<84} {'NO ' if said else 'yes'} {tree.seconds:6.1f}  {mutation.test}", flush=True)
    if said:
        print(f"    {mutation.name}: {said}", flush=True)


def run_all(mutations: Sequence[Mutation], root: Path, processes: int) -> int:
    """Checks the list, then judges one mutation after another; how many were caught."""
    for mutation in mutations:
        mutation.check(root)
    with tempfile.TemporaryDirectory(prefix="mert-mutations-") as place:
        trees = [MutatedTree(root, Path(place, f"tree{number}")) for number in range(max(1, min(processes, len(mutations))))]
        check_unmutated(trees[0], mutations, processes)
        print(f"{'protection':<84} seen  seconds  test")
        return judge_all(trees, mutations)


def main(argv: Optional[List[str]] = None, root: Path = ROOT, folder: Path = FOLDER) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of mutations (files without .toml); all if none")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args(argv)
    started = time.monotonic()
    try:
        mutations = read_mutations(args.names, folder)
        caught = run_all(mutations, root, args.processes)
    except BadMutation as error:
        print(f"run_mutations: {error}", file=sys.stderr)
        return 2
    print(f"{len(mutations)} protections taken out, {caught} seen, {len(mutations) - caught} not ({time.monotonic() - started:.0f} s)")
    return 0 if caught == len(mutations) else 1


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    import_libraries()
    sys.exit(main())
