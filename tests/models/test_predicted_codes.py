"""Code prediction in the model: each codebook's projection and targets, and which frames are predicted."""

import torch
from test_code_prediction import UNEQUAL, expanded
from test_golden import TaskSettings, tiny_config

from mert_fairseq.models.mert import MERTModel


def test_model_gives_each_codebook_its_projection_and_its_targets():
    torch.manual_seed(0)
    model = MERTModel(tiny_config(encoder_layers=1, audio_cqt_loss_m=False), TaskSettings, [size - 4 for size in UNEQUAL]).eval()
    assert model.label_embs_concat.shape == (sum(UNEQUAL), 16) and model.final_proj.out_features == 3 * 16
    source = torch.randn(2, 24000)
    targets = [torch.randint(4, size, (2, 75)) for size in UNEQUAL]
    mask = torch.arange(74).expand(2, -1) % 3 == 0
    outputs = []
    model.encoder.register_forward_hook(lambda module, args, result: outputs.append(result[0]))
    found = model(source, targets, mask_indices=mask)["codes_m"]
    projected = model.final_proj(outputs[0][mask]).unflatten(-1, (3, 16))
    wanted = torch.stack([target[:, :74][mask] for target in targets], dim=-1)
    losses, hits, _, _ = expanded(projected, wanted, model.label_embs_concat, UNEQUAL, 0.1)
    torch.testing.assert_close(found.losses.detach().double(), losses, rtol=1e-5, atol=0)
    assert found.correct.tolist() == hits and found.num_frames == int(mask.sum())


def test_one_projection_for_all_codebooks():
    torch.manual_seed(0)
    config = tiny_config(encoder_layers=1, audio_cqt_loss_m=False, untie_final_proj=False)
    model = MERTModel(config, TaskSettings, [20, 20]).eval()
    assert model.final_proj.out_features == 16
    with torch.no_grad():
        model.label_embs_concat[24:] = model.label_embs_concat[:24]
        target = torch.randint(4, 24, (1, 75))
        losses = model(torch.randn(1, 24000), [target, target])["codes_m"].losses
    assert losses[0] > 0 and losses[0] == losses[1]


def test_unmasked_frames_are_predicted_only_if_asked():
    torch.manual_seed(0)
    source, targets = torch.randn(1, 24000), [torch.randint(4, 12, (1, 75))]
    for skip in ("skip_nomask", "skip_masked"):
        switches = {"skip_nomask": False, "skip_masked": False, skip: True}
        config = tiny_config(encoder_layers=1, audio_cqt_loss_m=False, **switches)
        found = MERTModel(config, TaskSettings, [8]).eval()(source, targets)
        wanted, skipped = ("codes_m", "codes_u") if skip == "skip_nomask" else ("codes_u", "codes_m")
        num_masked = found["num_masked"]
        assert found[skipped] is None and found["num_frames"] == 74 and 0 < num_masked < 74
        assert found[wanted].num_frames == (num_masked if wanted == "codes_m" else 74 - num_masked)
