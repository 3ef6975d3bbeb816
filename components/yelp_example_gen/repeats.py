"""Quick looks for rows that come more than once."""

import polars as pl


def may_repeat(values: pl.DataFrame) -> pl.Series:
    """Marks the rows whose values may all be those of another row."""
    hashes = values.hash_rows()
    # Whether there is any repeat takes much less time to tell than which.
    if hashes.n_unique() < len(hashes):
        return hashes.is_duplicated()
    return pl.repeat(False, len(hashes), eager=True)
