"""Each alarm fires on a case that deserves it, once, and is silent on figures that healthy runs had."""

import math

import pytest
from fairseq.tasks.fairseq_task import StatefulContainer

from mert_fairseq.tasks.alarm_line import Alarm, read_alarm, short_list, still_on
from mert_fairseq.tasks.alarms import ADVICE, COLLAPSED, FEATURES, LEARNED_NOTHING, LOSS_SCALE, Alarms, CodebookFigures

#: What a run of half an hour had at its first validation behind a warm-up of 50 updates, and later (codebook 7 of 8).
EARLY = CodebookFigures(20_000, 950, 0.0353, 6.4619, 0.0434, 6.43, 1.38, 630.0)
LATE = CodebookFigures(20_000, 950, 0.0403, 5.8405, 0.0434, 6.43, 54.2, 630.0)
#: Features' mean square of the same run, each the mean of 50 updates: it falls at first, then rises to 7 times its lowest.
HEALTHY_FEATURES = (0.02264, 0.0092, 0.00252, 0.00696, 0.01564, 0.01796, 0.0151, 0.01339, 0.01195, 0.01026)


def figures(**changes):
    return CodebookFigures(**{**vars(LATE), **changes})


def warm(state=None):
    """Alarms of a run whose learning rate no longer rises."""
    alarms = Alarms(state or StatefulContainer())
    for update, lr in ((50, 0.1), (100, 0.1)):
        assert alarms.after_update(update, lr, None) == []
    return alarms


def names(found):
    return [(alarm.name, alarm.over) for alarm in found]


def validations(alarms, *lists):
    """Names raised at each of some validations in a row."""
    return [names(alarms.after_validation(1000 * number, list(codebooks))) for number, codebooks in enumerate(lists, 1)]


# Codebooks.


def test_a_healthy_run_is_silent():
    assert validations(warm(), [EARLY, EARLY], [LATE, LATE], [LATE, LATE]) == [[], [], []]


@pytest.mark.parametrize("perplexity", [1.0, 1.9])
def test_predictions_of_a_code_or_two(perplexity):
    dead = figures(predicted_perplexity=perplexity)
    alarms = warm()
    assert validations(alarms, [LATE, dead], [LATE, dead], [LATE, dead]) == [[], [(COLLAPSED, False)], []]
    assert names(alarms.after_validation(4000, [LATE, LATE])) == [(COLLAPSED, True)]
    assert validations(alarms, [LATE, dead], [LATE, dead])[1] == [(COLLAPSED, False)]  # a second onset


def test_the_line_names_codebooks_figures_and_what_to_do():
    dead = figures(predicted_perplexity=1.01)
    alarms = warm()
    alarms.after_validation(500, [dead, LATE, dead])
    (alarm,) = alarms.after_validation(1000, [dead, LATE, dead])
    assert alarm.subjects == ("codebook 0", "codebook 2") and alarm.update == 1000
    assert "1.01 (630), 1.01 (630)" in alarm.text and alarm.text.endswith(ADVICE[COLLAPSED])


def test_a_teacher_of_few_codes_may_be_predicted_by_one():
    few = figures(predicted_perplexity=1.0, target_perplexity=6.0)
    assert validations(warm(), [few], [few], [few]) == [[], [], []]


NOTHING = dict(accuracy=0.03, cross_entropy=6.5)


@pytest.mark.parametrize("accuracy", [0.0, 0.03, 0.0434])
def test_accuracy_not_above_the_most_frequent_code(accuracy):
    stuck = figures(**{**NOTHING, "accuracy": accuracy})
    assert validations(warm(), [stuck], [stuck], [stuck]) == [[], [(LEARNED_NOTHING, False)], []]


@pytest.mark.parametrize(
    "changes", [dict(accuracy=0.05), dict(cross_entropy=6.4), dict(num_frames=4000)], ids=["accurate", "knows more", "few frames"]
)
def test_accuracy_is_left_alone_where_it_is_no_failure(changes):
    fine = figures(**{**NOTHING, **changes})
    assert validations(warm(), [fine], [fine], [fine]) == [[], [], []]


def test_one_bad_validation_is_not_enough():
    stuck = figures(**NOTHING)
    assert validations(warm(), [stuck], [LATE], [stuck], [LATE]) == [[], [], [], []]


