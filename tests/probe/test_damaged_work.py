"""Kept work that is not as it was written is refused in one line, or done again where it has no checksum."""

import json
import logging

import numpy as np
import pytest
from made_up_task import probed

from mert_fairseq.errors import MertError
from mert_fairseq.json_hash import KEY, with_hash
from mert_fairseq.probe.kept_work import FILE_SUM, KeptWork
from mert_fairseq.probe.probing import GridSettings

ONE = GridSettings(layers=(0,), rates=(1e-2,), seeds=(1,))
POINT, HEAD = "grid_layer-0_rate-0.01_seed-1", "test_layer-0_rate-0.01_seed-1"


def flipped(data, places=None):
    """The bytes with each bit flipped, one after another."""
    for place in range(len(data)) if places is None else places:
        for bit in range(8):
            yield data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def test_kept_work_that_was_damaged_is_named(tmp_path):
    probed(tmp_path, grid=ONE)
    work = tmp_path / "work"
    whole = (work / f"{POINT}.json").read_text()
    for text in ("{", json.dumps(with_hash({"layer": 0}))):
        (work / f"{POINT}.json").write_text(text)
        with pytest.raises(MertError, match=f"{POINT}.json: cannot be read .*; remove it, and the same command makes it again"):
            probed(tmp_path, grid=ONE)
    (work / f"{POINT}.json").write_text(whole)
    (work / f"{HEAD}.npy").write_bytes(b"no array")
    with pytest.raises(MertError, match=f"{HEAD}.npy: cannot be read .*; remove it and {HEAD}.json, and"):
        probed(tmp_path, grid=ONE)


def test_heads_of_another_version_are_refused_in_one_line(tmp_path):
    probed(tmp_path, grid=ONE)
    path = tmp_path / "work" / f"{HEAD}.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(with_hash({**content, "best": 3})))
    with pytest.raises(MertError, match=f"{HEAD}.json: cannot be read .it does not hold what this version keeps there.; remove it"):
        probed(tmp_path, grid=ONE)


def test_kept_work_that_is_not_as_it_was_written_is_refused(tmp_path):
    work = KeptWork(tmp_path, {})
    work.write("piece", {"value": 1.0}, np.ones(3))
    text = (tmp_path / "piece.npy").read_bytes()
    for changed in (text[:-1] + b"\x01", text[:-8]):
        (tmp_path / "piece.npy").write_bytes(changed)
        with pytest.raises(MertError, match="piece.npy: cannot be read .*; remove it and piece.json"):
            work.read_array("piece")
    content = json.loads((tmp_path / "piece.json").read_text())
    for changed in (json.dumps({**content, "value": 2.0}), "[1]", "[" * 9000):
        (tmp_path / "piece.json").write_text(changed)
        with pytest.raises(MertError, match="piece.json: cannot be read .*; remove it"):
            work.read("piece")


def test_each_bit_of_an_array_and_of_its_header_counts(tmp_path):
    """One of them makes "<f4" of ">f4": as many numbers, and other ones."""
    work = KeptWork(tmp_path, {})
    work.write("piece", {}, np.arange(3, dtype=np.float32))
    path = tmp_path / "piece.npy"
    for changed in flipped(path.read_bytes()):
        path.write_bytes(changed)
        with pytest.raises(MertError, match="piece.npy: cannot be read .not as it was written.; remove it and piece.json"):
            work.read_array("piece")


def test_no_bit_of_a_piece_changes_what_is_read(tmp_path):
    """Where the hash's own name is hit the piece has none, and is done again."""
    work = KeptWork(tmp_path, {})
    work.write("piece", {"value": 1.0}, np.ones(3))
    path, undone = tmp_path / "piece.json", 0
    for changed in flipped(path.read_bytes()):
        path.write_bytes(changed)
        try:
            found = work.read("piece")
        except MertError as error:
            assert "\n" not in str(error) and str(error).endswith("remove it, and the same command makes it again")
        else:
            undone += found is None
            assert found in (None, {"value": 1.0})  # the latter where only blanks changed
    assert undone >= 5 * len(KEY)


@pytest.mark.parametrize("without", [(KEY,), (KEY, FILE_SUM), (FILE_SUM,)])
def test_pieces_without_a_checksum_are_done_again(tmp_path, caplog, without):
    wanted = probed(tmp_path, grid=ONE)
    for path in (tmp_path / "work").glob("*.json"):
        content = {key: value for key, value in json.loads(path.read_text()).items() if key not in without}
        path.write_text(json.dumps(with_hash(content) if KEY not in without else content))
    caplog.clear()
    with caplog.at_level(logging.WARNING, "mert_fairseq"):
        found = probed(tmp_path, grid=ONE)
    assert found.scores == wanted.scores and found.seeds == wanted.seeds
    undone = {f"{HEAD}.npy"} if without == (FILE_SUM,) else {f"{POINT}.json", f"{HEAD}.json"}
    said = [record.message for record in caplog.records if "this is done again" in record.message]
    assert {line.partition(":")[0].rpartition("/")[2] for line in said} == undone and len(said) == len(undone)
    kept = json.loads((tmp_path / "work" / f"{HEAD}.json").read_text())
    assert KEY in kept and FILE_SUM in kept and KEY in json.loads((tmp_path / "work" / "settings.json").read_text())


def test_work_of_settings_that_nobody_knows_is_refused(tmp_path):
    KeptWork(tmp_path, {"rate": 1})
    path = tmp_path / "settings.json"
    path.unlink()
    KeptWork(tmp_path, {"rate": 2}).write("piece", {"value": 2.0})
    text = path.read_text()
    path.unlink()
    anew = f"remove {tmp_path} to begin anew"
    with pytest.raises(MertError, match=f"settings.json: missing, so that nobody knows .*; {anew}"):
        KeptWork(tmp_path, {"rate": 1})
    for damaged in ("{", "[1]", text.replace('"rate": 2', '"rate": 1'), text.replace(KEY, "x"), ""):
        path.write_text(damaged)
        with pytest.raises(MertError, match=f"settings.json: cannot be read .*; {anew}"):
            KeptWork(tmp_path, {"rate": 1})
    path.write_text('{"rate": 2}')  # by an earlier version
    assert KeptWork(tmp_path, {"rate": 2}).read("piece") == {"value": 2.0}
