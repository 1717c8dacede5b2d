"""The criterion: what each weight does, and what is refused."""

import dataclasses

import pytest
from criterion_outputs import criterion, output, run

from mert_fairseq.criterions import MERTCriterion, MERTCriterionConfig
from mert_fairseq.errors import MertError


@pytest.mark.parametrize(
    "weights, wanted",
    [
        ({}, 56 + 10 * 0.25 * 8 + 1 * 0.5 * 8),  # the published weights: 10 and 1
        ({"features_pen_weight": 0.0}, 56 + 0.5 * 8),
        ({"cqt_weight": 0.0}, 56 + 10 * 0.25 * 8),
        ({"features_pen_weight": 0.0, "cqt_weight": 60.0}, 56 + 60 * 0.5 * 8),
        ({"features_pen_weight": 2.0, "cqt_weight": 3.0}, 56 + 2 * 0.25 * 8 + 3 * 0.5 * 8),
    ],
)
def test_weights_by_name(weights, wanted):
    loss, sample_size, log = run(output(codes_u=None), **weights)
    assert float(loss) == wanted and sample_size == 8 and log["sample_size"] == 8


def test_weight_of_masked_frames():
    loss, sample_size, _ = run(output(codes_u=None), 0.5)
    assert float(loss) == 0.5 * 56 + 10 * 0.25 * 8 + 0.5 * 8 and sample_size == 8


def test_unmasked_frames_count_if_they_have_a_weight():
    loss, sample_size, _ = run(output(), 1.0, 0.5)
    assert float(loss) == 56 + 0.5 * 84 + (10 * 0.25 + 0.5) * 20 and sample_size == 20
    loss, sample_size, log = run(output(), 1.0, 0.0)
    assert float(loss) == 56 + (10 * 0.25 + 0.5) * 8 and sample_size == 8
    assert log["loss_u_1"] == 60  # logged, though it has no weight


def test_unmasked_frames_only():
    loss, sample_size, log = run(output(codes_m=None), 0.0, 1.0)
    assert float(loss) == 84 + (10 * 0.25 + 0.5) * 12 and sample_size == 12
    assert not any(key.startswith("loss_m") for key in log)


def test_terms_by_name():
    terms = criterion(1.0, 2.0, cqt_weight=4.0).weighted_terms(output())
    assert {name: float(term) for name, term in terms.items()} == {
        "features_pen": 10 * 0.25 * 20,
        "codes_m": 56,
        "codes_u": 2 * 84,
        "cqt_m": 4 * 0.5 * 20,
    }


def test_no_cqt_head():
    loss, _, log = run(output(cqt_mse_m=None))
    assert float(loss) == 56 + 10 * 0.25 * 8 and "loss_cqt_m" not in log


@pytest.mark.parametrize(
    "weights, missing, wanted",
    [
        ((1.0, 0.5), "codes_u", "criterion.pred_nomask_weight=0.5 needs model.skip_nomask=false"),
        ((1.0, 0.5), "codes_m", "criterion.pred_masked_weight=1.0 needs model.skip_masked=false"),
        ((0.0, 0.0), None, "no frame's codes are predicted"),
    ],
)
def test_a_weight_without_its_prediction_is_refused(weights, missing, wanted):
    with pytest.raises(MertError, match=wanted):
        run(output(**({missing: None} if missing else {})), *weights)


@pytest.mark.parametrize("loss_weights", [[10, 1], [10.0], []])
def test_positional_weights_are_refused(loss_weights):
    with pytest.raises(MertError, match="criterion.features_pen_weight and criterion.cqt_weight") as refusal:
        criterion(loss_weights=loss_weights)
    assert f"criterion.loss_weights={loss_weights}" in str(refusal.value)


def test_every_setting_reaches_the_criterion():
    values = {"pred_masked_weight": 0.5, "pred_nomask_weight": 0.25, "features_pen_weight": 3.0, "cqt_weight": 60.0, "nan_patience": 3}
    built = MERTCriterion.build_criterion(MERTCriterionConfig(**values), None)
    assert {name: getattr(built, name) for name in values} == values
    defaults = MERTCriterion.build_criterion(MERTCriterionConfig(), None)
    assert [getattr(defaults, name) for name in values] == [1.0, 0.0, 10.0, 1.0, 10]
    assert {field.name for field in dataclasses.fields(MERTCriterionConfig)} == {*values, "loss_weights", "log_keys", "_name"}
