"""The command `/work/run [rundir]`: config.json in, standard output and logfile.txt out, an exit code for the worker."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from pecan_adapter.config import RunConfig, read_config
from pecan_adapter.errors import EXIT_BAD_DATA, EXIT_INPUT_OUTPUT, EXIT_INTERNAL, BadData
from pecan_adapter.files import renamed_into_place

Log = Callable[[str], None]


def run_command(model: str, run: Callable[[RunConfig, Log], None], arguments: list[str]) -> int:
    """Let `run` do the run of one folder: exit 0 when every output is there, else a non-zero code and one clear last
    line on stderr. `model` is the type of model that config.json must ask for; what `run` logs goes to logfile.txt.
    """
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: run [rundir]  (the folder with config.json; default: the current one)", file=sys.stderr)
        return 2
    lines: list[str] = []
    outdir: Path | None = None
    try:
        config = read_config(Path(arguments[0] if arguments else ".") / "config.json", model)
        outdir = config.outdir
        outdir.mkdir(parents=True, exist_ok=True)
        lines.append(f"{model} run {config.run_id}: {config.site_name} ({config.latitude} N, {config.longitude} E)")
        lines.append(f"{config.start} to {config.end} with met {config.met}")
        run(config, lines.append)
        code, last = 0, f"MODEL FINISHED: {model} run {config.run_id}"
    except BadData as error:
        code, last = EXIT_BAD_DATA, f"ERROR IN MODEL RUN: {error}"
    except OSError as error:
        code, last = EXIT_INPUT_OUTPUT, f"ERROR IN MODEL RUN: {error}"
    except Exception as error:
        lines.append(traceback.format_exc())
        code, last = EXIT_INTERNAL, f"ERROR IN MODEL RUN: the {model} adapter failed ({error!r}); see logfile.txt"
    if outdir is not None:
        try:
            _write_log(outdir, [*lines, last])
        except OSError as error:
            code, last = code or EXIT_INPUT_OUTPUT, f"{last}; cannot write logfile.txt: {error}"
    print(last, file=sys.stderr if code else sys.stdout)
    return code


def _write_log(outdir: Path, lines: list[str]) -> None:
    with renamed_into_place(outdir / "logfile.txt") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
