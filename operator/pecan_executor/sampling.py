"""Draws the members of an ensemble.

A draw depends on nothing but the seed, the PFT and the trait, the number of the member and the sampling method
(pecan_executor.sequences says how). It does not depend on the site: a member is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pecan_executor import distributions
from pecan_executor.distributions import Samples
from pecan_executor.sequences import Axis, permutation, points, uniforms
from pecan_executor.traits import Traits, read_traits
from pecan_operator.core.pecanxml import Input, Settings
from pecan_operator.errors import UserError

Columns = dict[str, dict[str, NDArray[np.float64]]]
"""Values of all members by PFT and trait."""


@dataclass(frozen=True)
class Member:
    """One member (numbered from 1): trait values by PFT and trait, and the file it takes of each input tag."""

    number: int
    traits: dict[str, dict[str, float]]
    inputs: dict[str, str]


def seed_of(settings: Settings) -> int:
    """The seed the draws depend on; the workflow id where pecan.xml was written by hand and has none."""
    part = settings.ensemble or settings.sensitivity_analysis
    return settings.workflow_id if part is None or part.seed is None else part.seed


def draw_members(settings: Settings, traits: Traits | None = None) -> list[Member]:
    """The members of the settings' ensemble; a single one takes the medians and the first files, as in PEcAn.

    `traits` is what read_traits gives; left out, the files of the settings are read for it.
    Raises UserError when a file is wrong, or a distribution gives a value that is not finite.
    """
    if settings.ensemble is None:
        return []
    traits = read_traits(settings) if traits is None else traits
    size, seed = settings.ensemble.size, seed_of(settings)
    columns = draw_traits(traits, settings.ensemble.sampling_method, seed, size)
    lists = {pft: {trait: values.tolist() for trait, values in each.items()} for pft, each in columns.items()}
    files = _files(settings.inputs, seed, size)
    return [
        Member(
            number=index + 1,
            traits={pft: {trait: values[index] for trait, values in each.items()} for pft, each in lists.items()},
            inputs={tag: paths[index] for tag, paths in files.items()},
        )
        for index in range(size)
    ]


def draw_traits(traits: Traits, method: str, seed: int, size: int) -> Columns:
    """Values of members 1..size, by PFT and trait; a single member takes the medians.

    Raises UserError when a distribution gives a value that is not finite.
    """
    with np.errstate(over="ignore"):
        columns = _medians(traits) if size == 1 else _draws(traits, method, seed, size)
    for pft, values_of in columns.items():
        for trait, values in values_of.items():
            if not np.isfinite(values).all():
                raise UserError(
                    "BadSettings", f"pecan.xml: the prior of {trait} of PFT {pft} gives values that are not finite"
                )
    return columns


def check_samples(settings: Settings, traits: Traits) -> None:
    """Raises UserError when there are more members than samples that belong together: some would be there twice."""
    size = settings.ensemble.size if settings.ensemble else 0
    for pft, each in traits.items():
        for given in each.values():
            if isinstance(given, Samples) and given.joint is not None and len(given.values) < size > 1:
                raise UserError(
                    "TooFewSamples",
                    f"PFT {pft}: {given.joint} has {len(given.values)} samples, the ensemble {size} members, each of which "
                    "takes one: make ensemble.size smaller, or give more samples",
                )


def _medians(traits: Traits) -> Columns:
    half = np.array([0.5])
    return {
        pft: {name: np.asarray(distributions.quantile(given, half)) for name, given in each.items()}
        for pft, each in traits.items()
    }


def _draws(traits: Traits, method: str, seed: int, size: int) -> Columns:
    """A trait lies on an axis of its own; traits of one joint source share one, that of the row they are taken from."""
    axes: dict[Axis, int] = {}
    for pft, each in traits.items():
        for name, given in each.items():
            axes.setdefault(_axis(pft, name, given), len(axes))
    cube = points(method, seed, list(axes), size)
    columns: Columns = {}
    for pft, each in traits.items():
        columns[pft] = {}
        for name, given in each.items():
            axis = _axis(pft, name, given)
            p = cube[axes[axis]]
            if isinstance(given, Samples) and given.joint is not None:
                columns[pft][name] = given.values[_rows(method, seed, axis, len(given.values), p)]
            else:
                columns[pft][name] = np.asarray(distributions.quantile(given, p))
    return columns


def _rows(method: str, seed: int, axis: Axis, rows: int, p: NDArray[np.float64]) -> NDArray[np.intp]:
    """The rows that members take: uniform takes none again, as PEcAn's sample.int, before all are taken."""
    if method == "uniform":
        return np.resize(permutation(seed, axis.group, axis.name, rows), len(p))
    return np.minimum((p * rows).astype(np.intp), rows - 1)


def _axis(pft: str, trait: str, given: object) -> Axis:
    joint = given.joint if isinstance(given, Samples) else None
    return Axis(f"pft:{pft}", trait if joint is None else f"rows of {joint}")


def _files(inputs: Mapping[str, Input], seed: int, size: int) -> dict[str, list[str]]:
    chosen = {tag: _choose(choice, seed, tag, size) for tag, choice in inputs.items()}
    return {tag: [choice.paths[index] for index in chosen[choice.parent or tag]] for tag, choice in inputs.items()}


def _choose(choice: Input, seed: int, tag: str, size: int) -> list[int]:
    count = len(choice.paths)
    if choice.method == "looping" or size == 1:
        return [index % count for index in range(size)]
    return [int(u * count) for u in uniforms(seed, "input", tag, size)]
