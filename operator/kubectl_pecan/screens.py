"""What is printed, from objects of the API server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kubectl_pecan.progress import Counts, Pace, condition, duration, rate_words

Object = Mapping[str, Any]
BAR_CELLS = 50
MOST_COPIES = 50
_CELLS = {
    "succeeded": ("█", "green"),
    "failed": ("x", "red"),
    "cancelled": ("-", "yellow"),
    "running": ("▓", "blue"),
    "queued": ("░", "cyan"),
    "planned": ("·", "dim"),
}
COLUMNS = ("mean", "sd", "q2.5", "q50", "q97.5")
_STYLES = {
    "Succeeded": "green",
    "Ready": "green",
    "Idle": "green",
    "True": "green",
    "Failed": "red",
    "Degraded": "red",
    "False": "red",
    "Cancelled": "yellow",
    "Cancelling": "yellow",
    "Suspended": "yellow",
}


def styled(word: str | None) -> Text:
    """A phase or the status of a condition in its colour."""
    return Text(word or "-", style=_STYLES.get(word or "", ""))


def table(*headers: str, right: Iterable[str] = ()) -> Table:
    """A table as kubectl's are: no lines, headers in capitals."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        made.add_column(header.upper(), justify="right" if header in right else "left", overflow="fold")
    return made


def sentence(obj: Object) -> str:
    """What the condition Ready says."""
    return str(condition(obj, "Ready").get("message") or "the operator has not looked at it yet")


def workers(model: Object | None) -> str:
    """Such as 4 of at most 4, 3 busy."""
    if model is None:
        return "-"
    status = model.get("status") or {}
    most = ((model["spec"].get("scaling")) or {}).get("maxReplicas", "?")
    return f"{status.get('readyReplicas', 0)} of at most {most}, {status.get('busyWorkers', 0)} busy"


def watch_screen(workflow: Object, model: Object | None, pace: Pace, now: datetime) -> RenderableType:
    """A workflow as it is now; `now` is UTC."""
    status, counts = workflow.get("status") or {}, Counts.of(workflow)
    head = Text.assemble(
        (workflow["metadata"]["name"], "bold"),
        f"  {workflow['spec']['modelRef']['name']}  ",
        styled(status.get("phase") or "Pending"),
        f"  {duration(age_seconds(status, now))}" if status.get("startedAt") else "",
    )
    facts = Table.grid(padding=(0, 2))
    facts.add_row("runs", run_bar(counts).append(f"  {counts.finished}/{counts.total} finished"))
    facts.add_row("", Text(counts.words()))
    if counts.open:
        left = pace.seconds_left(counts.open)
        facts.add_row("rate", Text(rate_words(pace.rate)))
        facts.add_row("left", Text("-" if left is None else duration(left)))
    facts.add_row("workers", Text(workers(model)))
    said = sentence(workflow)
    if said == f"{counts.words()} of {counts.total}":
        return Group(head, facts)
    return Group(head, facts, Text(said))


def run_bar(counts: Counts) -> Text:
    """Runs by state: a cell of its own kind and colour for each, and light ones where there is nothing yet."""
    cells = counts.cells(BAR_CELLS)
    parts = [(_CELLS[state][0] * number, _CELLS[state][1]) for state, number in cells.items()]
    return Text.assemble(*parts, ("·" * (BAR_CELLS - sum(cells.values())), "dim"))


def watch_line(workflow: Object, pace: Pace) -> str:
    """The same in a line, for what is not a terminal."""
    counts = Counts.of(workflow)
    left = pace.seconds_left(counts.open) if counts.open else None
    more = "" if left is None else f", {rate_words(pace.rate)}, {duration(left)} left"
    phase = (workflow.get("status") or {}).get("phase") or "Pending"
    return f"{phase}  {counts.finished}/{counts.total}  {sentence(workflow)}{more}"


def age_seconds(status: Mapping[str, Any], now: datetime) -> float:
    """From the beginning of a workflow to its end, or to now."""
    begin = moment(status["startedAt"])
    end = moment(status["finishedAt"]) if status.get("finishedAt") else now
    return max(0.0, (end - begin).total_seconds())


def moment(text: str) -> datetime:
    """A time of the API server."""
    return datetime.fromisoformat(text)


