"""Points of the unit cube: how the parameter space of an ensemble is sampled.

A number depends on nothing but the seed, the axis it lies on and the number of the member, so that an ensemble is the same
on any machine. Of `lhc` it depends on the size of the ensemble too; of all others a larger ensemble keeps the members of a
smaller one. Of `uniform` and `lhc` an axis depends on no other; of the others on its number among the axes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BITS = 52
_LOWEST = 2.0 ** -(_BITS + 1)


@dataclass(frozen=True)
class Axis:
    """A dimension of the cube by its names."""

    group: str
    name: str


def uniforms(seed: int, group: str, name: str, size: int) -> Floats:
    """Uniform numbers in the open interval (0, 1) of members 1..size.

    Each is (k + 1/2) / 2^52 with k the first 52 bits of SHA-256, exact in a double, so it never becomes 0 or 1.
    """
    common = hashlib.sha256(json.dumps([seed, group, name]).encode())
    heads = bytearray()
    for member in range(1, size + 1):
        digest = common.copy()
        digest.update(str(member).encode())
        heads += digest.digest()[:8]
    return ((np.frombuffer(heads, dtype=">u8") >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**_BITS


def points(method: str, seed: int, axes: Sequence[Axis], size: int) -> Floats:
    """Numbers in the open interval (0, 1): a row an axis, a column a member."""
    if not axes:
        return np.empty((0, size))
    return np.clip(_METHODS[method](seed, axes, size), _LOWEST, 1 - _LOWEST)


def _uniform(seed: int, axes: Sequence[Axis], size: int) -> Floats:
    return np.stack([uniforms(seed, axis.group, axis.name, size) for axis in axes])


def _latin_hypercube(seed: int, axes: Sequence[Axis], size: int) -> Floats:
    """Each of `size` strata of an axis holds one member (McKay, Beckman and Conover 1979)."""
    strata = [permutation(seed, axis.group, f"{axis.name}/strata", size) for axis in axes]
    return (np.stack(strata) + _uniform(seed, axes, size)) / size


def _halton(seed: int, axes: Sequence[Axis], size: int) -> Floats:
    """Halton's sequence in the bases of the first primes, each digit permuted at random (Owen 2017, arXiv:1706.02808).

    Unpermuted, as in randtoolbox, the first points of two axes with large primes lie on a line.
    """
    rows = []
    for axis, base in zip(axes, _primes(), strict=False):
        left, scale, row = np.arange(size), 1.0, np.zeros(size)
        for place in range(math.ceil(_BITS / math.log2(base))):
            scale /= base
            digits = permutation(seed, axis.group, f"{axis.name}/digit{place}", base)
            row += digits[left % base] * scale
            left = left // base
        rows.append(row + scale / 2)
    return np.stack(rows)


def _sobol(seed: int, axes: Sequence[Axis], size: int) -> Floats:
    """Sobol's sequence with the direction numbers of Joe and Kuo (2008), each axis under a random digital shift."""
    from scipy.stats.qmc import Sobol

    sequence = Sobol(len(axes), scramble=False, bits=_BITS).random_base2(max(size - 1, 0).bit_length())[:size]
    shifts = [int(uniforms(seed, axis.group, f"{axis.name}/shift", 1)[0] * 2.0**_BITS) for axis in axes]
    whole = (sequence.T * 2.0**_BITS).astype(np.uint64) ^ np.array(shifts, dtype=np.uint64)[:, np.newaxis]
    numbers: Floats = (whole.astype(np.float64) + 0.5) / 2.0**_BITS
    return numbers


def _torus(seed: int, axes: Sequence[Axis], size: int) -> Floats:
    """The fractional parts of multiples of the square roots of the first primes (randtoolbox's torus), shifted at random."""
    rows = [
        (np.arange(1, size + 1) * math.sqrt(prime) + uniforms(seed, axis.group, f"{axis.name}/shift", 1)) % 1
        for axis, prime in zip(axes, _primes(), strict=False)
    ]
    return np.stack(rows)


_METHODS: dict[str, Callable[[int, Sequence[Axis], int], Floats]] = {
    "uniform": _uniform,
    "lhc": _latin_hypercube,
    "halton": _halton,
    "sobol": _sobol,
    "torus": _torus,
}


def permutation(seed: int, group: str, name: str, size: int) -> NDArray[np.intp]:
    """The numbers 0..size - 1 in a random order."""
    return np.argsort(uniforms(seed, group, name, size), kind="stable")


def _primes() -> Iterator[int]:
    known: list[int] = []
    for number in count(2):
        if not any(number % prime == 0 for prime in known):
            known.append(number)
            yield number
