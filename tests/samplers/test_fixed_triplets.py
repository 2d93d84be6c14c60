"""Tests specific to triplets from a file."""

import numpy as np
import pandas as pd
import pytest

from dml.samplers import FixedTriplets

LABELS = np.array([0, 0, 1, 1, 2, 2, 0])
IDS = np.array([f"{row}.jpg" for row in range(7)], object)
TRIPLETS = [[0, 1, 2], [2, 3, 4], [4, 5, 0], [1, 6, 3], [6, 0, 5]]


def written(folder, triplets, suffix=".csv", columns=("anchor", "positive", "negative")):
    """Returns the path of a new table of triplets."""
    path = folder / f"triplets{suffix}"
    frame = pd.DataFrame(triplets, columns=list(columns))
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_by_hand(tmp_path, suffix):
    # Five triplets by two: three batches, the last filled with the epoch's first triplet.
    sampler = FixedTriplets(written(tmp_path, TRIPLETS, suffix), triplets_per_batch=2)
    batches = sampler.batches(LABELS, epoch=0, seed=0)
    assert batches.shape == (3, 6)
    dealt = batches.reshape(6, 3).tolist()
    assert sorted(dealt[:5]) == sorted(TRIPLETS) and dealt[5] == dealt[0]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ids_and_rows_are_two_names_of_an_image(tmp_path, suffix):
    by_row = FixedTriplets(written(tmp_path, TRIPLETS), 2).batches(LABELS, 1, 3)
    named = [[IDS[row] for row in triplet] for triplet in TRIPLETS]
    by_id = FixedTriplets(written(tmp_path, named, suffix), 2).batches(LABELS, 1, 3, ids=IDS)
    np.testing.assert_array_equal(by_row, by_id)


def test_other_columns_are_left_alone(tmp_path):
    columns = ("who", "negative", "anchor", "positive")
    path = written(tmp_path, [["Ann", 2, 0, 1]], columns=columns)
    assert FixedTriplets(path, 1).batches(LABELS, 0, 0).tolist() == [[0, 1, 2]]


def test_numbers_too_long_for_a_row_are_ids(tmp_path):
    ids = np.array([f"{10**20 + row}" for row in range(3)], object)
    path = written(tmp_path, [ids.tolist()])
    assert FixedTriplets(path, 1).batches([0, 0, 1], 0, 0, ids=ids).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    "triplets, message",
    [
        ([[0, 1, 7]], "negative 7 of triplet 1: the training split has only 7 images"),
        ([[0, 1, 2], [0, 2, 3]], "triplet 2 must have two images of one class"),
        ([[0, 1, 6]], "triplet 1 must have"),
        ([[0, 0, 2]], "triplet 1 must have"),
        ([["0.jpg", "1.jpg", "2.png"]], "negative 2.png of triplet 1: .* is '0.jpg'"),
        ([["0.jpg", None, "2.jpg"]], "triplet 1 is not complete"),
        ([], "only 0 triplets; lower it"),
    ],
)
def test_says_what_is_wrong_with_a_triplet(tmp_path, triplets, message):
    sampler = FixedTriplets(written(tmp_path, triplets), triplets_per_batch=1)
    with pytest.raises(ValueError, match=message):
        sampler.batches(LABELS, 0, 0, ids=IDS)


def test_says_what_is_wrong_with_the_file(tmp_path):
    path = written(tmp_path, [[0, 1, 2]], columns=("anchor", "positive", "other"))
    with pytest.raises(ValueError, match="no column 'negative'; it has anchor, positive, other"):
        FixedTriplets(path).batches(LABELS, 0, 0)
    with pytest.raises(ValueError, match=r"21, but .* has only 5 triplets; lower it"):
        FixedTriplets(written(tmp_path, TRIPLETS)).batches(LABELS, 0, 0)
    with pytest.raises(ValueError, match="this data set has none"):
        FixedTriplets(written(tmp_path, [["a", "b", "c"]])).batches(LABELS, 0, 0)
    for path in ("", str(tmp_path / "none.csv")):
        with pytest.raises(FileNotFoundError, match=r"set sampler\.path"):
            FixedTriplets(path).batches(LABELS, 0, 0)
    for content in (b"", b"\xff\xfe\x00"):
        (tmp_path / "bad.parquet").write_bytes(content)
        with pytest.raises(ValueError, match="can't be read as a table"):
            FixedTriplets(str(tmp_path / "bad.parquet")).batches(LABELS, 0, 0)


@pytest.mark.parametrize(
    "options, message",
    [({"triplets_per_batch": 0}, "must be at least 1"), ({"path": "a.txt"}, "a .csv or .parquet")],
)
def test_refuses_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        FixedTriplets(**options)
