"""Items for an index of vectors."""

import pandas as pd


def items(count, first=0):
    """Returns a frame of so many items, i0 onward, of 7 labels and rising prices."""
    numbers = range(first, first + count)
    return pd.DataFrame(
        {
            "id": [f"i{n}" for n in numbers],
            "path": [f"/nowhere/{n}.png" for n in numbers],
            "label": [f"c{n % 7}" if n % 11 else None for n in numbers],
            "price": list(numbers),
            "weight": [n / 2 if n % 3 else None for n in numbers],
            "sold": [n % 2 == 1 for n in numbers],
        }
    )
