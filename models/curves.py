"""Draws training runs for TensorBoard."""

from collections.abc import Sequence

import tensorflow as tf

from models.looks import Look


class Curves:
    """The curves of one run: its training loss, and what its looks at the eval split saw."""

    def __init__(self, folder: str = ""):
        """Opens a run's folder of event files; "" draws nothing."""
        self._writer = (
            tf.summary.create_file_writer(folder) if folder else tf.summary.create_noop_writer()
        )

    def draw(self, losses: Sequence[tuple[int, float]], looks: Sequence[Look]) -> None:
        """Adds points.

        Args:
          losses: Steps and mean training losses.
          looks: Looks at the eval split.
        """
        with self._writer.as_default():
            for step, loss in losses:
                tf.summary.scalar("train/loss", loss, step)
            for look in looks:
                for key, value in look.metrics.items():
                    tf.summary.scalar(f"eval/{key}", value, look.step)
        self._writer.flush()
