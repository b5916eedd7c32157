"""Units people read: sums over a year for fluxes, means for everything else."""

from __future__ import annotations

from dataclasses import dataclass

SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Presentation:
    """How a variable is shown: standard values times `factor` are in `daily_units`; a year is the sum of its days in
    `yearly_units` when `summed`, their mean otherwise."""

    factor: float
    daily_units: str
    yearly_units: str
    summed: bool


def presentation(units: str) -> Presentation:
    """How a variable in PEcAn's standard `units` is shown: kg C m-2 s-1 as g C m-2 d-1 and g C m-2 yr-1, other mass
    fluxes in their own mass, anything else unchanged."""
    compact = units.replace(" ", "")
    if compact == "kgCm-2s-1":
        return Presentation(1000.0 * SECONDS_PER_DAY, "g C m-2 d-1", "g C m-2 yr-1", summed=True)
    if compact.startswith("kg") and compact.endswith("s-1"):
        mass = units.strip().removesuffix("s-1").strip()
        return Presentation(SECONDS_PER_DAY, f"{mass} d-1", f"{mass} yr-1", summed=True)
    return Presentation(1.0, units, units, summed=False)
