"""The result of tuning: what is printed, and how far to trust it."""

from pathlib import Path

from dml.tuning import Confirmation, Gain, Study, Trial


def trial(number, state="complete", score=0.9, reason=""):
    run = Path(f"tune/x/trials/{number:04d}")
    return Trial(number, "full", not number, state, {}, score, 1.0, reason, run)


def lines(more=(), **changes):
    best = trial(1)
    settings = {"low": 0.8, "high": 0.95, "gain": Gain(0.1, 0.02, 0.2), "frozen": 0.7}
    trials = (trial(0, score=0.8), best, *more)
    study = Study(Path("tune/x"), trials, best, **{**settings, **changes})
    return "\n".join(study.lines())


def test_the_summary_says_how_far_to_trust_it():
    text = lines()
    assert "frozen network: validation R@1 70.0" in text
    assert (
        "best: trial 1, validation R@1 90.0 (95 % interval 80.0 to 95.0), "
        "+10.0 on the recipe's own options (+2.0 to +20.0)\n" in text
    )
    assert "best of 2 on the same validation classes" in text and "optimistic" in text
    assert "the test split was not read" in text
    assert text.endswith("dml train tune/x/best.toml")


def test_the_best_is_of_the_trials_that_were_measured():
    more = [trial(n, s) for n, s in enumerate(("pruned", "failed", "interrupted", "running"), 2)]
    assert "best of 3 on the same validation classes" in lines(more)


def test_a_gain_that_could_be_chance_is_called_so():
    assert "could be chance" not in lines()
    assert "(-1.0 to +20.0): could be chance" in lines(gain=Gain(0.1, -0.01, 0.2))
    assert "on the recipe's own options" not in lines(gain=None)
    assert "frozen" not in lines(frozen=None)


def test_the_best_recipe_is_in_the_folder():
    best = trial(0)
    assert Study(Path("a"), (best,), best, 0.8, 1, None, 0.5).recipe == Path("a/best.toml")


def test_a_confirmation_has_means_and_deviations_next_to_each_other():
    found = Confirmation(best=(0.8, 0.9), own=(0.75, 0.75), other_classes=True)
    assert list(found.lines()) == [
        "validation R@1 again with 2 other seeds and other validation classes, mean and standard "
        "deviation:",
        "  best options 85.0 +- 7.1  (80.0, 90.0)",  # sqrt(2 * 5^2 / 1)
        "  recipe's own 75.0 +- 0.0  (75.0, 75.0)",
        "  difference   +10.0 +- 7.1  (+5.0, +15.0)",
    ]
    alone = "\n".join(Confirmation((0.5,), (0.625,), other_classes=False).lines())
    images = Confirmation((0.5,), (0.5,), other_classes=False, other_images=True)
    assert "1 other seed and other validation images, mean" in next(images.lines())
    assert "with 1 other seed, mean" in alone and "difference   -12.5  (-12.5)" in alone
    assert "again with 2 other seeds" in lines(confirmation=found)
    assert "again with" not in lines()
