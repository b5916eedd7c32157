"""The project's images, and their tags: hashes of what goes into them. Reads files, changes nothing."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOCAL_REGISTRY = "pecan.local"
DEBIAN_SUITE = "trixie"
DEBIAN_IMAGE = f"docker.io/library/debian:{DEBIAN_SUITE}-slim"
HASH_LENGTH = 12
# What development tools leave between the sources; no image needs it.
TOOL_CACHE = re.compile(r"__pycache__|\..*_cache")
# An empty file of a model's folder: no test or demonstration needs the image by itself, it is built when it is named.
ON_REQUEST = "on-request"


@dataclass(frozen=True)
class Image:
    """One image. `context` is relative to the repository, `dockerfile` to the context.

    `base` names the image of ours that is passed as build argument BASE; `after` one whose layers this one shares, so
    that building it first builds them once. One that is `on_request` is built only when it is named.
    """

    name: str
    context: str
    dockerfile: str = "Dockerfile"
    target: str = ""
    base: str = ""
    after: str = ""
    on_request: bool = False


def wanted_images(images: Mapping[str, Image], names: Sequence[str]) -> set[str]:
    """The named images, or all but those on request, each with its base."""
    wanted = set(names) or {name for name, image in images.items() if not image.on_request}
    return wanted | {images[name].base for name in wanted if images[name].base}


def project_images(root: Path) -> dict[str, Image]:
    """All images in build order. Every folder of `model-images/` with a Dockerfile is one, on top of `model-base`;
    `model-journal` is the model of the tests, `model-bench` that of the benchmarks, `r-standin` what tests use in place of
    PEcAn's R.
    """
    images = [
        Image("postgis", "images/postgis"),
        Image("rabbitmq", "images/rabbitmq"),
        Image("operator", ".", "operator/Dockerfile", target="operator"),
        Image("executor", ".", "operator/Dockerfile", target="executor", after="operator"),
        Image("model-base", "model-images/base"),
    ]
    models = sorted(file.parent.name for file in root.glob("model-images/*/Dockerfile") if file.parent.name != "base")
    for model in models:
        context = f"model-images/{model}"
        is_on_request = (root / context / ON_REQUEST).exists()
        images.append(Image(f"model-{model}", context, base="model-base", on_request=is_on_request))
    images.append(Image("model-journal", "tests/e2e/model-image", base="model-base"))
    images.append(Image("r-standin", "tests/e2e/r-image"))
    images.append(Image("model-bench", "tests/bench/model-image", base="model-base"))
    return {image.name: image for image in images}


@dataclass(frozen=True)
class IgnoreRule:
    """One line of a .dockerignore; `text` is its path pattern, `keeps` whether it began with `!`."""

    text: str
    keeps: bool
    pattern: re.Pattern[str]


def ignore_rules(text: str) -> list[IgnoreRule]:
    """The rules of a .dockerignore, in order. A rule for a folder is one for all that is in it."""
    rules = []
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        path = line.removeprefix("!").strip().strip("/")
        regex = ""
        for part in path.split("/"):
            if part == "**":
                regex += "(?:.*/)?"
            else:
                regex += "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in part) + "/"
        rules.append(IgnoreRule(path, line.startswith("!"), re.compile(regex + "(?:.*/)?")))
    return rules


def is_ignored(path: str, rules: Sequence[IgnoreRule]) -> bool:
    """Whether a path relative to the build context is left out of it: the last rule that matches decides."""
    matching = [rule for rule in rules if rule.pattern.fullmatch(f"{path}/")]
    return bool(matching) and not matching[-1].keeps


def context_files(context: Path) -> list[Path]:
    """The files of a build context, sorted, without what its .dockerignore leaves out and without tools' caches."""
    ignore_file = context / ".dockerignore"
    rules = ignore_rules(ignore_file.read_text()) if ignore_file.is_file() else []
    return sorted(_walk(context, "", rules))


def _walk(context: Path, folder: str, rules: Sequence[IgnoreRule]) -> Iterator[Path]:
    for entry in os.scandir(context / folder):
        path = f"{folder}/{entry.name}".lstrip("/")
        if TOOL_CACHE.fullmatch(entry.name):
            continue
        if not entry.is_dir(follow_symlinks=False):
            if not is_ignored(path, rules):
                yield context / path
        # Only a folder that is kept, or that a rule may keep something of, is entered: the rest can be large.
        elif not is_ignored(path, rules) or any(
            rule.keeps and ("*" in rule.text or rule.text.startswith(f"{path}/")) for rule in rules
        ):
            yield from _walk(context, path, rules)


def content_hash(root: Path, image: Image, base_tag: str) -> str:
    """A short hash that changes exactly when the image may: names, contents and execute bits, target, base."""
    context = root / image.context
    digest = hashlib.sha256()
    for part in (DEBIAN_IMAGE, image.target, image.dockerfile, base_tag):
        digest.update(part.encode() + b"\0")
    for path in sorted({*context_files(context), context / image.dockerfile}):
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        executable = bool(path.lstat().st_mode & 0o111)
        digest.update(f"{path.relative_to(context).as_posix()}\0{executable:d}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:HASH_LENGTH]


def image_tags(root: Path, images: Mapping[str, Image]) -> dict[str, str]:
    """Every image's tag; `images` is in build order, so a base comes before what stands on it."""
    tags: dict[str, str] = {}
    for name, image in images.items():
        tags[name] = content_hash(root, image, tags[image.base] if image.base else "")
    return tags


def reference(name: str, tag: str, registry: str = LOCAL_REGISTRY) -> str:
    """The full reference of an image."""
    return f"{registry.rstrip('/')}/{name}:{tag}"


def archive_path(cache: Path, name: str, tag: str) -> Path:
    """Where the archive of one image is kept."""
    return cache / f"{name}-{tag}.tar"


def old_archives(cache: Path, name: str, tag: str) -> list[Path]:
    """Archives of the same image with other tags, and half-written ones."""
    own = re.compile(rf"{re.escape(name)}-[0-9a-f]{{{HASH_LENGTH}}}\.tar(\.partial)?")
    current = archive_path(cache, name, tag)
    return sorted(path for path in cache.iterdir() if own.fullmatch(path.name) and path != current)


def helm_values(references: Mapping[str, str]) -> str:
    """YAML that makes the chart use the given images; those not given keep the chart's defaults."""
    lines = []
    if "operator" in references:
        repository, tag = references["operator"].rsplit(":", 1)
        lines += ["image:", f"  repository: {repository}", f'  tag: "{tag}"', "  pullPolicy: IfNotPresent"]
    services = {"executor": "executor", "postgres": "postgis", "rabbitmq": "rabbitmq"}
    chosen = [f"  {key}: {references[name]}" for key, name in services.items() if name in references]
    return "".join(f"{line}\n" for line in [*lines, *(["images:", *chosen] if chosen else [])])
