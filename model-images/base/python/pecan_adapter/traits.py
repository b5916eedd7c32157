"""The values a run gives its model, by name: known ones, in range, each given once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pecan_adapter.config import Pft
from pecan_adapter.errors import BadData


@dataclass(frozen=True, slots=True)
class Trait:
    """A value the user may give: its PEcAn unit and range, and the model's own parameter that `factor` times it sets."""

    field: str
    units: str
    minimum: float
    maximum: float
    factor: float = 1.0


def values_of(pfts: Iterable[Pft], known: Mapping[str, Trait], model: str) -> dict[str, float]:
    """All values of a run by name, for a model with one vegetation: several PFTs (a plant, a soil) are taken together.

    A constant wins over a trait of the same PFT, as in PEcAn. Raises BadData for an unknown name, a value out of
    range, or one that two PFTs give.
    """
    values: dict[str, float] = {}
    giver: dict[str, str] = {}
    for pft in pfts:
        for name, value in (pft.traits | pft.constants).items():
            _check(pft.name, name, value, known, model)
            if name in values:
                raise BadData(
                    f"{name} is given by PFT {giver[name]} and PFT {pft.name}: {model} has only one, drop one"
                )
            values[name] = value
            giver[name] = pft.name
    return values


def _check(pft: str, name: str, value: float, known: Mapping[str, Trait], model: str) -> None:
    trait = known.get(name)
    if trait is None:
        raise BadData(f"PFT {pft}: {model} has no trait {name}; it knows {', '.join(known)}")
    if not math.isfinite(value) or not trait.minimum <= value <= trait.maximum:
        raise BadData(
            f"PFT {pft}: {name} = {value:.6g} {trait.units} is outside {trait.minimum:g} to {trait.maximum:g} "
            f"{trait.units}: correct the value or narrow its distribution"
        )
