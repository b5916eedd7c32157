"""PEcAn's trait names and units become DALEC's parameters; anything else is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pecan_adapter.config import Pft
from pecan_adapter.errors import BadData
from pecan_adapter.traits import values_of
from pecan_dalec.model import Parameters, State
from pecan_dalec.traits import NAMES, POOLS, TRAITS, parameters_and_state

MODEL_JSON = Path(__file__).parents[3] / "model-images" / "dalec" / "model.json"


def test_nothing_given_is_the_published_model() -> None:
    assert parameters_and_state({}) == (Parameters(), State())


def test_units_are_converted() -> None:
    parameters, state = parameters_and_state(
        {
            "leaf_turnover_rate": 0.73,
            "wood_turnover_rate": 0.0365,
            "root_turnover_rate": 1.095,
            "SLA": 4.8,
            "litter_respiration_rate": 0.03,
            "leaf_carbon_content": 0.2,
            "soil_carbon_content": 8.0,
        }
    )
    assert parameters.leaf_loss == pytest.approx(0.002)
    assert parameters.wood_loss == pytest.approx(1e-4)
    assert parameters.root_loss == pytest.approx(0.003)
    assert parameters.specific_leaf_area == pytest.approx(0.01)
    assert parameters.litter_respiration == 0.03
    assert (state.leaf, state.som, state.wood) == (200, 8000, State().wood)


def test_every_model_field_has_one_name_and_its_default_is_in_range() -> None:
    for traits, default in ((TRAITS, Parameters()), (POOLS, State())):
        assert sorted(trait.field for trait in traits.values()) == sorted(default.__slots__)
        for name, trait in traits.items():
            published = getattr(default, trait.field) / trait.factor
            assert trait.minimum <= published <= trait.maximum, name


def test_a_constant_wins_over_a_trait_and_pfts_are_taken_together() -> None:
    plant = Pft("pine", {"SLA": 4.0, "leaf_turnover_rate": 0.5}, {"SLA": 5.0})
    soil = Pft("soil", {"som_respiration_rate": 3e-6}, {})
    assert values_of([plant, soil], NAMES, "DALEC") == {
        "SLA": 5.0,
        "leaf_turnover_rate": 0.5,
        "som_respiration_rate": 3e-6,
    }


@pytest.mark.parametrize(
    ("pfts", "message"),
    [
        ([Pft("pine", {"Vcmax": 50.0}, {})], "PFT pine: DALEC has no trait Vcmax; it knows .*SLA"),
        ([Pft("pine", {}, {"sla": 5.0})], "DALEC has no trait sla"),
        ([Pft("pine", {"SLA": 900.0}, {})], r"PFT pine: SLA = 900 m2 kg-1 is outside 0.5 to 80 m2 kg-1"),
        ([Pft("pine", {"SLA": math.nan}, {})], "SLA = nan"),
        ([Pft("pine", {}, {"leaf_carbon_content": -0.1})], "leaf_carbon_content = -0.1 kg C m-2 is outside"),
        ([Pft("pine", {"SLA": 4.0}, {}), Pft("fir", {"SLA": 5.0}, {})], "SLA is given by PFT pine and PFT fir"),
    ],
)
def test_what_cannot_be_used_is_refused(pfts: list[Pft], message: str) -> None:
    with pytest.raises(BadData, match=message):
        values_of(pfts, NAMES, "DALEC")


def test_model_json_lists_the_traits() -> None:
    listed = json.loads(MODEL_JSON.read_text())["traits"]
    assert listed == {n: {"units": t.units, "min": t.minimum, "max": t.maximum} for n, t in NAMES.items()}
