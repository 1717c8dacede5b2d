"""What the criterion logs, averaged over steps and workers."""

import pytest
import torch
from criterion_outputs import logged, output, run

from mert_fairseq.criterions import MERTCriterion
from mert_fairseq.models.mert.code_prediction import CodePrediction


def test_the_log_is_unweighted():
    _, _, log = run(output(), 0.5, 0.25, features_pen_weight=3.0, cqt_weight=60.0)
    assert {key: float(value) for key, value in log.items() if key != "loss"} == {
        "ntokens": 20,
        "num_samples": 12_000,
        "flops": 7,
        "nsentences": 2,
        "sample_size": 20,
        "num_masked": 8,
        "num_frames": 20,
        "loss_features_pen": 0.25 * 20,
        "loss_cqt_m": 0.5 * 20,
        **{"loss_m_0": 16, "loss_m_1": 40, "correct_m_0": 2, "correct_m_1": 6, "count_m_0": 8, "count_m_1": 8},
        **{"loss_u_0": 24, "loss_u_1": 60, "correct_u_0": 3, "correct_u_1": 9, "count_u_0": 12, "count_u_1": 12},
    }


def test_the_log_holds_no_graph():
    net_output = output(features_pen=torch.tensor(0.25, requires_grad=True), cqt_mse_m=torch.tensor(0.5, requires_grad=True))
    net_output["codes_m"].losses.requires_grad_()
    loss, _, log = run(net_output)
    assert loss.requires_grad
    assert not any(value.requires_grad for value in log.values() if torch.is_tensor(value))


# reduce_metrics


def worker(num_masked, scale, num_frames=100, **changes):
    """A worker's log whose mean per frame is `scale` times 1, 2, ...; the sums carry `num_masked`."""
    losses, correct = num_masked * scale * torch.tensor([1.0, 2.0]), torch.tensor([num_masked // 2, num_masked // 4])
    codes = CodePrediction(losses, correct, num_masked)
    values = output(codes_m=codes, codes_u=None, cqt_mse_m=torch.tensor(3.0 * scale), features_pen=torch.tensor(4.0 * scale))
    return run({**values, "num_masked": num_masked, "num_frames": num_frames, **changes})[2]


def test_averages_are_weighted_by_frames():
    """1,000 and 200 frames on two workers, 400 in the next step: each figure is a sum over frames divided by their number."""
    found = logged([worker(1000, 1.0, 2000), worker(200, 4.0, 400)], [worker(400, 2.0, 600)])
    mean = (1000 * 1.0 + 200 * 4.0 + 400 * 2.0) / 1600
    assert found == pytest.approx(
        {
            "loss": mean * (1 + 2 + 10 * 4 + 3),
            "loss_features_pen": mean * 4,
            "loss_cqt_m": mean * 3,
            "loss_m_0": mean * 1,
            "loss_m_1": mean * 2,
            "loss_codes_m": mean * 3,
            "correct_m_0": 0.5,
            "correct_m_1": 0.25,
            "masked_share": 1600 / 3000,
        },
        rel=1e-6,
    )


def test_codebooks_are_weighted_by_their_own_count():
    logs = [{**worker(100, 1.0), "count_m_1": 100}, {**worker(100, 1.0), "count_m_1": 300, "loss_m_1": torch.tensor(900.0)}]
    assert logged(logs)["loss_m_1"] == pytest.approx((200 + 900) / 400)


def test_sums_over_workers_are_enough():
    """What fairseq does when logging_outputs_can_be_summed: one log with every number summed."""
    logs = [worker(1000, 1.0, 2000), worker(200, 4.0, 400)]
    summed = {key: sum(log[key] for log in logs) for key in logs[0]}
    assert MERTCriterion.logging_outputs_can_be_summed()
    assert logged(logs) == pytest.approx(logged([summed]), rel=1e-6)


def test_unmasked_frames_are_logged_apart():
    codes_u = CodePrediction(torch.tensor([24.0, 60.0]), torch.tensor([3, 9]), 12)
    found = logged([worker(8, 2.0, codes_u=codes_u)])
    assert (found["loss_u_0"], found["loss_u_1"], found["correct_u_1"]) == (2.0, 5.0, 0.75)
    assert found["loss_codes_m"] == 6.0


def test_nothing_masked_logs_nothing():
    assert logged([worker(0, 1.0)]) == {}


def test_no_masked_but_unmasked_frames():
    empty = CodePrediction(torch.zeros(2), torch.zeros(2, dtype=torch.long), 0)
    _, _, log = run(output(codes_m=empty, num_masked=0, cqt_mse_m=torch.tensor(0.0)), 1.0, 1.0)
    found = logged([log])
    assert found["loss_u_0"] == 2.0 and found["masked_share"] == 0
    assert not {"loss_m_0", "loss_codes_m", "correct_m_0"} & set(found)


def test_a_log_does_not_share_the_meters_of_another():
    assert logged([worker(10, 1.0)])["loss_m_0"] == 1.0
    assert logged([worker(10, 3.0)])["loss_m_0"] == 3.0
