"""Manifests that are refused with their line: malformed ones, edited ones, and side files of something else."""

import json

import pytest
from made_manifests import foreign

from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.errors import MertError


@pytest.mark.parametrize(
    "text, fault",
    [
        ("", "empty"),
        ("/r\n", "no rows"),
        ("/r", "no rows"),
        ("\na\t5\n", "line 1 is no root folder"),
        ("a.wav\t5\nb.wav\t6\n", "line 1 is no root folder"),
        ("/r\na.wav\t5\nb.wav 6\n", "line 3 has 0 tabs"),
        ("/r\na.wav\t5\t7\n", "line 2 has 2 tabs"),
        ("/r\na.wav\t5\t7\nb.wav\n", "line 2 has 2 tabs"),
        ("/r\na.wav\t5\n\n", "line 3 has 0 tabs"),
        ("/r\na.wav\t0\n", "line 2 has the length '0'"),
        ("/r\na.wav\t5\nb.wav\t-5\n", "line 3 has the length '-5'"),
        ("/r\na.wav\t5.0\n", "line 2 has the length '5.0'"),
        ("/r\na.wav\t\n", "line 2 has the length ''"),
        ("/r\na.wav\t9999999999999999\n", "line 2 has the length '9999999999999999'"),
        ("/r\na.wav\t5\r\n", "line 2 has the length"),
        ("/r\n\t5\n", "line 2 has the path ''"),
        ("/r\na.wav\t5\n/b.wav\t5\n", "line 3 has the path '/b.wav'"),
        ("/r\n../a.wav\t5\n", "line 2 has the path '../a.wav'"),
        ("/r\na/../../b.wav\t5\n", "line 2 has the path"),
        ("/r\na.wav\t5\n..\t5\n", "line 3 has the path '..'"),
        ("/r\na.wav\t5\nb.wav\t5\na.wav\t6\n", "line 4 has the same path as line 2, 'a.wav'"),
    ],
)
def test_malformed_manifests_are_refused(tmp_path, text, fault):
    path = foreign(tmp_path, text)
    with pytest.raises(MertError) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {fault}") and "run `mert manifest AUDIO_DIR OUT_DIR` again" in message
    assert "\n" not in message


def test_missing_manifest_is_refused(tmp_path):
    with pytest.raises(MertError, match="no such manifest; write it with `mert manifest"):
        read_manifest(tmp_path / "train.tsv")


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"sample_rate": 16_000}, "lengths at 16000 Hz; they must be at 24000 Hz"),
        ({"version": 2}, "version 2; this program reads mert-manifest 1"),
        ({"format": "other"}, "format other"),
        ({"rows": 4}, "edited after writing"),
        ({"sha256": "0" * 64}, "edited after writing"),
    ],
)
def test_side_file_of_something_else_is_refused(written, change, fault):
    side_path = written.with_suffix(".json")
    side_path.write_text(json.dumps({**json.loads(side_path.read_text()), **change}))
    with pytest.raises(MertError, match=fault):
        read_manifest(written)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"text"'])
def test_broken_side_file_is_refused(written, text):
    written.with_suffix(".json").write_text(text)
    with pytest.raises(MertError, match="not the side file of a manifest"):
        read_manifest(written)


def test_manifest_edited_after_writing_is_refused(written):
    written.write_bytes(written.read_bytes().replace(b"72000", b"72001"))
    with pytest.raises(MertError, match="edited after writing.*run `mert manifest"):
        read_manifest(written)
