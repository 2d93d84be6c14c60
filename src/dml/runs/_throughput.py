"""How fast a training was, and what its time was spent on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dml._storage.run_folder import RunFolder


@dataclass(frozen=True)
class Throughput:
    """The speed of a training.

    Args:
        images_per_second: Images in its batches, without the time of validation.
        waiting: Share of the time that was spent waiting for data.
        validation: Share that was spent in validation.
    """

    images_per_second: float
    waiting: float
    validation: float

    def __str__(self):
        return (
            f"{self.images_per_second:,.0f} images/s; {100 * self.waiting:.0f} % of the time "
            f"waiting for data, {100 * self.validation:.0f} % in validation"
        )

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, float]]) -> "Throughput | None":
        """Returns the speed of the epochs in a log; None if it has none.

        Rows that lack a number, of a log that was changed, are left out.
        """
        needed = {"seconds", "waiting_seconds", "images_per_second"}
        timed = [row for row in rows if row.keys() >= needed]
        seconds = sum(row["seconds"] for row in timed)
        if not seconds:
            return None
        validated = [row.get("validation_seconds", 0.0) for row in timed]
        trained = [row["seconds"] - v for row, v in zip(timed, validated, strict=True)]
        images = sum(row["images_per_second"] * s for row, s in zip(timed, trained, strict=True))
        return cls(
            images / max(sum(trained), 0.01),
            sum(row["waiting_seconds"] for row in timed) / seconds,
            sum(validated) / seconds,
        )


def throughput_of(folder: RunFolder) -> Throughput | None:
    """Returns the speed of the stages of a run that train on images, or else of the head stage."""
    rows = [*folder.read_log(), *folder.second_stage.read_log()]
    return Throughput.of(rows or folder.head_stage.read_log())
