"""What is known of each trait of each PFT, put together from pecan.xml and the files it names.

Where several give the same trait, the first of these wins: constants (the trait is then not drawn), the distributions in
pecan.xml, the table of samples, PEcAn's posterior files, the table of priors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pecan_executor.distributions import Samples
from pecan_executor.files import WorkflowFolder
from pecan_executor.posteriors import read_posteriors
from pecan_executor.tables import read_priors, read_samples, refusal
from pecan_operator.core.pecanxml import Pft, Prior, Settings

MOST_TRAITS = 1000
"""Of a PFT, from files. Sobol's sequence has 21,201 dimensions, and a workflow 20 PFTs."""

Trait = Prior | Samples

Traits = dict[str, dict[str, Trait]]
"""By PFT and trait: what the values of the trait are drawn from."""


def read_traits(settings: Settings) -> Traits:
    """The traits that members draw, in the order of the PFTs and of the alphabet.

    Raises UserError naming file, row and what to do when a file is missing or wrong.
    """
    data = WorkflowFolder(Path(settings.folder)).data
    return {pft.name: _traits(pft, data) for pft in settings.pfts}


def _traits(pft: Pft, data: Path) -> dict[str, Trait]:
    found: dict[str, Trait] = {}
    sources: tuple[tuple[str | None, Callable[[Path, Path], Mapping[str, Trait]]], ...] = (
        (pft.priors_csv, read_priors),
        (pft.posterior_files, read_posteriors),
        (pft.samples_csv, read_samples),
    )
    for path, read in sources:
        if path is None:
            continue
        found |= read(Path(path), data)
        if len(found) > MOST_TRAITS:
            what = f" makes {len(found)} traits of PFT {pft.name}, {MOST_TRAITS} is the most: "
            raise refusal(Path(path), what + "take out those that the model does not read")
    found |= pft.priors
    return {name: found[name] for name in sorted(found.keys() - pft.constants.keys())}
