"""pecan.xml and the copies that R saves of it."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from pathlib import Path

from r_standin.logger import severe

COPIES = ("pecan.CHECKED.xml", "pecan.METProcess.xml", "pecan.TRAIT.xml", "pecan.CONFIGS.xml")


class Settings:
    """One settings file in memory. Paths are ElementTree's, below the root."""

    def __init__(self, root: ET.Element) -> None:
        self.root = root

    @classmethod
    def read(cls, file: Path) -> Settings:
        """Raises Severe when it is not there or no settings."""
        if not file.is_file():
            raise severe("PEcAn.settings::read.settings", f"Could not find a pecan.xml file: {file}")
        try:
            root = ET.parse(file).getroot()
        except ET.ParseError as error:
            raise severe("XML::xmlParse", f"{file}: {error}") from None
        if root.tag not in ("pecan", "pecan.multi"):
            raise severe("PEcAn.settings::read.settings", f"the root of {file} is {root.tag}")
        return cls(root)

    def write(self, name: str) -> None:
        """Save a copy in outdir; who may read it is what the umask leaves, or what the file had before."""
        tree = copy.deepcopy(self.root)
        ET.indent(tree, " ")
        (self.outdir / name).write_text('<?xml version="1.0"?>\n' + ET.tostring(tree, encoding="unicode") + "\n")

    def get(self, path: str) -> str:
        """The text of a node; empty when it is not there or has none."""
        return (self.root.findtext(path) or "").strip()

    def need(self, path: str) -> str:
        """The text of a node that must be there."""
        found = self.get(path)
        if not found:
            raise severe("check.settings", f"pecan.xml has no {path}")
        return found

    def has(self, path: str) -> bool:
        return self.root.find(path) is not None

    def all(self, path: str) -> list[str]:
        """The texts of all nodes of a path, empty ones left out."""
        return [text for node in self.root.findall(path) if (text := (node.text or "").strip())]

    def put(self, path: str, value: str) -> None:
        """Set the text of a node, made where it is not there."""
        put(self.root, path, value)

    def add(self, path: str, value: str) -> None:
        """One more node of a path, whose parent is there."""
        parent, _, tag = path.rpartition("/")
        (node,) = self.root.findall(parent)
        ET.SubElement(node, tag).text = value

    @property
    def outdir(self) -> Path:
        return Path(self.get("outdir"))

    @property
    def write_rows(self) -> bool:
        """database/bety/write; TRUE by default."""
        return self.get("database/bety/write").upper() not in ("FALSE", "F")

    @property
    def pfts(self) -> list[ET.Element]:
        return self.root.findall("pfts/pft")

    def runs(self) -> list[ET.Element]:
        """What is said of the run at each site: `run`, or of several sites its parts."""
        parts = [part for part in self.root.findall("run/*") if part.tag.startswith(("settings.", "site."))]
        return parts or self.root.findall("run")

    def input_paths(self) -> list[str]:
        """All files that are named as inputs."""
        tags = [tag for run in self.runs() for tag in run.findall("inputs/*")]
        return [path for tag in tags for path in paths_of(tag)]


def paths_of(tag: ET.Element) -> list[str]:
    """The files of one input: in `path`, or in children of it."""
    return [text for node in tag.findall("path") for leaf in node.iter() if (text := (leaf.text or "").strip())]


def leaf(element: ET.Element, path: str) -> str:
    """The text of a node below an element; empty when it is not there."""
    return (element.findtext(path) or "").strip()


def put(element: ET.Element, path: str, value: str) -> None:
    """Set the text of a node below an element, made where it is not there."""
    for tag in path.split("/"):
        found = element.find(tag)
        element = ET.SubElement(element, tag) if found is None else found
    element.text = value