def test_nothing_is_judged_during_the_warm_up():
    alarms, stuck = Alarms(StatefulContainer()), figures(**NOTHING, predicted_perplexity=1.0)
    for update in range(50, 1000, 50):
        alarms.after_update(update, lr=update / 1000, features_pen=None)
        assert alarms.after_validation(update, [stuck]) == []
    alarms.after_update(1000, lr=0.95, features_pen=None)  # as high as before: the top is reached
    assert alarms.after_validation(1000, [stuck]) == []
    assert sorted(names(alarms.after_validation(1050, [stuck]))) == [(LEARNED_NOTHING, False), (COLLAPSED, False)]


# Loss scale and features.


def updates(alarms, key, values):
    """Names raised at each of some looks in a row."""
    return [names(alarms.after_update(50 * number, 0.1, **{"features_pen": None, key: value})) for number, value in enumerate(values)]


def test_a_collapsing_loss_scale_is_told_once():
    scales = [128.0, 32.0, 1.0, 0.25, 0.125, 0.0625, 0.125, 0.25, 0.125, 1.0, 0.0625]
    raised = {number: found for number, found in enumerate(updates(warm(), "loss_scale", scales)) if found}
    assert raised == {4: [(LOSS_SCALE, False)], 9: [(LOSS_SCALE, True)], 10: [(LOSS_SCALE, False)]}


def test_a_usual_loss_scale_is_silent():
    assert not any(updates(warm(), "loss_scale", [128.0, 64.0, 2.0, 0.5, 4.0, 256.0, 4096.0]))


def test_features_that_blow_up():
    values = [0.02, 0.007, 0.06, 0.22, 1.5, 0.2, 0.11, 0.1, 0.6]
    raised = {number: found for number, found in enumerate(updates(warm(), "features_pen", values)) if found}
    assert raised == {3: [(FEATURES, False)], 7: [(FEATURES, True)], 8: [(FEATURES, False)]}


def test_features_blow_up_during_the_warm_up_too():
    alarms = Alarms(StatefulContainer())
    assert names(alarms.after_update(50, 0.1, 0.01)) == [] and names(alarms.after_update(100, 0.2, 0.4)) == [(FEATURES, False)]


def test_features_that_are_no_number():
    assert names(warm().after_update(150, 0.1, math.nan)) == [(FEATURES, False)]
    alarms = warm()
    alarms.after_update(150, 0.1, 0.01)
    assert names(alarms.after_update(200, 0.1, math.inf)) == [(FEATURES, False)]
    assert names(alarms.after_update(250, 0.1, 0.01)) == [(FEATURES, True)]


def test_features_of_a_healthy_run_are_silent():
    assert not any(updates(warm(), "features_pen", HEALTHY_FEATURES))


# Resuming, and the line of the log.


def test_a_resumed_run_says_nothing_twice():
    first, stuck = StatefulContainer(), figures(**NOTHING)
    assert validations(warm(first), [stuck], [stuck])[1] == [(LEARNED_NOTHING, False)]
    resumed = StatefulContainer()
    resumed.merge_state_dict(first.state_dict)  # what a checkpoint keeps
    alarms = Alarms(resumed)
    assert validations(alarms, [stuck], [stuck]) == [[], []]  # still warm, still on
    assert names(alarms.after_validation(9000, [LATE])) == [(LEARNED_NOTHING, True)]


@pytest.mark.parametrize(
    "alarm",
    [
        Alarm(2000, COLLAPSED, ("codebook 3", "codebook 11"), "perplexity (of all) 1.0: look; at it"),
        Alarm(50, FEATURES, ("training",), over=True),
    ],
)
def test_what_is_written_is_read(alarm):
    stamp = "[2024-05-06 07:08:09,123][mert_fairseq.tasks.training_watch][WARNING] - "
    assert read_alarm(f"{stamp}{alarm.line()}\n") == alarm


@pytest.mark.parametrize("line", ["", "an alarm at noon", "alarm at update 10", '{"num_updates": "10"}', "alarm at update x, y (z)"])
def test_other_lines_are_no_alarms(line):
    assert read_alarm(line) is None


def test_what_is_still_on():
    begun = Alarm(1, COLLAPSED, ("codebook 0", "codebook 1"), "x")
    over = Alarm(2, COLLAPSED, ("codebook 0",), over=True)
    assert still_on([begun, over]) == [(COLLAPSED, "codebook 1")]
    assert still_on([over, begun]) == [(COLLAPSED, "codebook 0"), (COLLAPSED, "codebook 1")]


def test_subjects_in_short():
    assert short_list(("codebook 0", "codebook 11")) == "codebooks 0, 11"
    assert short_list(("codebook 3",)) == "codebook 3" and short_list(("training", "codebook 3")) == "training, codebook 3"
