"""The check of a whole store, and the repair of what it finds."""

import numpy as np
import pytest
from made_teacher import LENGTHS, contents

from mert_fairseq.data.shard import shard_path, write_shard
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.teachers.labeller import encodec_labeller
from mert_fairseq.teachers.labelling import write_labels
from mert_fairseq.teachers.rvqvae import RVQVAE, RVQVAESettings
from mert_fairseq.teachers.store_check import check_store, repair_store

pytestmark = pytest.mark.usefixtures("recordings")


def only_fault(folder, manifest):
    result = check_store(folder, manifest)
    assert len(result.faults) == 1 and "\n" not in result.faults[0]
    return result.faults[0]


@pytest.mark.parametrize("kind", ["codes", "cqt"])
def test_a_sound_store(corpus, kind):
    manifest = corpus.manifest([24_000 * 36] * 2)  # 72 s: 0.02 h
    result = check_store(corpus.store(manifest, [np.zeros((2700, 2 if kind == "codes" else 3))] * 2, kind=kind), manifest)
    assert result.faults == [] and result.frames == 5400 and result.broken == []


@pytest.mark.parametrize("kind", ["codes", "cqt"])
@pytest.mark.parametrize("shard", [0, 2])
def test_a_flipped_bit_is_found(corpus, manifest, kind, shard):
    folder = corpus.store(manifest, kind=kind, num_shards=3)
    path = shard_path(folder, shard, 3)
    content = bytearray(path.read_bytes())
    content[-2 if kind == "codes" else -6] ^= 1  # in the last frame; a code that stays in range, a number that stays finite
    path.write_bytes(content)
    assert TargetStore(folder, manifest, kind, 75.0).width  # opens: training does not read every byte
    assert only_fault(folder, manifest) == (
        f"{path}: its bytes changed since it was written (sha256 differs); delete it and run `mert labels` again"
    )


def test_a_truncated_shard_is_found(corpus, manifest):
    path = shard_path(corpus.store(manifest, num_shards=3), 1, 3)
    path.write_bytes(path.read_bytes()[:-1])
    assert only_fault(path.parent, manifest).startswith(f"{path}: truncated or damaged")


def test_a_code_out_of_range_is_found(corpus, manifest):
    arrays = [corpus.codes(row, length) for row, length in enumerate(LENGTHS)]
    arrays[4][2, 1] = 16
    folder = corpus.store(manifest, arrays, num_shards=3)
    assert only_fault(folder, manifest).startswith(f"{shard_path(folder, 2, 3)}: a code is not below [1000, 16]; delete it")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_a_cqt_that_is_not_finite_is_found(corpus, manifest, value):
    """1e6 is infinite as float16."""
    arrays = [corpus.cqt(row, length) for row, length in enumerate(LENGTHS)]
    arrays[3][5, 1] = value
    with np.errstate(over="ignore"):
        folder = corpus.store(manifest, arrays, kind="cqt", num_shards=3)
    assert only_fault(folder, manifest).startswith(f"{shard_path(folder, 1, 3)}: values that are not finite; delete it")


def test_a_missing_shard_is_found(corpus, manifest):
    path = shard_path(corpus.store(manifest, num_shards=3), 1, 3)
    path.with_suffix(".json").unlink()
    assert only_fault(path.parent, manifest).startswith(f"{path.with_suffix('.json')}: missing; make the shard")


def test_another_manifest_is_found(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    assert "it belongs to another manifest" in only_fault(folder, corpus.manifest(LENGTHS[:-1] + (4001,)))


def test_a_missing_store_is_found(corpus, manifest, tmp_path):
    assert only_fault(tmp_path / "train.none", manifest).startswith(f"{tmp_path / 'train.none'}: no such folder of targets")


def test_all_faults_of_a_store_are_listed(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    shard_path(folder, 0, 3).write_bytes(b"")
    shard_path(folder, 2, 3).unlink()
    result = check_store(folder, manifest)
    assert [fault.split(": ")[0] for fault in result.faults] == [str(shard_path(folder, shard, 3)) for shard in (0, 2)]
    assert result.broken == [0, 2]


def test_a_store_larger_than_one_block(corpus, monkeypatch):
    """Faults behind the first block count as well."""
    monkeypatch.setattr("mert_fairseq.teachers.store_check.BLOCK", 4)
    manifest = corpus.manifest([3200])
    codes = corpus.codes(0, 3200)
    assert check_store(corpus.store(manifest, [codes]), manifest).faults == []
    codes[9, 1] = 16
    assert "a code is not below" in only_fault(corpus.store(manifest, [codes]), manifest)


def test_the_shard_of_another_teacher_is_found(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    info = corpus.info(manifest, 1, 3, weights_sha256="cd" * 32)
    write_shard(shard_path(folder, 1, 3), info, [corpus.codes(row, LENGTHS[row]) for row in range(*info.rows)])
    assert only_fault(folder, manifest).startswith(f"{shard_path(folder, 1, 3)}: teacher, settings or weights differ from most")


# Repair.


def test_repair_makes_the_broken_shards_again_and_no_others(manifest, folder, teacher_folder, monkeypatch, tmp_path):
    write_labels(manifest, folder, encodec_labeller(str(teacher_folder)), 4, range(4))
    before, times = contents(folder), {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    shard_path(folder, 0, 4).write_bytes(b"")
    shard_path(folder, 2, 4).with_suffix(".json").write_text("{")
    monkeypatch.chdir(tmp_path)  # the weights are found from anywhere
    assert repair_store(folder, manifest, check_store(folder, manifest)) == 2
    assert contents(folder) == before
    changed = {path.name[:11] for path in folder.iterdir() if path.stat().st_mtime_ns != times[path.name]}
    assert changed == {"shard-00000", "shard-00002"}


def test_repair_with_other_weights_is_refused_before_anything_is_deleted(manifest, folder, teacher_folder):
    write_labels(manifest, folder, encodec_labeller(str(teacher_folder)), 2, range(2))
    other = RVQVAE(RVQVAESettings(n_filters=2, dimension=4, num_codebooks=3, codebook_size=8))
    other.save(teacher_folder)
    shard_path(folder, 0, 2).write_bytes(b"x")
    before = contents(folder)
    with pytest.raises(MertError, match="its weights are not those of the other shards"):
        repair_store(folder, manifest, check_store(folder, manifest))
    assert contents(folder) == before


def test_a_store_that_does_not_say_what_made_it_cannot_be_repaired(corpus, manifest):
    folder = corpus.store(manifest, num_shards=3)
    shard_path(folder, 1, 3).unlink()
    before = contents(folder)
    with pytest.raises(MertError, match="made by another program"):
        repair_store(folder, manifest, check_store(folder, manifest))
    assert contents(folder) == before


def test_a_store_of_another_manifest_is_not_repaired_away(corpus, manifest, folder, teacher_folder):
    write_labels(manifest, folder, encodec_labeller(str(teacher_folder)), 2, range(2))
    before = contents(folder)
    other = corpus.manifest(LENGTHS + (640,))
    with pytest.raises(MertError, match="belong to another manifest"):
        repair_store(folder, other, check_store(folder, other))
    assert contents(folder) == before


def test_frames_that_do_not_cover_the_audio_are_found(corpus, manifest):
    arrays = [corpus.codes(row, length) for row, length in enumerate(LENGTHS)]
    arrays[4] = arrays[4][:-1]
    assert "row 4 has 2 frames, its audio needs 3" in only_fault(corpus.store(manifest, arrays, num_shards=3), manifest)
