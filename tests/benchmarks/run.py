"""Runs all benchmarks, prints one table, keeps it as results.json with machine and versions, and puts it into README.md.

    python tests/benchmarks/run.py [NAME ...]     names of bench_*.py without the prefix; default: all. Exit code 1 where a bar is missed.

With names, the other benchmarks' rows stay as the last run left them. Each row has the processor and the date that it was measured on; the
table shows them where they are not the header's.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from harness import RESULTS, line_of

HERE = Path(__file__).parent
PACKAGES = ("torch", "fairseq-fixed", "nnAudio", "encodec", "numpy", "soundfile")
OF_A_ROW = ("processor", "date")
MARK = "<!-- the last table, written by run.py -->"


def machine() -> dict:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {"processor": processor, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(),
            "libc": " ".join(platform.libc_ver()), **{name: version(name) for name in PACKAGES}, "date": time.strftime("%Y-%m-%d")}


def run(names) -> list:
    """Rows of all benchmarks; one that breaks is a missed row."""
    rows = []
    for path in sorted(HERE.glob("bench_*.py")):
        if names and path.stem.removeprefix("bench_") not in names:
            continue
        print(f"== {path.name}", flush=True)
        start = time.monotonic()
        with tempfile.NamedTemporaryFile() as results:
            code = subprocess.run([sys.executable, path], env={**os.environ, RESULTS: results.name}).returncode
            print(f"   ended after {time.monotonic() - start:.0f} s", flush=True)
            rows += [{"bench": path.stem, **json.loads(line)} for line in Path(results.name).read_text().splitlines()]
        if code:
            rows.append({"bench": path.stem, "what": f"{path.name} ended with {code}", "ours": None, "reference": None, "unit": "",
                         "ratio": None, "bar": "", "ok": False})
    return rows


def table(rows, facts) -> str:
    """Header and rows; behind those that were measured elsewhere or on another day, where and when."""
    lines = [f"{'what':62} {'ours':>14} {'reference':>14} {'ratio':>8} {'bar':>10} {'':>7}"]
    for row in rows:
        of_header = all(row[key] == facts[key] for key in OF_A_ROW)
        lines.append(line_of(row) + ("" if of_header else "  " + ", ".join(row[key] for key in OF_A_ROW)))
    return "\n".join(lines)


def keep(rows, facts) -> None:
    """Writes results.json and the last part of README.md; rows of benchmarks that did not run stay."""
    kept = HERE / "results.json"
    before = json.loads(kept.read_text(encoding="utf-8"))["rows"] if kept.exists() else []
    ran = {row["bench"] for row in rows}
    new = [{**row, **{key: facts[key] for key in OF_A_ROW}} for row in rows]
    rows = sorted(new + [row for row in before if row["bench"] not in ran], key=lambda row: row["bench"])
    kept.write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8").split(MARK)[0]
    where = ", ".join(f"{name} {value}" for name, value in facts.items())
    readme.write_text(f"{text}{MARK}\n\n{where}\n\n```\n{table(rows, facts)}\n```\n", encoding="utf-8")


if __name__ == "__main__":
    found, facts = run(sys.argv[1:]), machine()
    print("\n" + "\n".join(map(line_of, found)))
    keep(found, facts)
    sys.exit(not all(row["ok"] for row in found))
