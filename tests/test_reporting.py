"""The silent reporter accepts everything and shows nothing."""

from dml.reporting import SILENT


def test_a_silent_reporter_shows_nothing(capfd):
    SILENT.info("text")
    SILENT.warning("text")
    with SILENT.progress("embedding", 10) as advance:
        advance(10)
    with SILENT.training(epochs=1, steps=2, batch_size=3, done=0) as training:
        training.epoch_began(0)
        training.batch_ended(0)
    assert capfd.readouterr() == ("", "")
