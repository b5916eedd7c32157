"""PEcAn's trait and pool names, units and ranges, and what they are in DALEC.

Names, units and conversions as in PEcAn's convert.samples.DALEC and write.config.DALEC. Ranges t1..t4, t6, t8, t9:
those DALEC is calibrated within (Williams et al. 2005; REFLEX, Fox et al. 2009); leaf and root turnover: lifetimes of
ten days to 27 years; SLA: wider than the leaf mass per area of all plants in GLOPNET (Wright et al. 2004).
"""

from __future__ import annotations

from dataclasses import replace

from pecan_adapter.traits import Trait
from pecan_dalec.model import Parameters, State

LEAF_CARBON_FRACTION = 0.48
"""g C per g dry leaf, PEcAn's constant for every plant."""

_PER_YEAR = 1 / 365
_SLA = 1 / LEAF_CARBON_FRACTION / 1000
_KILOGRAM = 1000.0


TRAITS = {
    "litter_decomposition_to_SOM": Trait("litter_to_som", "d-1", 1e-6, 0.01),
    "autotrophic_respiration_fraction": Trait("respired_fraction", "fraction", 0.2, 0.7),
    "leaf_allocation_fraction": Trait("leaf_fraction", "fraction", 0.01, 0.5),
    "root_allocation_fraction": Trait("root_fraction", "fraction", 0.01, 0.6),
    "leaf_turnover_rate": Trait("leaf_loss", "yr-1", 0.0365, 36.5, _PER_YEAR),
    "wood_turnover_rate": Trait("wood_loss", "yr-1", 7.3e-4, 7.3, _PER_YEAR),
    "root_turnover_rate": Trait("root_loss", "yr-1", 0.0365, 3.65, _PER_YEAR),
    "litter_respiration_rate": Trait("litter_respiration", "d-1", 5e-5, 0.5),
    "som_respiration_rate": Trait("som_respiration", "d-1", 1e-6, 0.5),
    "SLA": Trait("specific_leaf_area", "m2 kg-1", 0.5, 80.0, _SLA),
}
"""Parameters, by PEcAn trait name."""

POOLS = {
    "leaf_carbon_content": Trait("leaf", "kg C m-2", 0.0, 5.0, _KILOGRAM),
    "wood_carbon_content": Trait("wood", "kg C m-2", 0.0, 200.0, _KILOGRAM),
    "root_carbon_content": Trait("root", "kg C m-2", 0.0, 20.0, _KILOGRAM),
    "litter_carbon_content": Trait("litter", "kg C m-2", 0.0, 20.0, _KILOGRAM),
    "soil_carbon_content": Trait("som", "kg C m-2", 0.0, 200.0, _KILOGRAM),
}
"""Pools on the first morning, by PEcAn's standard variable name."""

NAMES = TRAITS | POOLS


def parameters_and_state(values: dict[str, float]) -> tuple[Parameters, State]:
    """DALEC's own parameters and first state; the published values where nothing is given."""
    in_model = {
        group: {trait.field: values[name] * trait.factor for name, trait in group_traits.items() if name in values}
        for group, group_traits in (("parameters", TRAITS), ("state", POOLS))
    }
    return replace(Parameters(), **in_model["parameters"]), replace(State(), **in_model["state"])
