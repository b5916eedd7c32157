"""RData files, as R's save() writes them. They are parsed, never evaluated: functions, promises and expressions in them are
not looked at, and none is read beyond a size."""

from __future__ import annotations

import bz2
import lzma
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pecan_executor.tables import MOST_BYTES, open_table, refusal
from pecan_operator.errors import UserError

Objects = dict[str, Any]
# Reason of the error when there is nothing to be understood in a file at all.
UNREADABLE = "UnreadableRData"

_MAGIC = (b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n", b"RDB2\n", b"RDB3\n")
_XZ_BYTES = 2**28
_PACKED: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=_XZ_BYTES),
}


def read_objects(
    path: Path, data: Path, needed: Collection[str], classes: Mapping[str, Callable[..., Any]] = MappingProxyType({})
) -> Objects:
    """The objects of an RData file below the data volume that can be understood, by name.

    `classes` are constructors of R's classes by their name. Raises UserError when the file cannot be read, or an object
    that is `needed` not be understood.
    """
    import rdata

    raw = _unpacked(path, data)
    if not raw.startswith(_MAGIC):
        raise refusal(path, " is not an RData file: write it with R's save()")
    known: dict[Any, Any] = {**rdata.conversion.DEFAULT_CLASS_MAP, **classes}
    objects: Objects = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = rdata.parser.parse_data(raw, extension=".rda", altrep_constructor_dict=_sequences())
            items = list(_items(parsed.object))
        except Exception as error:
            what = "it is damaged or holds more than data; save the data again with R's save()"
            raise UserError(UNREADABLE, f"{path} cannot be read as RData ({type(error).__name__}): {what}") from None
        for name, item in items:
            try:
                objects[name] = rdata.conversion.convert(item, known, default_encoding=parsed.extra.encoding or "utf-8")
            except Exception as error:
                if name in needed:
                    raise refusal(path, f": {name} cannot be understood ({type(error).__name__}: {error})") from None
    return objects


def _unpacked(path: Path, data: Path) -> bytes:
    with open_table(path, data) as file:
        packed = file.read()
    for magic, decompressor in _PACKED.items():
        if packed.startswith(magic):
            stream = decompressor()
            try:
                raw: bytes = stream.decompress(packed, MOST_BYTES + 1)
            except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
                raise refusal(path, f" is damaged ({error}): copy it again") from None
            if len(raw) > MOST_BYTES:
                raise refusal(path, f" has more than the {MOST_BYTES} bytes unpacked that are read: save fewer objects")
            if not stream.eof:
                raise refusal(path, " ends too early: copy it again")
            return raw
    return packed


def _sequences() -> Mapping[bytes, Any]:
    """rdata's expanders of R's compact vectors, which in a damaged file could be of any length."""
    from rdata.parser import DEFAULT_ALTREP_MAP

    def bounded(expand: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def checked(state: Any) -> Any:
            if state.value[0] * 8 > MOST_BYTES:
                raise ValueError("a sequence is too long")
            return expand(state)

        return checked

    return {
        name: bounded(expand) if name.startswith(b"compact_") else expand for name, expand in DEFAULT_ALTREP_MAP.items()
    }


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    """Names and objects of an RData file, which is a pairlist."""
    from rdata.conversion import convert
    from rdata.parser import RObjectType

    while node.info.type is RObjectType.LIST:
        yield str(convert(node.tag)), node.value[0]
        node = node.value[1]
