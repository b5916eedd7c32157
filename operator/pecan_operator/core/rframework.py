"""PEcAn's own R as the framework of a workflow: the container it runs in, and which of its failures are worth another try.

R is driven in two passes of the image's own /work/workflow.R: `--advanced` stops after CONFIG, `--continue` takes the
workflow up after MODEL. Source: PEcAn, docker/executor/executor.py, web/workflow.R, base/utils/R/status.R.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from signal import SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV
from typing import Any

from pecan_operator.api.base import Resources
from pecan_operator.api.model import PecanModel
from pecan_operator.core import pods
from pecan_operator.core.diagnosis import failed_container, is_late
from pecan_operator.core.runs import EXIT_BAD_DATA
from pecan_operator.errors import UserError

Manifest = dict[str, Any]

LIGHT, PECAN = "light", "pecan"
INTERFACES = {LIGHT: "run", PECAN: "pecan"}
"""The interface of the models that a framework writes runs for."""

CONTAINER = "framework"
PREPARE, ANALYSE = ("--advanced", "workflow.Rout"), ("--continue", "workflow2.Rout")
"""Argument and log of the two passes."""

MOST_LOSSES = 5
"""How often a Job with R is made again because its pod was killed, until the next retry of the workflow."""

_SIGNALLED = 128
_CRASHES = {_SIGNALLED + each for each in (SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV)}

# Run by any POSIX shell, with nothing but grep, tail, cut, tr, cp and rm, since the image is not ours. R itself cannot be
# process 1's replacement: somebody has to say why it failed. On SIGTERM the shell ends at once, and R with it.
SCRIPT = r"""
umask 0007
trap 'exit 143' TERM
unset PECAN_SETTINGS
[ "$1" = --advanced ] && [ -e run/plan.jsonl ] && exit 0
rm -f .RData "$2"
cp /work/workflow.R workflow.R || exit 1
R CMD BATCH "$1" workflow.R "$2" &
wait $!
code=$?
[ "$code" -eq 0 ] && exit 0

last_error() {
  at=$(grep -anE '(^|[[:space:]])(ERROR|SEVERE)([[:space:]]|$)' "$1" | tail -n 1 | cut -d : -f 1)
  if [ -z "$at" ]; then
    grep -aE '^Error' "$1" | tail -n 1
    return
  fi
  tail -n "+$at" "$1" | {
    IFS= read -r said
    case $said in
      *: | *': ') while IFS= read -r more; do
        case $more in '  '*) said="$said $more" ;; *) break ;; esac
      done ;;
    esac
    printf '%s\n' "$said"
  }
}

redacted() {
  text=$1
  shift
  for secret; do
    while [ -n "$secret" ]; do
      case $text in
        *"$secret"*) text="${text%%"$secret"*}***${text#*"$secret"}" ;;
        *) break ;;
      esac
    done
  done
  printf '%s\n' "$text"
}

tab=$(printf '\t')
# An error outside of a stage leaves a line without a name.
status=$(grep -av "^$tab" STATUS 2>/dev/null | tail -n 1)
case $status in
  *"${tab}DONE${tab}"*) where="after stage ${status%%"$tab"*}" ;;
  '') where="in input conversion" ;;
  *) where="in stage ${status%%"$tab"*}" ;;
esac
said=$(last_error "$2" 2>/dev/null | tr -s ' \t' ' ')
broker=${RABBITMQ_URI#*://*:}
redacted "R failed $where: ${said:-there is no ERROR or SEVERE line in $2}" "$PGPASSWORD" "${broker%%@*}" | cut -c 1-1500 >&2
exit "$code"
"""


@dataclass(frozen=True)
class RExecutor:
    """What the platform says of R: its image and resources, and what R has to know of the services."""

    image: str
    resources: Resources
    hostname: str
    broker_secret: str


def check_fits(framework: str, platform: str, model: PecanModel) -> None:
    """Raises UserError FrameworkMismatch when the framework writes no runs that this model could run."""
    if model.spec.interface == INTERFACES[framework]:
        return
    wanted = INTERFACES[framework]
    other = next(each for each in INTERFACES if each != framework)
    means = {
        "run": "its program reads config.json, which PEcAn's R does not write",
        "pecan": "it needs the job.sh that PEcAn's R writes",
    }
    raise UserError(
        "FrameworkMismatch",
        f"PecanModel {model.name} has interface {model.spec.interface} ({means[model.spec.interface]}), but the framework "
        f"is {framework} (PecanPlatform {platform}), which is for models with interface {wanted}: name such a model, or "
        f"use a platform with framework {other}",
    )


def framework_container(
    passed: tuple[str, str], folder: str, image: RExecutor, bety_secret: str, pull_policy: str
) -> Manifest:
    """R's container for one pass, `PREPARE` or `ANALYSE`; it is given what PEcAn's own compose file gives the executor."""
    return {
        "name": CONTAINER,
        "image": image.image,
        "imagePullPolicy": pull_policy,
        "command": ["sh", "-c", SCRIPT, CONTAINER, *passed],
        "workingDir": folder,
        "env": [
            {"name": "TZ", "value": "UTC"},
            {"name": "HOME", "value": "/tmp"},
            {"name": "FQDN", "value": image.hostname},
            pods.secret_variable("RABBITMQ_URI", image.broker_secret, "RABBITMQ_URI"),
            {"name": "RABBITMQ_PREFIX", "value": "/"},
            {"name": "RABBITMQ_PORT", "value": "15672"},
        ],
        "envFrom": [{"secretRef": {"name": bety_secret}}],
        "resources": image.resources.model_dump(by_alias=True, exclude_none=True),
        "securityContext": pods.restricted_container(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],
    }


def is_lost(job: Mapping[str, Any], found: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a failed Job with R failed by what another try may spare it: its pod was deleted, evicted or killed, or a
    service did not answer one of our steps. What R itself says, a crash of R, bad input, too little memory and too little
    time come again."""
    if is_late(job):
        return False
    ended = failed_container(job, found)
    if ended is None:
        return True
    name, state = ended
    if state.get("reason") == "OOMKilled" or state.get("exitCode") == EXIT_BAD_DATA:
        return False
    code = state.get("exitCode", _SIGNALLED)
    return name != CONTAINER or (code >= _SIGNALLED and code not in _CRASHES)
