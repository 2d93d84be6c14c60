"""The ranges of a service's options, and the processors that its batches share."""

import pytest

from dml.errors import OptionError
from dml.serve import ServiceOptions


@pytest.mark.parametrize(
    "option",
    ["max_upload_bytes", "max_pixels", "max_pending", "max_batch_size", "workers", "decoders"],
)
def test_counts_are_at_least_1(option):
    assert getattr(ServiceOptions(**{option: 1}), option) == 1
    with pytest.raises(OptionError, match=f"{option} must be at least 1; got 0"):
        ServiceOptions(**{option: 0})


@pytest.mark.parametrize("option", ["timeout", "decode_timeout"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_times_are_positive(option, value):
    with pytest.raises(OptionError, match=f"{option} must be positive"):
        ServiceOptions(**{option: value})


def test_workers_do_not_share_processors(monkeypatch):
    for processors, threads in ((1, 1), (2, 1), (3, 1), (4, 2), (16, 14)):
        monkeypatch.setattr("os.cpu_count", lambda count=processors: count)
        assert ServiceOptions(workers=3).threads_per_batch == threads
