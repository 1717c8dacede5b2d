"""Target stores damaged in every way: training refuses them or reads what was written; `mert labels check` finds what was changed."""

import base64
import json
import shutil

import numpy as np
import pytest
from outcomes import mert
from small_stores import KINDS, LENGTHS, Stores

from mert_fairseq.data.manifest import read_manifest, write_manifest

HEADER_BYTES = 128  # of a plain .npy


@pytest.fixture
def stores(corpus):
    return Stores(corpus)


def flipped(text, rng, first=0, stop=None):
    changed = bytearray(text)
    changed[int(rng.integers(first, stop or len(text)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("part", ["json", "header", "data"])
def test_a_flipped_bit(stores, name, part, faults):
    path = stores.path(name, ".json" if part == "json" else ".npy")
    text, rng = path.read_bytes(), np.random.default_rng(len(name))
    for _ in range(faults.times(15, 100)):
        first, stop = {"json": (0, None), "header": (0, HEADER_BYTES), "data": (HEADER_BYTES, None)}[part]
        path.write_bytes(flipped(text, rng, first, stop))
        outcome, detail = stores.start(name)
        found = stores.found(name)
        faults.record(f"shard: bit of the {part} flipped, training", "silent" if outcome == "changed" else outcome, detail)
        if outcome == "refused":
            faults.record(f"shard: bit of the {part} flipped, labels check", "refused" if found == "refused" else "silent", detail)
    path.write_bytes(text)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_another_length(stores, name, suffix, faults):
    path = stores.path(name, suffix)
    text = path.read_bytes()
    damaged = [text[: int(part * len(text))] for part in np.linspace(0, 1, faults.times(6, 30), endpoint=False)]
    damaged += [text + b"\0", text[:-1]] if suffix == ".npy" else [text + b"}"]
    damaged += [text + text, bytes(len(text))]
    for content in damaged:
        path.write_bytes(content)
        outcome, detail = stores.start(name)
        if suffix == ".npy" and content.startswith(text):
            assert outcome in ("survived", "refused")  # numpy reads what the header says
        faults.record(f"shard: {suffix[1:]} cut or longer, training start", "silent" if outcome == "changed" else outcome, detail)
        if outcome == "refused":
            faults.record(f"shard: {suffix[1:]} cut or longer, labels check", stores.found(name))


def exchange(one, other):
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


@pytest.mark.parametrize("name", KINDS)
def test_files_moved_and_missing(stores, name, faults):
    def moved(suffix):
        exchange(stores.path(name, suffix, 0), stores.path(name, suffix, 1))

    def both():
        moved(".npy")
        moved(".json")

    damages = {
        "exchanged, array": lambda: moved(".npy"),
        "exchanged, json": lambda: moved(".json"),
        "exchanged, both": both,
        "array missing": lambda: stores.path(name, ".npy").unlink(),
        "json missing": lambda: stores.path(name, ".json").unlink(),
        "shard missing": lambda: [stores.path(name, suffix).unlink() for suffix in (".npy", ".json")],
        "of another division": lambda: stores.path(name, ".json").rename(stores.folder(name) / "shard-00001-of-00003.json"),
        "renamed": lambda: [stores.path(name, suffix).rename(stores.folder(name) / f"shard-1{suffix}") for suffix in (".npy", ".json")],
        "folder gone": lambda: shutil.rmtree(stores.folder(name)),
        "folder empty": lambda: [path.unlink() for path in stores.folder(name).iterdir()],
        "a folder in its place": lambda: (stores.path(name, ".npy").unlink(), stores.path(name, ".npy").mkdir()),
    }
    for what, damage in damages.items():
        kept = shutil.copytree(stores.folder(name), stores.corpus.labels.parent / "kept")
        damage()
        faults.record("shard: moved or missing, training start", stores.start(name)[0].replace("survived", "silent"), what, what)
        faults.record("shard: moved or missing, labels check", stores.found(name).replace("survived", "silent"), what)
        shutil.rmtree(stores.folder(name), ignore_errors=True)
        kept.rename(stores.folder(name))


def test_of_another_manifest(stores, faults):
    """A row more, a row less, another name, another length, another order."""
    rows = [(stores.manifest.relative_path(row), int(stores.manifest.num_samples[row])) for row in range(len(LENGTHS))]
    others = [rows[:-1], [*rows, ("more.wav", 9000)], rows[::-1], rows[1:]]
    for row, (file, length) in enumerate(rows):
        others += [[*rows[:row], other, *rows[row + 1 :]] for other in ((file, length + 1), (file, length - 320), (f"x{file}", length))]
    for other in others:
        write_manifest(stores.corpus.manifests / "train.tsv", stores.corpus.audio, other)
        stores.manifest = read_manifest(stores.corpus.manifests / "train.tsv")
        for name in KINDS:
            faults.record("shard: of another manifest, training start", stores.start(name)[0].replace("survived", "silent"), str(other))
            faults.record("shard: of another manifest, labels check", stores.found(name).replace("survived", "silent"), str(other))


def edits(info):
    """Another value, still of the right kind, for every key that matters."""
    frames = [info["frames"][0] - 1, info["frames"][1] + 1, *info["frames"][2:]]
    made = {"frames": frames, "frame_rate": 50.0, "rows": [0, 2], "width": info["width"] + 1, "version": 2, "format": "other"}
    made |= {"teacher": "other", "settings": {"gain": 2}, "data_sha256": "0" * 64, "manifest_sha256": "0" * 64}
    made |= {"notes": {"bad_rows": {"2": "x"}}}
    made |= {"weights_sha256": "cd" * 32, "kind": "cqt" if info["kind"] == "codes" else "codes", "made_by": {"kind": "cqt"}}
    made["block_crc32"] = base64.b64encode(base64.b64decode(info["block_crc32"])[::-1]).decode()
    made["num_classes"] = [size + 1 for size in info["num_classes"]] if info["num_classes"] else [4]
    made["scale"] = [value * 1.01 for value in info["scale"]] if info["scale"] else [1.0] * info["width"]
    return made


@pytest.mark.parametrize("name", KINDS)
def test_an_edited_index(stores, name, faults):
    path = stores.path(name, ".json")
    text = path.read_text()
    info = json.loads(text)
    for key, value in edits(info).items():
        for changed in (value, None, "x", [], -1):
            if changed == info[key]:
                continue
            path.write_text(json.dumps({**info, key: changed}))
            outcome, detail = stores.start(name)
            faults.record("shard: index edited, training start", outcome.replace("survived", "silent").replace("changed", "silent"), key)
            faults.record("shard: index edited, labels check", stores.found(name).replace("survived", "silent"), f"{key} {detail}")
    path.write_text(text)


def test_the_command_says_it_in_one_line(stores, faults):
    for name in KINDS:
        for suffix in (".npy", ".json"):
            path = stores.path(name, suffix)
            text = path.read_bytes()
            place = text.find(b'"frames": [') + 11 if suffix == ".json" else HEADER_BYTES  # a key's name may be flipped without harm
            path.write_bytes(flipped(text, np.random.default_rng(0), place, place + 1))
            shown = mert("labels", "check", stores.corpus.manifests, stores.corpus.labels)
            faults.record("shard: `mert labels check`", shown.outcome if path.stem in shown.text else "silent", shown.text)
            path.write_bytes(text)
    assert mert("labels", "check", stores.corpus.manifests, stores.corpus.labels).code == 0


def test_longer_arrays_are_refused(stores, faults):
    """Whose header or length was changed: numpy reads what the header says, from where it says."""
    path = stores.path("codes", ".npy")
    path.write_bytes(path.read_bytes() + b"\0")
    faults.record("shard: npy longer", stores.start("codes")[0].replace("survived", "silent"))


def test_a_damaged_header(stores, faults):
    """Of every byte of it."""
    path = stores.path("codes", ".npy")
    text = path.read_bytes()
    for place in range(HEADER_BYTES):
        changed = bytearray(text)
        changed[place] ^= 8
        path.write_bytes(changed)
        outcome, detail = stores.start("codes")
        faults.record("shard: byte of the header changed", "silent" if outcome == "changed" else outcome, f"{place} {detail}")
