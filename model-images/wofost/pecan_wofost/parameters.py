"""The names a run may give, their units and ranges, and what they are in WOFOST.

WOFOST's own names, units and meaning: A.J.W. de Wit et al. 2019, Agricultural Systems 168:154-167, and pcse's
documentation. PEcAn's traits, in the units of PEcAn's dictionary, are converted by these factors:

- Amax: 1 umol CO2 m-2 s-1 = 44.0095e-9 kg * 1e4 m2 ha-1 * 3600 s h-1 kg CO2 ha-1 h-1;
- quantum_efficiency, mol CO2 per mol photons: 4.57 umol of photons in a joule of sunlight's PAR (McCree 1972,
  Agricultural Meteorology 10:443-453), so EFF in kg CO2 ha-1 h-1 (J m-2 s-1)-1 is 4.57 times the factor of Amax;
- respiration rates at 25 degC: 1 umol CO2 kg-1 s-1 = 30.026e-9 kg CH2O * 86400 s d-1 kg CH2O kg-1 d-1;
- SLA: 1 m2 kg-1 = 1e-4 ha kg-1, both of dry leaf.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pecan_adapter.config import Pft
from pecan_adapter.errors import BadData
from pecan_adapter.traits import Trait, values_of

MODEL = "WOFOST"

CARBON_FRACTION = 0.45
"""kg C per kg dry matter, of all parts of crops (Bolinder et al. 2007, Agric. Ecosyst. Environ. 118:29-42)."""
CARBON_IN_CH2O = 12.011 / 30.026
"""kg C per kg CH2O, the unit of WOFOST's assimilates."""
LARGEST_CONVERSION = 0.88
"""kg dry matter per kg CH2O. Above CARBON_IN_CH2O / CARBON_FRACTION = 0.889 growth would make carbon."""

_PER_HECTARE_HOUR = 44.0095e-9 * 1e4 * 3600
_PHOTONS = 4.57
_CH2O_A_DAY = 30.026e-9 * 86400

CROPS = {
    "winter_wheat": 1,
    "grain_maize": 2,
    "spring_barley": 3,
    "potato": 7,
    "winter_rapeseed": 10,
    "sunflower": 11,
}
"""Names a PFT may have, and the numbers of these crops in pcse's demonstration database."""
SOIL_PFT = "soil"

_PHOTOSYNTHESIS = "umol CO2 m-2 s-1"
_RESPIRATION = "umol CO2 kg-1 s-1"
_MAINTENANCE = "kg CH2O kg-1 d-1"
_CONVERSION = "kg kg-1"

TABLES = {
    "SLA": Trait("SLATB", "m2 kg-1", 5.0, 80.0, 1e-4),
    "Amax": Trait("AMAXTB", _PHOTOSYNTHESIS, 1.0, 80.0, _PER_HECTARE_HOUR),
    "AMAX": Trait("AMAXTB", "kg CO2 ha-1 h-1", 1.0, 120.0),
    "quantum_efficiency": Trait("EFFTB", "fraction", 0.01, 0.125, _PHOTONS * _PER_HECTARE_HOUR),
    "EFF": Trait("EFFTB", "kg CO2 ha-1 h-1 J-1 m2 s", 0.1, 0.9),
    "extinction_coefficient_diffuse": Trait("KDIFTB", "fraction", 0.2, 1.2),
    "KDIF": Trait("KDIFTB", "fraction", 0.2, 1.2),
}
"""What WOFOST has as a table over development stage or temperature: the crop's table is scaled until its largest value
is the one given, so that its course is kept."""

CROP = {
    "veg_respiration_Q10": Trait("Q10", "ratio", 1.0, 4.0),
    "Q10": Trait("Q10", "ratio", 1.0, 4.0),
    "root_respiration_rate": Trait("RMR", _RESPIRATION, 0.0, 40.0, _CH2O_A_DAY),
    "RMR": Trait("RMR", _MAINTENANCE, 0.0, 0.1),
    "stem_respiration_rate": Trait("RMS", _RESPIRATION, 0.0, 40.0, _CH2O_A_DAY),
    "RMS": Trait("RMS", _MAINTENANCE, 0.0, 0.1),
    "RML": Trait("RML", _MAINTENANCE, 0.0, 0.1),
    "RMO": Trait("RMO", _MAINTENANCE, 0.0, 0.1),
    "TSUMEM": Trait("TSUMEM", "degC d", 0.0, 500.0),
    "TBASEM": Trait("TBASEM", "degC", -15.0, 15.0),
    "TEFFMX": Trait("TEFFMX", "degC", 15.0, 45.0),
    "TSUM1": Trait("TSUM1", "degC d", 100.0, 4000.0),
    "TSUM2": Trait("TSUM2", "degC d", 100.0, 4000.0),
    "TDWI": Trait("TDWI", "kg ha-1", 0.1, 1000.0),
    "RGRLAI": Trait("RGRLAI", "d-1", 0.001, 0.1),
    "SPAN": Trait("SPAN", "d", 10.0, 120.0),
    "TBASE": Trait("TBASE", "degC", -10.0, 15.0),
    "PERDL": Trait("PERDL", "d-1", 0.0, 0.2),
    "CVL": Trait("CVL", _CONVERSION, 0.4, LARGEST_CONVERSION),
    "CVO": Trait("CVO", _CONVERSION, 0.3, LARGEST_CONVERSION),
    "CVR": Trait("CVR", _CONVERSION, 0.4, LARGEST_CONVERSION),
    "CVS": Trait("CVS", _CONVERSION, 0.4, LARGEST_CONVERSION),
    "CFET": Trait("CFET", "ratio", 0.5, 1.5),
    "DEPNR": Trait("DEPNR", "class", 1.0, 5.0),
    "RDI": Trait("RDI", "cm", 5.0, 50.0),
    "RRI": Trait("RRI", "cm d-1", 0.0, 5.0),
    "RDMCR": Trait("RDMCR", "cm", 10.0, 400.0),
}
"""Parameters of the crop that are one number."""

