"""Draws the members of an ensemble.

A draw depends on nothing but (seed, PFT, trait, member): its uniform number is a hash of the four. So the same seed
gives the same ensemble on any machine, a larger ensemble keeps the members of a smaller one, and a trait that comes or
goes changes no other trait.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pecan_executor import distributions
from pecan_operator.core.pecanxml import Input, Settings
from pecan_operator.errors import UserError


@dataclass(frozen=True)
class Member:
    """One member (numbered from 1): trait values by PFT and trait, and the file it takes of each input tag."""

    number: int
    traits: dict[str, dict[str, float]]
    inputs: dict[str, str]


def seed_of(settings: Settings) -> int:
    """The seed the draws depend on: the user's, else the workflow id."""
    seed = settings.ensemble.seed if settings.ensemble else None
    return settings.workflow_id if seed is None else seed


def uniforms(seed: int, group: str, name: str, size: int) -> NDArray[np.float64]:
    """Uniform numbers in the open interval (0, 1) of members 1..size.

    Each is (k + 1/2) / 2^52 with k the first 52 bits of SHA-256, exact in a double, so it never becomes 0 or 1.
    """
    common = hashlib.sha256(json.dumps([seed, group, name]).encode())
    heads = bytearray()
    for member in range(1, size + 1):
        digest = common.copy()
        digest.update(str(member).encode())
        heads += digest.digest()[:8]
    return ((np.frombuffer(heads, dtype=">u8") >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52


def draw_members(settings: Settings) -> list[Member]:
    """The members of the settings' ensemble; a single one takes the medians and the first files, as in PEcAn.

    Raises UserError when a distribution gives a value that is not finite.
    """
    if settings.ensemble is None:
        return []
    size, seed = settings.ensemble.size, seed_of(settings)
    columns = {
        pft.name: {
            trait: np.asarray(
                distributions.quantile(
                    prior, np.array([0.5]) if size == 1 else uniforms(seed, f"pft:{pft.name}", trait, size)
                )
            )
            for trait, prior in pft.priors.items()
        }
        for pft in settings.pfts
    }
    for pft, traits in columns.items():
        for trait, values in traits.items():
            if not np.isfinite(values).all():
                raise UserError(
                    "BadSettings", f"pecan.xml: the prior of {trait} of PFT {pft} gives values that are not finite"
                )
    lists = {pft: {trait: values.tolist() for trait, values in traits.items()} for pft, traits in columns.items()}
    files = {tag: _choose(choice, seed, tag, size) for tag, choice in settings.inputs.items()}
    return [
        Member(
            number=index + 1,
            traits={pft: {trait: values[index] for trait, values in traits.items()} for pft, traits in lists.items()},
            inputs={tag: paths[index] for tag, paths in files.items()},
        )
        for index in range(size)
    ]


def _choose(choice: Input, seed: int, tag: str, size: int) -> list[str]:
    count = len(choice.paths)
    if choice.method == "looping" or size == 1:
        return [choice.paths[index % count] for index in range(size)]
    return [choice.paths[int(u * count)] for u in uniforms(seed, "input", tag, size)]
