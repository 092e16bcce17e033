"""The numbers of a training by step, for plots: a CSV file and an event file of TensorBoard.

Both are copies for other programs: TensorBoard reads the event file, and Trackio imports either
(`trackio.import_csv`, `trackio.import_tf_events`). What Munjang itself shows comes from the report.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from munjang.files import write_bytes

#: Columns that are always there and come first; others follow in the order in which they were first logged.
COLUMNS = ("step", "loss", "dev", "learning_rate", "tokens_per_second")
METRICS_FILE = "metrics.csv"
#: The largest float32. An event file holds no more, and what exceeds it would become an infinity there.
_FLOAT32_MAX = (2 - 2**-23) * 2.0**127

Row = dict[str, int | float | None]


class MetricsLog:
    """Collects numbers by step, in the order of the steps.

    Args:
        rows: what an earlier log held (its `rows`), so that a training that goes on from a checkpoint goes on here.
    """

    def __init__(self, rows: Iterable[Mapping[str, int | float | None]] = ()) -> None:
        self._rows: list[Row] = []
        self.restore(rows)

    def restore(self, rows: Iterable[Mapping[str, int | float | None]]) -> None:
        """Go back to what a checkpoint held: its `rows` take the place of those here."""
        self._rows.clear()
        for row in rows:
            self.log(int(row["step"] or 0), **{name: value for name, value in row.items() if name != "step"})

    @property
    def rows(self) -> list[Row]:
        """One row a step, as JSON values: `step`, and what was logged for it (None where it was undefined)."""
        return [dict(row) for row in self._rows]

    def log(self, step: int, **values: float | None) -> None:
        """Add numbers of a step; a second call for the same step adds to its row.

        A value that is not finite is kept as None, so that none reaches a checkpoint or a file.

        Args:
            step: counted from 1, not below that of the call before.
            values: such as `loss`, `dev`, `learning_rate`, `tokens_per_second`, or `seconds` since the first step,
                which the event file takes as the time of the row.

        Raises:
            ValueError: the step lies before the last one.
        """
        last = int(self._rows[-1]["step"] or 0) if self._rows else step
        if step < last:
            raise ValueError(f"step {step} comes after step {last}")
        if not self._rows or step > last:
            self._rows.append({"step": step})
        self._rows[-1].update({name: _finite(value) for name, value in values.items()})

    def write(self, folder: Path, *, began: float = 0.0) -> list[str]:
        """Write `metrics.csv` and `events.out.tfevents.*` into a folder.

        The event file needs tensorboardX, which the extra `train` brings.

        Args:
            folder: an existing folder.
            began: when the training began, in seconds since 1970. Only the event file and its name hold it.

        Returns:
            Names of the files written: without tensorboardX the CSV file alone, which the caller should say.
        """
        write_bytes(folder / METRICS_FILE, self._csv().encode())
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            return [METRICS_FILE]
        # The name is what TensorBoard looks for. Its own writers append the machine's name; that is nobody's business.
        name = f"events.out.tfevents.{int(began)}.munjang"
        self._write_events(folder / name, began)
        return [METRICS_FILE, name]

    def _csv(self) -> str:
        """A header and one line a step; empty where a value is None or was not logged."""
        names = list(dict.fromkeys([*COLUMNS, *(name for row in self._rows for name in row)]))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        return buffer.getvalue()

    def _write_events(self, path: Path, began: float) -> None:
        # The library's SummaryWriter would read the clock, start a thread and put the machine's name into the file's;
        # its parts below do none of that.
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event

        writer = RecordWriter(str(path))
        try:
            writer.write(Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
            for row in self._rows:
                event = Event(wall_time=began + (row.get("seconds") or 0.0), step=row["step"])
                for name, value in row.items():
                    if name not in ("step", "seconds") and value is not None and abs(value) <= _FLOAT32_MAX:
                        event.summary.value.add(tag=name, simple_value=value)
                if event.summary.value:
                    writer.write(event.SerializeToString())
        finally:
            writer.close()


def _finite(value: float | None) -> float | None:
    """A plain number, also from a tensor of one element; None if it is not finite."""
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None
