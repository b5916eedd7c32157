"""PEcAn's trait names and WOFOST's own become WOFOST's parameters; anything else is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pecan_adapter.config import Pft
from pecan_adapter.errors import BadData
from pecan_wofost.parameters import (
    CARBON_FRACTION,
    CARBON_IN_CH2O,
    CROPS,
    LARGEST_CONVERSION,
    NAMES,
    Parameters,
    checked_soil,
    parameters_of,
    scaled,
)

FOLDER = Path(__file__).parents[3] / "model-images" / "wofost"


def wheat(traits: dict[str, float], constants: dict[str, float] | None = None) -> Parameters:
    return parameters_of([Pft("winter_wheat", traits, constants or {})])


def test_nothing_given_is_the_record() -> None:
    assert wheat({}) == Parameters("winter_wheat")


@pytest.mark.parametrize(
    ("name", "value", "group", "field", "expected"),
    [
        ("SLA", 21.2, "tables", "SLATB", 0.00212),  # winter wheat's in the record, ha kg-1
        ("Amax", 22.614, "tables", "AMAXTB", 35.83),  # kg CO2 ha-1 h-1
        ("AMAX", 35.83, "tables", "AMAXTB", 35.83),
        ("quantum_efficiency", 0.06215, "tables", "EFFTB", 0.45),
        ("EFF", 0.45, "tables", "EFFTB", 0.45),
        ("extinction_coefficient_diffuse", 0.6, "tables", "KDIFTB", 0.6),
        ("root_respiration_rate", 5.782, "crop", "RMR", 0.015),  # kg CH2O kg-1 d-1
        ("stem_respiration_rate", 5.782, "crop", "RMS", 0.015),
        ("veg_respiration_Q10", 2.0, "crop", "Q10", 2.0),
        ("TSUM1", 1212.308, "crop", "TSUM1", 1212.308),
        ("SMFCF", 0.3175, "soil", "SMFCF", 0.3175),
        ("WAV", 10.0, "site", "WAV", 10.0),
    ],
)
def test_units_are_converted(name: str, value: float, group: str, field: str, expected: float) -> None:
    parameters = wheat({name: value})
    assert getattr(parameters, group) == {field: pytest.approx(expected, rel=1e-3)}
    groups = {"tables", "crop", "soil", "site"} - {group}
    assert not any(getattr(parameters, other) for other in groups)


def test_run_and_place_are_told() -> None:
    given = wheat({}, {"IDSOW": 300, "IDURMX": 250, "IWB": 0, "ELEV": 47, "wind_height": 2})
    assert given == Parameters(
        "winter_wheat", sowing=300, duration=250, water_limited=0, elevation=47.0, wind_height=2.0
    )
    assert wheat({}, {"IDEM": 60}).emergence == 60


def test_a_soil_may_stand_beside_the_crop() -> None:
    both = parameters_of([Pft("potato", {"TSUM1": 600.0}, {}), Pft("soil", {"SMW": 0.1}, {"RDMSOL": 90.0})])
    assert both == Parameters("potato", crop={"TSUM1": 600.0}, soil={"SMW": 0.1, "RDMSOL": 90.0})


@pytest.mark.parametrize(
    ("pfts", "message"),
    [
        (
            [Pft("winter_wheat", {"Vcmax": 50.0}, {})],
            "PFT winter_wheat: WOFOST has no trait Vcmax; it knows .*SLA.*TSUM1",
        ),
        ([Pft("winter_wheat", {"LAIEM": 0.1}, {})], "WOFOST has no trait LAIEM"),
        ([Pft("winter_wheat", {"TSUM1": 5000.0}, {})], "TSUM1 = 5000 degC d is outside 100 to 4000 degC d"),
        ([Pft("winter_wheat", {"SLA": 21.0}, {"IDEM": 1.5})], "IDEM = 1.5 must be a whole number"),
        ([Pft("winter_wheat", {}, {"IDEM": 60, "IDSOW": 50})], "IDEM and IDSOW are both given"),
        ([Pft("winter_wheat", {"Amax": 22.0, "AMAX": 35.0}, {})], "Amax and AMAX both set WOFOST's AMAXTB: drop one"),
        ([Pft("winter_wheat", {"RMR": 0.01}, {"root_respiration_rate": 4.0})], "both set WOFOST's RMR"),
        (
            [Pft("temperate.coniferous", {"SLA": 5.0}, {})],
            "PFT temperate.coniferous: WOFOST knows no such crop; .*potato",
        ),
        ([Pft("potato", {}, {}), Pft("sunflower", {}, {})], "one crop at a time, .* potato, sunflower"),
        ([Pft("soil", {"SMW": 0.1}, {})], "one crop at a time, .* soil: give one crop"),
    ],
)
def test_what_cannot_be_used_is_refused(pfts: list[Pft], message: str) -> None:
    with pytest.raises(BadData, match=message):
        parameters_of(pfts)


@pytest.mark.parametrize(("smw", "smfcf", "sm0"), [(0.3, 0.3, 0.4), (0.1, 0.5, 0.4), (0.35, 0.3, 0.4)])
def test_a_soil_that_holds_no_water_is_refused(smw: float, smfcf: float, sm0: float) -> None:
    with pytest.raises(BadData, match="must increase"):
        checked_soil({"SMW": smw, "SMFCF": smfcf, "SM0": sm0})


def test_a_soil_that_holds_water_is_kept() -> None:
    soil = {"SMW": 0.1, "SMFCF": 0.3, "SM0": 0.4, "KSUB": 10.0}
    assert checked_soil(soil) == soil


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=9), st.floats(0.001, 100))
def test_a_scaled_table_keeps_its_course(values: list[float], largest: float) -> None:
    table = [number for x, y in enumerate(values) for number in (float(x), y)]
    made = scaled(table, largest)
    assert made[::2] == table[::2]
    assert max(made[1::2]) == pytest.approx(largest)
    assert made[1::2] == pytest.approx([y * largest / max(values) for y in values])


def test_no_growth_makes_carbon() -> None:
    assert LARGEST_CONVERSION * CARBON_FRACTION < CARBON_IN_CH2O
    assert all(NAMES[name].maximum == LARGEST_CONVERSION for name in ("CVL", "CVO", "CVR", "CVS"))


def test_model_json_lists_the_names() -> None:
    listed = json.loads((FOLDER / "model.json").read_text())
    assert listed["crops"] == list(CROPS)
    assert listed["traits"] == {n: {"units": t.units, "min": t.minimum, "max": t.maximum} for n, t in NAMES.items()}


def test_the_readme_has_a_row_for_each_name() -> None:
    readme = (FOLDER / "README.md").read_text()
    assert not [name for name in NAMES if f"`{name}`" not in readme]
    assert not [crop for crop in CROPS if f"`{crop}`" not in readme]
