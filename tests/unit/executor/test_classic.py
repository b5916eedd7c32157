"""Layouts of classic netCDF files, against netCDF4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netCDF4 import Dataset

from pecan_executor.classic import layout_of

FORMS = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET")
names = st.from_regex("[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)
attributes = st.dictionaries(
    names, st.one_of(st.text("abc ", min_size=1, max_size=7), st.floats(-9, 9), st.integers(-9, 9)), max_size=2
)
variables = st.dictionaries(
    names,
    st.tuples(
        st.sampled_from(["i1", "i2", "i4", "f4", "f8", "S1"]),
        st.sampled_from([(), ("time",), ("x",), ("time", "x"), ("x", "y"), ("time", "x", "y")]),
        attributes,
    ),
    min_size=1,
    max_size=5,
)


def write(path: Path, form: str, records: int, described: dict[str, Any], about: dict[str, Any]) -> bytes:
    random = np.random.default_rng(records)
    with Dataset(path, "w", format=form) as dataset:
        dataset.setncatts(about)
        for name, size in (("x", 3), ("time", None), ("y", 2)):
            dataset.createDimension(name, size)
        for name, (kind, dimensions, attributes) in described.items():
            variable = dataset.createVariable(name, kind, dimensions)
            variable.setncatts(attributes)
        for name, (kind, dimensions, _) in described.items():
            shape = [{"x": 3, "y": 2, "time": records}[each] for each in dimensions]
            values = random.integers(65, 90, shape)
            dataset[name][...] = values.astype("u1").view("S1") if kind == "S1" else values
    return path.read_bytes()


@given(st.sampled_from(FORMS), st.integers(1, 4), variables, attributes)
@settings(max_examples=150, deadline=None)
def test_values_are_those_that_netcdf4_reads(
    tmp_path_factory: pytest.TempPathFactory, form: str, records: int, described: Any, about: Any
) -> None:
    path = tmp_path_factory.mktemp("classic") / "a.nc"
    data = write(path, form, records, described, about)
    layout = layout_of(data)
    assert data.startswith(layout.header)
    assert list(layout.variables) == list(described)
    with Dataset(path) as dataset:
        dataset.set_auto_maskandscale(False)
        dataset.set_auto_chartostring(False)
        for name in described:
            expected = np.asarray(dataset[name][...]).reshape(-1)
            assert layout.values(data, name).tolist() == expected.tolist()


def test_a_file_that_ends_anywhere_is_refused_or_read_whole(tmp_path: Path) -> None:
    described = {"t": ("f8", ("time",), {"units": "days"}), "v": ("f4", ("time", "x"), {}), "c": ("i2", ("x",), {})}
    data = write(tmp_path / "a.nc", FORMS[0], 3, described, {"title": "a title"})
    whole = {name: layout_of(data).values(data, name).tolist() for name in described}
    for size in range(4, len(data)):
        try:
            layout = layout_of(data[:size])
            read = {name: layout.values(data[:size], name).tolist() for name in described}
        except ValueError:
            continue
        assert read == whole
        assert layout.end <= size


@pytest.mark.parametrize(
    "data", [b"CDF\x05" + b"\0" * 40, b"\x89HDF\r\n\x1a\n", b"", b"CDF\x01\xff\xff\xff\xff" + b"\0" * 40]
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"classic|header|records"):
        layout_of(data)
