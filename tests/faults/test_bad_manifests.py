"""Manifests of all kinds of wrong: one line with file and line number, whichever command reads them, and nothing written."""

import json

import numpy as np
import pytest
from outcomes import mert

from mert_fairseq.data.manifest import read_manifest, write_manifest
from mert_fairseq.errors import MertError

ROOT, CRLF = "/music", ", CRLF"
BAD = {
    "duplicate rows": ["a.wav\t5", "b.wav\t5", "a.wav\t5"],
    "duplicate, other length": ["a.wav\t5", "a.wav\t6"],
    "two tabs": ["a\tb.wav\t5"],
    "no tab": ["a.wav 5"],
    "tab at the end": ["a.wav\t5\t"],
    "tab at the beginning": ["\ta.wav\t5"],
    "empty row": ["a.wav\t5", "", "b.wav\t5"],
    "broken over two rows": ["a", "b.wav\t5"],
    "no path": ["\t5"],
    "no length": ["a.wav\t"],
    "above the root": ["../a.wav\t5"],
    "above, later": ["b/../../a.wav\t5"],
    "root itself climbed": ["..\t5"],
    "hidden above": ["a/b/../../../c\t5"],
    "absolute": ["/etc/passwd\t5"],
    "absolute in the root": ["/music/a.wav\t5"],
    "0": ["a.wav\t0"],
    "negative": ["a.wav\t-5"],
    "float": ["a.wav\t5.0"],
    "exponent": ["a.wav\t1e5"],
    "plus": ["a.wav\t+5"],
    "blank before": ["a.wav\t 5"],
    "hexadecimal": ["a.wav\t0x5"],
    "huge": ["a.wav\t9999999999999999"],
    "very huge": [f"a.wav\t{10**40}"],
    "nan": ["a.wav\tnan"],
    "text": ["a.wav\tfive"],
    "other digits": ["a.wav\t５"],
    "minus sign of unicode": ["a.wav\t−5"],
    "zero width": ["a.wav\t5\u200b"],
    "null byte": ["a.wav\t5\0"],
    "CR in the middle": ["a.wav\t5\r", "b.wav\t6"],
    "very long path": ["x" * 70_000 + "\t5"],
    "HTML": ["<html>", "<body>"],
    "CSV": ["a.wav,5"],
}
WHOLE = {
    "empty": b"",
    "a newline": b"\n",
    "root alone": b"/music\n",
    "root without newline": b"/music",
    "missing header": b"a.wav\t5\nb.wav\t6\n",
    "blank root": b"  \na.wav\t5\n",
    "zeros": bytes(5000),
    "binary": bytes(range(256)) * 40,
    "wave": b"RIFF\x24\0\0\0WAVEfmt " * 9,
    "gzip": b"\x1f\x8b\x08\0" + bytes(range(200)),
    "UTF-16": "/music\na.wav\t5\n".encode("utf-16"),
    "JSON": b'{"root": "/music"}\n',
    "root longer than a page": b"/" + b"x" * 9000 + b"\na.wav\t5\n",
}
GOOD = {
    "unicode": ["Björk/Jóga – 2.flac\t5", "音楽/曲.ogg\t6", "a\u0301.wav\t7", "á.wav\t8"],
    "blanks": [" a b .wav \t5"],
    "dots inside": ["a/../b.wav\t5", "a/./c.wav\t6", "..a.wav\t7", "a...wav\t8"],
    "quotes": ["'\"`$(x)`.wav\t5"],
    "leading zeros": ["a.wav\t0005"],
    "line separators of unicode": ["a\u2028b\x85c\x0b.wav\t5"],
}


def text_of(rows, end="\n"):
    return f"{end}".join([ROOT, *rows, ""]).encode()


