"""PEcAn's trait and pool names, units and ranges, and what they are in DALEC.

Names, units and conversions as in PEcAn's convert.samples.DALEC and write.config.DALEC. Ranges t1..t4, t6, t8, t9:
those DALEC is calibrated within (Williams et al. 2005; REFLEX, Fox et al. 2009); leaf and root turnover: lifetimes of
ten days to 27 years; SLA: wider than the leaf mass per area of all plants in GLOPNET (Wright et al. 2004).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pecan_dalec.config import Pft
from pecan_dalec.errors import BadData
from pecan_dalec.model import Parameters, State

LEAF_CARBON_FRACTION = 0.48
"""g C per g dry leaf, PEcAn's constant for every plant."""

_PER_YEAR = 1 / 365
_SLA = 1 / LEAF_CARBON_FRACTION / 1000
_KILOGRAM = 1000.0


@dataclass(frozen=True, slots=True)
class Trait:
    """A value the user may give: its PEcAn unit and range, and the model field that `factor` times it sets."""

    field: str
    units: str
    minimum: float
    maximum: float
    factor: float = 1.0


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


def values_of(pfts: Iterable[Pft]) -> dict[str, float]:
    """All values of a run by name. A constant wins over a trait of the same PFT, as in PEcAn.

    DALEC has one vegetation and one soil, so several PFTs (a plant and a soil one) are taken together.
    Raises BadData for an unknown name, a value out of range, or one that two PFTs give.
    """
    values: dict[str, float] = {}
    giver: dict[str, str] = {}
    for pft in pfts:
        for name, value in (pft.traits | pft.constants).items():
            _check(pft.name, name, value)
            if name in values:
                raise BadData(f"{name} is given by PFT {giver[name]} and PFT {pft.name}: DALEC has only one, drop one")
            values[name] = value
            giver[name] = pft.name
    return values


def parameters_and_state(values: dict[str, float]) -> tuple[Parameters, State]:
    """DALEC's own parameters and first state; the published values where nothing is given."""
    in_model = {
        group: {trait.field: values[name] * trait.factor for name, trait in group_traits.items() if name in values}
        for group, group_traits in (("parameters", TRAITS), ("state", POOLS))
    }
    return replace(Parameters(), **in_model["parameters"]), replace(State(), **in_model["state"])


def _check(pft: str, name: str, value: float) -> None:
    trait = NAMES.get(name)
    if trait is None:
        raise BadData(f"PFT {pft}: DALEC has no trait {name}; it knows {', '.join(NAMES)}")
    if not math.isfinite(value) or not trait.minimum <= value <= trait.maximum:
        raise BadData(
            f"PFT {pft}: {name} = {value:.6g} {trait.units} is outside {trait.minimum:g} to {trait.maximum:g} "
            f"{trait.units}: correct the value or narrow its distribution"
        )