SOIL = {
    "SMW": Trait("SMW", "m3 m-3", 0.01, 0.4),
    "SMFCF": Trait("SMFCF", "m3 m-3", 0.05, 0.7),
    "SM0": Trait("SM0", "m3 m-3", 0.2, 0.9),
    "CRAIRC": Trait("CRAIRC", "m3 m-3", 0.0, 0.2),
    "SOPE": Trait("SOPE", "cm d-1", 0.0, 100.0),
    "KSUB": Trait("KSUB", "cm d-1", 0.0, 100.0),
    "RDMSOL": Trait("RDMSOL", "cm", 10.0, 500.0),
}

SITE = {
    "WAV": Trait("WAV", "cm", 0.0, 100.0),
    "SSMAX": Trait("SSMAX", "cm", 0.0, 100.0),
    "SSI": Trait("SSI", "cm", 0.0, 100.0),
    "NOTINF": Trait("NOTINF", "fraction", 0.0, 1.0),
    "SMLIM": Trait("SMLIM", "m3 m-3", 0.01, 0.9),
}

RUN = {
    "IDEM": Trait("emergence", "day of year", 1, 365),
    "IDSOW": Trait("sowing", "day of year", 1, 365),
    "IDURMX": Trait("duration", "d", 1, 365),
    "IWB": Trait("water_limited", "0 or 1", 0, 1),
    "ELEV": Trait("elevation", "m", -300.0, 6000.0),
    "wind_height": Trait("wind_height", "m", 0.5, 100.0),
}
"""When the crop grows, whether water limits it, and what of the place the weather does not say."""
_WHOLE = ("IDEM", "IDSOW", "IDURMX", "IWB")

NAMES = TABLES | CROP | SOIL | SITE | RUN


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a run changes of the crop's, soil's and site's record, in WOFOST's names and units, and how it is run.

    Of `emergence` and `sowing` (day of year) at most one is given; with neither the crop's calendar in the record holds.
    `duration` is the longest a season may be, days.
    """

    crop_name: str
    tables: dict[str, float] = field(default_factory=dict)
    crop: dict[str, float] = field(default_factory=dict)
    soil: dict[str, float] = field(default_factory=dict)
    site: dict[str, float] = field(default_factory=dict)
    emergence: int | None = None
    sowing: int | None = None
    duration: int = 365
    water_limited: int = 1
    elevation: float = 0.0
    wind_height: float = 10.0


def parameters_of(pfts: Iterable[Pft]) -> Parameters:
    """A run's parameters; raises BadData for a name, a value or a pair of names that cannot be used."""
    pfts = tuple(pfts)
    crop_name = _crop_name([pft.name for pft in pfts])
    values = values_of(pfts, NAMES, MODEL)
    for name in _WHOLE:
        if name in values and values[name] != int(values[name]):
            raise BadData(f"{name} = {values[name]:g} must be a whole number: give it as a constant")
    if {"IDEM", "IDSOW"} <= set(values):
        raise BadData("IDEM and IDSOW are both given: a crop starts with its emergence or its sowing, drop one")
    run = _fields(values, RUN)
    whole = {RUN[name].field for name in _WHOLE}
    return Parameters(
        crop_name,
        _fields(values, TABLES),
        _fields(values, CROP),
        _fields(values, SOIL),
        _fields(values, SITE),
        **{name: int(value) if name in whole else value for name, value in run.items()},  # type: ignore[arg-type]
    )


def scaled(table: list[float], largest: float) -> list[float]:
    """An interpolation table x1, y1, x2, y2, ... with its y scaled so that the largest of them is `largest`."""
    factor = largest / max(table[1::2])
    return [value * factor if index % 2 else value for index, value in enumerate(table)]


def checked_soil(soil: Mapping[str, float]) -> Mapping[str, float]:
    """The soil, if water can be held in it; raises BadData otherwise."""
    if not soil["SMW"] < soil["SMFCF"] < soil["SM0"]:
        raise BadData(
            f"the soil's moisture at wilting point, field capacity and saturation must increase, but SMW, SMFCF, SM0 are "
            f"{soil['SMW']:g}, {soil['SMFCF']:g}, {soil['SM0']:g} (what is not given is from the record)"
        )
    return soil


def _crop_name(names: list[str]) -> str:
    crops = [name for name in names if name in CROPS]
    unknown = [name for name in names if name not in CROPS and name != SOIL_PFT]
    if unknown:
        raise BadData(
            f"PFT {unknown[0]}: WOFOST knows no such crop; its crops are {', '.join(CROPS)}, beside {SOIL_PFT}"
        )
    if len(crops) != 1:
        raise BadData(f"WOFOST grows one crop at a time, but the run's PFTs are {', '.join(names)}: give one crop")
    return crops[0]


def _fields(values: Mapping[str, float], traits: Mapping[str, Trait]) -> dict[str, float]:
    fields: dict[str, float] = {}
    giver: dict[str, str] = {}
    for name in values:
        if name not in traits:
            continue
        trait = traits[name]
        if trait.field in fields:
            raise BadData(f"{giver[trait.field]} and {name} both set WOFOST's {trait.field}: drop one")
        fields[trait.field] = values[name] * trait.factor
        giver[trait.field] = name
    return fields
