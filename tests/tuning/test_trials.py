"""The table of trials."""

from pathlib import Path

from dml.tuning import Trial
from dml.tuning._trials import best_of, lines_of, tab_separated, trial_line


def trial(number, state="complete", score=0.5, reason="", **options):
    options = {name.replace("__", "."): value for name, value in options.items()}
    own = not number
    return Trial(number, "full", own, state, options, score, 7.25, reason, Path())


TRIALS = [
    trial(0, loss__name="proxy_anchor", loss__margin=0.1),
    trial(
        1,
        score=0.75,
        training__stage="full",
        loss__name="soft_triple",
        optimizer__learning_rate=0.00123456,
    ),
    trial(2, state="pruned", score=0.9, loss__margin=0.2),
    trial(3, state="failed", score=None, reason="the loss\tis not finite"),
    trial(4, score=0.75),
]


def test_the_best_is_the_first_complete_trial_of_the_highest_score():
    assert best_of(TRIALS) is TRIALS[1]
    assert best_of(TRIALS[2:4]) is None


def test_the_best_come_first_and_the_others_say_what_became_of_them():
    head, *rows = lines_of(TRIALS)
    assert head.split() == ["trial", "stage", "R@1", "time", "options"]
    assert [int(row.split()[0]) for row in rows] == [1, 4, 0, 2, 3]
    assert rows[0].endswith("loss soft_triple, optimizer.learning_rate 0.00123")
    assert "75.0" in rows[0] and "7 s" in rows[0]
    assert rows[2].endswith("the recipe's own options")
    assert rows[3].endswith("pruned: margin 0.2")
    assert "failed, the loss is not finite: " in trial_line(TRIALS[3]).replace("\t", " ")
    assert rows[4].endswith("failed, the loss is not finite:")


def test_the_file_has_a_row_for_each_trial_and_a_column_for_each_option():
    head, *rows = (line.split("\t") for line in tab_separated(TRIALS).splitlines())
    assert head == [
        *("trial", "stage", "state", "val_recall_at_1", "seconds"),
        *("loss.name", "loss.margin", "optimizer.learning_rate", "reason"),
    ]
    assert rows[1] == ["1", "full", "complete", "0.75", "7.2", "soft_triple", "", "0.00123456", ""]
    assert rows[3] == ["3", "full", "failed", "", "7.2", "", "", "", "the loss is not finite"]
    assert all(len(row) == len(head) for row in rows)


def test_a_value_is_printed_shortly():
    assert trial_line(trial(1, loss__bins=100, augmentation__aspect="keep")).endswith(
        'bins 100, aspect "keep"'
    )
