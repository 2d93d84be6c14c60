"""Numbers in texts for the user."""


def number_of(count: int, noun: str, width: int = 0) -> str:
    """Returns a number of things: "1 class", "2,000 classes".

    Args:
        count: The number.
        noun: The thing, in the singular.
        width: Characters that the number is padded to, on its left.
    """
    if count != 1:
        last = noun.rpartition(" ")[2]
        if last.endswith(("s", "x", "sh", "tch")):
            noun += "es"
        elif last.endswith("y") and last[-2] not in "aeiou":
            noun = f"{noun[:-1]}ies"
        else:
            noun += "s"
    return f"{count:>{width},} {noun}"
