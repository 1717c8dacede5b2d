"""Readers given damaged files: those that were a fault once, and fresh damage. `make fuzz` looks for new ones, guided by coverage."""

import random
from pathlib import Path

import pytest
from limited_memory import little_memory
from mutations_of_bytes import mutated
from readers import READERS

FOUND = Path(__file__).parents[1] / "fuzz" / "found"
COUNTED = 20  # of a reader's inputs, in the table


@pytest.mark.parametrize("name", READERS)
def test_the_sound_file_is_read(name, tmp_path):
    """Else what follows would test one refusal."""
    reader = READERS[name]
    reader.prepare(tmp_path)
    assert reader.give(tmp_path, reader.seed) is None


@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_or_read(faults, name, tmp_path):
    reader, rng = READERS[name], random.Random(name)
    reader.prepare(tmp_path)
    known = sorted((FOUND / name).glob("*")) if (FOUND / name).is_dir() else []
    inputs = [path.read_bytes() for path in known] + [mutated(reader.seed, rng) for _ in range(faults.times(150, 1500))]
    refused = 0
    with little_memory():
        for number, data in enumerate(inputs):
            refusal = reader.give(tmp_path, data)
            assert refusal is None or ("\n" not in refusal and len(refusal) > 10), refusal
            refused += refusal is not None
            if number < COUNTED:
                faults.record(f"fuzzed: {name}", "survived" if refusal is None else "refused")
    assert refused > len(inputs) // 20 or name in ("part_names", "run_log", "features_sources")  # which pass over what they do not know
