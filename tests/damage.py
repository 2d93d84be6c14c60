"""Damaged bytes, as from broken disks, broken downloads and malicious sources."""


def damaged(rng, data):
    """Returns bytes of which some are others, missing, or there twice.

    Args:
        rng: A `random.Random`.
        data: At least one byte.
    """
    place, data = rng.randrange(len(data)), bytearray(data)
    kind = rng.choice(("flip", "flip", "cut", "take out", "repeat", "zeros"))
    if kind == "flip":
        for _ in range(rng.choice((1, 1, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[place:]
    elif kind == "take out":
        del data[place : place + rng.randrange(1, 100)]
    elif kind == "repeat":
        data[place:place] = data[place : place + 50]
    else:
        data[place : place + 50] = bytes(50)
    return bytes(data)
