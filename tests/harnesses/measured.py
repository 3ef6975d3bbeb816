"""Metrics as `metrics.json` holds them."""


def interval(value: float, half: float = 0.01) -> dict[str, float]:
    """Lays out an estimate with an interval of `half` to each side."""
    return {"value": value, "low": value - half, "high": value + half}