def models_table(models: Sequence[Object]) -> Table:
    made = table("name", "queue", "phase", "workers", "busy", "max", "outstanding", "message",
                 right=("workers", "busy", "max", "outstanding"))  # fmt: skip
    for model in sorted(models, key=lambda each: str(each["metadata"]["name"])):
        status, spec = model.get("status") or {}, model["spec"]
        made.add_row(
            Text(model["metadata"]["name"]),
            Text(f"{spec['type']}_{spec['revision']}"),
            styled(status.get("phase")),
            str(status.get("readyReplicas", 0)),
            str(status.get("busyWorkers", 0)),
            str((spec.get("scaling") or {}).get("maxReplicas", "-")),
            str(status.get("outstanding", 0)),
            Text(sentence(model)),
        )
    return made


def platform_screen(platforms: Sequence[Object]) -> RenderableType:
    """Each platform, and each of its services with the reason for its state."""
    parts: list[RenderableType] = []
    for platform in platforms:
        status = platform.get("status") or {}
        parts.append(
            Text.assemble(
                (platform["metadata"]["name"], "bold"),
                "  ",
                styled(status.get("phase") or "Pending"),
                f"  data in claim {status['dataClaim']}" if status.get("dataClaim") else "",
            )
        )
        made = table("what", "ready", "reason", "message")
        for one in status.get("conditions") or []:
            what = "platform" if one["type"] == "Ready" else one["type"].removesuffix("Ready")
            made.add_row(Text(what), styled(one["status"]), Text(one["reason"]), Text(one["message"]))
        parts.append(made if status.get("conditions") else Text(sentence(platform)))
    return Group(*parts)


def results_table(results: Mapping[str, Any]) -> RenderableType:
    """The headline numbers of an analysis."""
    parts: list[RenderableType] = []
    made = table("site", "variable", "year", "n", *COLUMNS, "units", right=("n", *COLUMNS))
    for row in results["yearly"]:
        numbers = [number(row[column]) for column in COLUMNS]
        made.add_row(Text(row["site"]), row["variable"], str(row["year"]), str(row["n"]), *numbers, Text(row["units"]))
    if results["yearly"]:
        parts.append(made)
    notes = [f"{results['used']} of {results['runs']} runs are in these numbers"]
    if analysis := results.get("sensitivityAnalysis"):
        traits = analysis["traits"]
        notes.append(
            f"{traits - analysis['traitsLeftOut']} of {traits} traits of the sensitivity analysis are analysed; their "
            "numbers are in the CSV files: copy them with --to"
        )
    if results.get("omitted"):
        notes.append(f"{results['omitted']} more rows are in the CSV files: copy them with --to")
    notes += results.get("caveats") or []
    return Group(*parts, *(Text(note) for note in notes))


def number(value: float | None) -> str:
    """As the executor's own table prints it."""
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}"


def size_words(size: int) -> str:
    """Bytes for people."""
    if size < 1024:
        return f"{size} B"
    for unit in ("KiB", "MiB", "GiB"):
        size_in = size / 1024 ** ("KiB", "MiB", "GiB").index(unit) / 1024
        if size_in < 1024 or unit == "GiB":
            return f"{size_in:.1f} {unit}"
    raise AssertionError


def shown(name: str) -> str:
    """The name of a file as it can be printed: what is not UTF-8 in it becomes U+FFFD."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def files_table(entries: Sequence[Object]) -> Table:
    made = table("size", "modified", "name", right=("size",))
    for each in entries:
        when = datetime.fromtimestamp(each["modified"], UTC)
        folder = each["type"] == "folder"
        name = Text(shown(each["name"]) + ("/" if folder else ""), style="bold" if folder else "")
        made.add_row("-" if folder else size_words(each["size"]), f"{when:%Y-%m-%d %H:%M}", name)
    return made


def copies_table(copies: Sequence[Object]) -> RenderableType:
    """Files and what was done with them; of more than MOST_COPIES the first, and what became of how many in all."""
    made = table("size", "what", "file", right=("size",))
    for each in copies[:MOST_COPIES]:
        made.add_row(size_words(each["size"]), Text(each["action"]), Text(shown(each["file"])))
    left = len(copies) - MOST_COPIES
    if left <= 0:
        return made
    numbers = Counter(each["action"] for each in copies)
    said = ", ".join(f"{number} {action}" for action, number in numbers.items())
    size = size_words(sum(each["size"] for each in copies))
    return Group(made, Text(f"and {left} more, which -o json names too; in all {len(copies)} files of {size}: {said}"))
