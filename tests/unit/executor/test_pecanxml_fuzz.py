"""Whatever stands in a pecan.xml: it is accepted or refused with a sentence, soon, and never anything else."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from pecan_executor.settings import parse
from pecan_executor.usersettings import read_user_settings
from pecan_operator.core.nodes import NODES
from pecan_operator.core.pecanxml import Model, render
from pecan_operator.core.userxml import Ours
from pecan_operator.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = yaml.safe_load((ROOT / "examples/workflows/loobos-pecanxml.yaml").read_text())["spec"]["pecanXml"]["inline"]
SMALL = re.sub(r">\s+<", "><", EXAMPLE)
OURS = Ours(
    1,
    "/data/workflows/PEcAn_1",
    "docker",
    "DALEC_ev",
    Model(2, "DALEC", "ev", "/work/run"),
    "/data/met",
    user_code=True,
)
TOKEN = re.compile(r"<[^>]*>|[^<]+")
TAGS = sorted({tag for node in NODES for tag in node.path.replace("*", "met").split("/")} | {"settings.1", "path1"})
TEXTS = [
    "", " ", "0", "-1", "1", "1e400", "nan", "inf", "9" * 5000, "1_0", "٣", "TRUE", "T", "NA", "NULL", "é\u2028", "\x85",
    "&#0;", "&#10;", "&amp;", "&lol;", "]]>", "<![CDATA[<a>]]>", "<!-- - -->", "<?php x ?>", "../../etc/passwd",
    "/etc/passwd", "//data//x/", "/data/a b", "/data/" + "x" * 600, "$(id)", "`id`", "{}", "{0}", "%s", "%n", "a\tb\rc",
    "\ud7ff", "1997-02-30", "0000-01-01", "9999-12-31", "2024-W01-1", "20240101", "1997-01-01T00:00:00Z", "lnorm", "gamma",
    "uniform", "looping",
]  # fmt: skip
CASES = 6000


def mutated(chance: random.Random) -> str | bytes:
    """A pecan.xml with one to four things done to it."""
    tokens: list[str] = TOKEN.findall(SMALL)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(tokens))
        match chance.randrange(9):
            case 0:
                del tokens[at]
            case 1:
                tokens.insert(at, chance.choice(tokens))
            case 2:
                tokens[at] = chance.choice(TEXTS)
            case 3:
                tag = chance.choice(TAGS)
                tokens.insert(at, f"<{tag}>{chance.choice(TEXTS)}</{tag}>")
            case 4:
                tokens.insert(at, f"<{chance.choice(TAGS)}/>")
            case 5:
                old, new = (chance.choice(TAGS) for _ in range(2))
                tokens = [token.replace(f"{old}>", f"{new}>") for token in tokens]
            case 6:
                end = min(len(tokens), at + chance.randint(1, 12))
                tokens[at:at] = tokens[at:end] * chance.randint(1, 3)
            case 7:
                end = min(len(tokens), at + chance.randint(1, 12))
                del tokens[at:end]
            case _:
                texts = [index for index, token in enumerate(tokens) if not token.startswith("<")]
                if texts:
                    tokens[chance.choice(texts)] = chance.choice(TEXTS)
        if not tokens:
            return ""
    text = "".join(tokens)
    match chance.randrange(12):
        case 0:
            data = bytearray(text.encode(errors="surrogatepass"))
            for _ in range(chance.randint(1, 5)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            return bytes(data)
        case 1:
            return text[: chance.randrange(len(text))]
        case 2:
            return text.encode(chance.choice(["utf-16", "utf-8-sig", "utf-32", "utf-7"]), errors="replace")
        case 3:
            return chance.randbytes(chance.randrange(200))
        case _:
            return text


@pytest.mark.parametrize("seed", range(10))
def test_accepted_or_refused_with_a_sentence(seed: int) -> None:
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    said: list[UserError] = []
    for _ in range(CASES // 10):
        given = mutated(chance)
        try:
            settings = read_user_settings(given, OURS).settings
        except UserError as error:
            ends["refused"] += 1
            said.append(error)
            continue
        ends["accepted"] += 1
        assert parse(render(settings)) == settings, "what is accepted can be written down and read again"
        assert (settings.folder, settings.queue, settings.model) == (OURS.folder, OURS.queue, OURS.model)
        assert all(path.startswith("/data/") for choice in settings.inputs.values() for path in choice.paths)
    assert [error for error in said if error.reason != "BadSettings" or len(error.message) > 1000] == []
    assert [error for error in said if not error.message.startswith("pecan.xml ")] == []
    assert min(ends["refused"], ends["accepted"]) > 20, f"the cases are one-sided: {ends}"


@pytest.mark.parametrize(
    "text",
    [
        "<pecan>" + "<info/>" * 140_000 + "</pecan>",
        "<pecan " + " ".join(f'a{n}="{n}"' for n in range(60_000)) + "/>",
        "<" + "x" * 1_000_000 + "/>",
        "<pecan>" + "".join(f"<n{n}/>" for n in range(90_000)) + "</pecan>",
        "<pecan><run>" + "".join(f"<settings.{n}/>" for n in range(40_000)) + "</run></pecan>",
        "<pecan>" + "&lt;" * 250_000 + "</pecan>",
        "<pecan><!--" + "-" * 900_000 + "</pecan>",
        "<?xml " + "encoding" * 100_000,
    ],
    ids=lambda text: f"{text[:12]}-{len(text)}",
)
def test_as_much_of_anything_as_the_limit_allows_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^pecan\.xml "):
        read_user_settings(text, OURS)
