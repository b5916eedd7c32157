"""What is known of each trait of each PFT, put together from pecan.xml and the files it names.

Where several give the same trait, the first of these wins: constants (the trait is then not drawn), the distributions in
pecan.xml, the table of samples, PEcAn's posterior files, the table of priors.
"""

from __future__ import annotations

from pathlib import Path

from pecan_executor.distributions import Samples
from pecan_executor.files import WorkflowFolder
from pecan_executor.posteriors import read_posteriors
from pecan_executor.tables import read_priors, read_samples
from pecan_operator.core.pecanxml import Pft, Prior, Settings

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
    if pft.priors_csv is not None:
        found |= read_priors(Path(pft.priors_csv), data)
    if pft.posterior_files is not None:
        found |= read_posteriors(Path(pft.posterior_files), data)
    if pft.samples_csv is not None:
        found |= read_samples(Path(pft.samples_csv), data)
    found |= pft.priors
    return {name: found[name] for name in sorted(found.keys() - pft.constants.keys())}