@pytest.mark.parametrize("what", BAD)
def test_bad_rows(what, faults, tmp_path):
    """With either line end, at the beginning, in the middle and at the end of more rows."""
    more = [f"more{number}.wav\t100" for number in range(faults.times(3, 50))]
    for end in ("\n", "\r\n"):
        if end == "\r\n" and what.startswith("CR"):
            continue
        for rows in (BAD[what], [*BAD[what], *more], [*more, *BAD[what]], [*more[:2], *BAD[what], *more[2:]]):
            path = tmp_path / "train.tsv"
            path.write_bytes(text_of(rows, end))
            with pytest.raises(MertError) as caught:
                read_manifest(path)
            line = str(caught.value)
            named = line.startswith(f"{path}: line ") or (line.startswith(f"{path}: ") and "bytes" in line)
            outcome = "refused" if named and "\n" not in line and "\r" not in line else "silent"
            faults.record("manifest: bad row", outcome, f"{what}: {line[:300]}", what + CRLF * (end == "\r\n"))


@pytest.mark.parametrize("what", WHOLE)
def test_no_manifest_at_all(what, faults, tmp_path):
    for split in ("train", "valid"):
        (tmp_path / f"{split}.tsv").write_bytes(WHOLE[what])
    out = tmp_path / "out"
    for command in (
        ("labels", "cqt", tmp_path, out),
        ("teacher", "fit", "rvqvae", tmp_path, out),
        ("teacher", "fit", "kmeans", tmp_path, out, "--features", "mfcc"),
    ):
        shown = mert(*command)
        faults.record("manifest: not one, commands", shown.outcome.replace("survived", "silent"), f"{what}: {shown.text}")
        assert not out.exists()


@pytest.mark.parametrize("what", GOOD)
def test_odd_rows_that_are_right(what, faults, tmp_path):
    """Read as they stand, and written back."""
    rows = [(row.rpartition("\t")[0], int(row.rpartition("\t")[2])) for row in GOOD[what]]
    for end in ("\n", "\r\n"):
        (tmp_path / "train.tsv").write_bytes(text_of(GOOD[what], end))
        manifest = read_manifest(tmp_path / "train.tsv")
        found = [(manifest.relative_path(row), int(manifest.num_samples[row])) for row in range(len(manifest))]
        faults.record("manifest: odd and right", "survived" if found == rows else "silent", str(found), what + CRLF * (end == "\r\n"))
    write_manifest(tmp_path / "again.tsv", ROOT, rows)
    manifest = read_manifest(tmp_path / "again.tsv")
    assert [manifest.relative_path(row) for row in range(len(manifest))] == [name for name, _ in rows]


def test_names_that_are_no_utf_8(faults, tmp_path):
    """Linux allows them: they are read as they stand, and an error that names one can be printed."""
    for split in ("train", "valid"):
        (tmp_path / f"{split}.tsv").write_bytes(str(tmp_path).encode() + b"\n\xff\xfe caf\xe9.wav\t72000\n")
    assert read_manifest(tmp_path / "train.tsv").path(0).name == "\udcff\udcfe caf\udce9.wav"
    shown = mert("labels", "cqt", tmp_path, tmp_path / "out")
    faults.record("manifest: no UTF-8", shown.outcome.replace("survived", "silent"), shown.text)


def test_flipped_bits(faults, tmp_path):
    """The JSON beside it pins the rows; of the root folder nothing is said, its files are not found then."""
    path = tmp_path / "train.tsv"
    write_manifest(path, ROOT, [(f"album {row // 4}/{row}.flac", 24_000 * (row + 1)) for row in range(40)])
    rng, wanted = np.random.default_rng(0), read_manifest(path).rows_hash()
    for name in ("train.tsv", "train.json"):
        text = (tmp_path / name).read_bytes()
        for number in range(faults.times(30, 200)):
            changed = bytearray(text)
            changed[int(rng.integers(len(text)))] ^= 1 << int(rng.integers(8))
            (tmp_path / name).write_bytes(changed if number % 5 else changed[: int(rng.integers(len(text)))])
            try:
                found = read_manifest(path)
                outcome, said = "survived" if found.rows_hash() == wanted else "silent", ""
            except MertError as error:
                outcome, said = "silent" if "\n" in str(error) else "refused", str(error)
            faults.record(f"manifest: {name} flipped or cut", outcome, said)
        (tmp_path / name).write_bytes(text)
    assert json.loads((tmp_path / "train.json").read_text())["rows"] == 40
