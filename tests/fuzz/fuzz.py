"""Fuzzes one reader, guided by the coverage of this package's source (atheris): `python tests/fuzz/fuzz.py READER SECONDS [FILE]`.

Without arguments it names the readers. Stops with the input that raised anything but MertError, took 2 GB of memory, or 20 seconds;
with FILE that input is given once.
Inputs that were a fault once lie in tests/fuzz/found/READER and are given first, here and in tests/faults.
"""

import random
import resource
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

with atheris.instrument_imports(include=["mert_fairseq"]):
    import readers

    import mert_fairseq  # noqa: F401  with fairseq, whose modules are not instrumented

from mutations_of_bytes import mutated  # noqa: E402

MOST_BYTES, SECONDS_EACH = 2 << 30, 20
FOUND = HERE / "found"


def change(data: bytes, most: int, seed: int) -> bytes:
    """Half of the inputs are changed by libFuzzer, half by what knows numbers and JSON."""
    rng = random.Random(seed)
    return atheris.Mutate(data, most) if rng.random() < 0.5 else mutated(data, rng)[:most]


def main() -> None:
    """Runs libFuzzer; it ends the process."""
    if len(sys.argv) == 1:
        print(*readers.READERS, sep="\n")
        return
    name, seconds, *files = sys.argv[1:]
    reader, folder = readers.READERS[name], Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    reader.prepare(folder)
    (seeds := folder / "seeds").mkdir()
    (seeds / "sound").write_bytes(reader.seed)
    used = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
    options = [f"-max_total_time={seconds}", f"-timeout={SECONDS_EACH}", f"-max_len={max(4096, 2 * len(reader.seed))}", "-seed=1"]
    options += ["-print_final_stats=1", "-rss_limit_mb=0", f"-artifact_prefix={folder}/", "-verbosity=0"]
    places = files or [str(seeds), *([str(FOUND / name)] if (FOUND / name).is_dir() else [])]
    atheris.Setup([sys.argv[0], *options, *places], lambda data: reader.give(folder, data), custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
