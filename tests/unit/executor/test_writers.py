"""Numbers in tables."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pecan_executor.ensemble import Statistics
from pecan_executor.writers import _texts, rows_of_statistics


@given(arrays(np.float64, st.tuples(st.just(7), st.integers(1, 5)), elements=st.floats(allow_infinity=False)))
def test_cells_are_the_very_numbers(table: np.ndarray) -> None:
    statistics = Statistics(3, table[0], table[1], table[2:])
    texts = _texts(statistics)
    for text, (_, *numbers) in zip(texts, rows_of_statistics(statistics), strict=True):
        cells = text.split(",")
        assert len(cells) == len(numbers)
        for cell, number in zip(cells, numbers, strict=True):
            read = float(cell)
            assert (
                math.isnan(number)
                if math.isnan(read)
                else (read, math.copysign(1, read)) == (number, math.copysign(1, number))
            )
