"""Manifests: what is written is read back, whole, with any line ends."""

import hashlib
import json
import pickle

import numpy as np
import pytest
from made_manifests import ROWS, TEXT, foreign

from mert_fairseq.data import manifest_rows
from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.errors import MertError


def test_written_bytes_are_fairseqs(written):
    assert written.read_bytes() == b"/data/music\n" + TEXT
    side = json.loads(written.with_suffix(".json").read_text())
    assert side == {
        "format": "mert-manifest",
        "version": 1,
        "sample_rate": 24_000,
        "rows": 3,
        "hours": round(12_708_012 / 24_000 / 3600, 6),
        "sha256": hashlib.sha256(TEXT).hexdigest(),
    }
    assert sorted(path.name for path in written.parent.iterdir()) == ["train.json", "train.tsv"]


def test_rows_read_back(written):
    manifest = read_manifest(written)
    assert len(manifest) == 3 and str(manifest.root) == "/data/music"
    assert manifest.num_samples.dtype == np.int64 and manifest.num_samples.tolist() == [length for _, length in ROWS]
    assert [manifest.relative_path(row) for row in range(3)] == [path for path, _ in ROWS]
    assert str(manifest.path(2)) == "/data/music/b c/ü – 3.mp3"
    assert manifest.hours == pytest.approx(12_708_012 / 24_000 / 3600)
    with pytest.raises(ValueError):
        manifest.num_samples[0] = 1


def test_rows_hash_covers_the_bytes_of_the_rows(written):
    manifest = read_manifest(written)
    lines = TEXT.splitlines(keepends=True)
    for start, stop in ((0, 3), (0, 1), (1, 3), (2, 2)):
        assert manifest.rows_hash(start, stop) == hashlib.sha256(b"".join(lines[start:stop])).hexdigest()
    assert manifest.rows_hash() == manifest.rows_hash(0, 3)


@pytest.mark.parametrize("rows", [(-1, 2), (2, 1), (0, 4)])
def test_rows_outside_are_refused(written, rows):
    with pytest.raises(IndexError, match="of 3 rows"):
        read_manifest(written).rows_hash(*rows)
    with pytest.raises(IndexError):
        read_manifest(written).relative_path(3)
    with pytest.raises(IndexError):
        read_manifest(written).relative_path(-1)


def test_many_rows_over_chunk_borders(tmp_path, monkeypatch):
    """Chunks of 997 bytes cut rows everywhere; the reference is Python's own split."""
    monkeypatch.setattr(manifest_rows, "CHUNK_BYTES", 997)
    manifest_rows._powers.cache_clear()
    rng = np.random.default_rng(0)
    rows = [(f"{'x' * int(rng.integers(1, 60))}/{row}.wav", int(10 ** rng.uniform(0, 14))) for row in range(2000)]
    write_manifest(tmp_path / "a.tsv", tmp_path, rows)
    manifest = read_manifest(tmp_path / "a.tsv")
    assert [(manifest.relative_path(row), int(manifest.num_samples[row])) for row in range(2000)] == rows
    text = "".join(f"{path}\t{length}\n" for path, length in rows[700:1400]).encode()
    assert manifest.rows_hash(700, 1400) == hashlib.sha256(text).hexdigest()
    with pytest.raises(MertError, match="line 2002 has the same path as line 3,"):
        write_manifest(tmp_path / "a.tsv", tmp_path, rows + [rows[1]])
    manifest_rows._powers.cache_clear()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_foreign_manifest_with_any_line_ends(tmp_path, end, last):
    """CRLF is accepted, and hashes as plain newlines do."""
    text = ("/data/music\n" + TEXT.decode()).replace("\n", end)
    manifest = read_manifest(foreign(tmp_path, text if last else text.removesuffix(end)))
    assert str(manifest.root) == "/data/music"
    assert manifest.relative_path(2) == ROWS[2][0] and manifest.num_samples[2] == 72_000
    assert manifest.rows_hash() == hashlib.sha256(TEXT).hexdigest()


def test_dots_inside_the_root_are_accepted(tmp_path):
    rows = [("a/../b.wav", 5), ("..c/d...wav", 5), ("e../f.wav", 5), ("./g.wav", 5)]
    write_manifest(tmp_path / "a.tsv", "/r", rows)
    assert [read_manifest(tmp_path / "a.tsv").relative_path(row) for row in range(4)] == [path for path, _ in rows]


@pytest.mark.parametrize("rows", [[], [("a\tb", 5)], [("a\nb", 5)], [("a", 0)], [("/a", 5)], [("a", 5), ("a", 6)]])
def test_rows_that_could_not_be_read_back_leave_the_old_manifest(written, rows):
    before = {path.name: path.read_bytes() for path in written.parent.iterdir()}
    with pytest.raises(MertError, match="train.tsv"):
        write_manifest(written, "/data/music", rows)
    assert {path.name: path.read_bytes() for path in written.parent.iterdir()} == before


def test_rewriting_replaces_the_file_under_a_reader(written):
    """A manifest that is open keeps its rows when another is renamed over it."""
    manifest = read_manifest(written)
    write_manifest(written, "/elsewhere", [("z.wav", 5)])
    assert manifest.relative_path(0) == ROWS[0][0]
    assert len(read_manifest(written)) == 1


def test_manifest_travels_to_a_spawned_worker(written):
    manifest = pickle.loads(pickle.dumps(read_manifest(written)))  # noqa: S301
    assert manifest.relative_path(1) == ROWS[1][0] and manifest.rows_hash() == read_manifest(written).rows_hash()


def test_root_is_written_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest("out/train.tsv", "music", [("a.wav", 5)])
    assert read_manifest("out/train.tsv").path(0) == tmp_path / "music" / "a.wav"
