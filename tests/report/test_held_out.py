"""What a checkpoint predicts of held-out clips, and what is said where it cannot be asked."""

import shutil

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from run_folders import NUM_BINS

from mert_fairseq.errors import MertError
from mert_fairseq.report.held_out import HeldOutClip, predict
from mert_fairseq.report.held_out_pictures import draw_spectra, draw_usage, perplexity, sorted_shares
from mert_fairseq.report.run_log import read_run_config


@pytest.fixture
def run(runs):
    folder = runs.make()
    runs.save_checkpoint(folder)
    return folder


def predictions(run, **options):
    return predict(run, read_run_config(run), **options)


def test_a_clip_and_its_codes(run):
    """The model's own spectrum and codes of masked clips: what its forward pass makes of each, as a batch of one."""
    found = predictions(run)
    assert found.checkpoint == run / "checkpoints" / "checkpoint_last.pt" and found.num_updates == 40 and found.seconds == 3.0
    clip = found.clip
    assert clip.file == "valid1.wav"  # the louder one
    assert clip.true.shape == clip.predicted.shape == (112, NUM_BINS) and clip.masked.shape == (112,)
    assert clip.frequencies[0] == pytest.approx(32.7) and clip.frequencies[48] == pytest.approx(65.4)
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(found.checkpoint)])
    task.load_dataset("valid")
    dataset, counts, errors = task.dataset("valid"), 0, []
    for index in (0, 1):
        batch = dataset.collater([dataset[index]])
        with torch.no_grad():
            output = model.eval()(target_list=batch["target_list"], **batch["net_input"])
        counts, errors = counts + output["codes_m"].counts, [*errors, float(output["cqt_mse_m"])]
    assert clip.error == pytest.approx(errors[1], rel=1e-3) and clip.masked.sum() == output["num_masked"]
    assert [part.tolist() for part in found.codes] == [counts[:, 4:1004].tolist(), counts[:, 1008:].tolist()]
    np.testing.assert_allclose(clip.true, batch["net_input"]["cqt_targets"][0, :112], rtol=1e-3)


def test_only_so_much_is_heard(run):
    assert predictions(run, listened_s=0.5).seconds == 1.5


def test_a_model_without_a_cqt_head(runs):
    folder = runs.make(task__cqt_labels=None)
    runs.save_checkpoint(folder, audio_cqt_loss_m=False)
    found = predictions(folder)
    assert found.clip is None and len(found.codes) == 2


def test_errors_of_the_clip_by_hand():
    true, masked = np.array([[0.0, 2.0], [2.0, 2.0]]), np.array([True, False])
    clip = HeldOutClip("f", 0, 0, true, np.array([[1.0, 2.0], [9.0, 9.0]]), masked, np.array([3.0, 2.0]), None)
    assert clip.error == 0.5 and clip.error_of_mean == 4.5


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda run: shutil.rmtree(run / "checkpoints"), "checkpoints: no checkpoint_last.pt or checkpoint_best.pt in it yet"),
        (lambda run: (run / "checkpoints" / "checkpoint_last.pt").write_bytes(b"x"), "checkpoint_last.pt: truncated or not a checkpoint"),
        (lambda run: shutil.rmtree(run.parent / "labels"), "valid.codes: no such folder of targets"),
        (lambda run: shutil.rmtree(run.parent / "manifests"), "valid.tsv: no such manifest"),
        (lambda run: shutil.rmtree(run.parent / "audio"), r"valid\d.wav"),
    ],
    ids=["checkpoint", "damaged", "labels", "manifest", "audio"],
)
def test_what_is_missing_is_named_in_one_line(run, spoil, message):
    spoil(run)
    with pytest.raises(MertError, match=message) as caught:
        predictions(run)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model(run):
    path = run / "checkpoints" / "checkpoint_last.pt"
    state = torch.load(path, weights_only=True)
    state["model"].pop("mask_emb")
    torch.save(state, path)
    with pytest.raises(MertError, match="no checkpoint that this version of the package can load"):
        predictions(run)


def test_the_best_checkpoint_stands_in_for_the_last(run):
    folder = run / "checkpoints"
    (folder / "checkpoint_last.pt").rename(folder / "checkpoint_best.pt")
    assert predictions(run).checkpoint.name == "checkpoint_best.pt"


def test_pictures_of_any_shape(run):
    found = predictions(run)
    assert draw_spectra(found.clip)[:4] == b"\x89PNG"
    found.codes = [np.array([[0, 0, 0], [1, 2, 3]])] * 9  # nothing but special symbols was predicted; more codebooks than are drawn
    assert draw_usage([], found)[:4] == b"\x89PNG"


def test_shares_and_perplexity_by_hand():
    assert sorted_shares(np.array([0, 2, 6])).tolist() == [0.75, 0.25] and len(sorted_shares(np.zeros(3, int))) == 0
    assert perplexity(np.array([4, 4])) == pytest.approx(2) and perplexity(np.zeros(3, int)) == 0
