"""Figures of the run loop on the real cluster: python tests/bench/workers.py [--runs 1000] [--repeats 5].

Prints, as a table and as JSON: runs per second through one worker with a job of `true` and the gap between two jobs;
the time from `kubectl apply` of a workflow to its first worker running and to its end; the operator's memory.
Needs `make install`. No test asserts on a time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "pecan-bench"
BENCH_FOLDER = "/data/workflows/bench"

PUBLISH = """
import json, os, sys, pika
runs = int(sys.argv[1])
base = sys.argv[2]
for n in range(runs):
    folder = f"{base}/run/{n}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/job.sh", "w") as file:
        file.write("#!/bin/sh\\nexec true\\n")
    os.chmod(f"{folder}/job.sh", 0o755)
connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URI"]))
channel = connection.channel()
for n in range(runs):
    channel.basic_publish("", "DALEC_ev", json.dumps({"folder": f"{base}/run/{n}"}).encode(),
                          pika.BasicProperties(delivery_mode=2))
connection.close()
"""

TIMES = """
import json, os, sys
base, runs = sys.argv[2], int(sys.argv[1])
names = [f"{base}/run/{n}/rabbitmq.out" for n in range(runs)]
print(json.dumps(sorted(os.stat(name).st_mtime_ns for name in names if os.path.exists(name))))
"""


def kubectl(*arguments: str, given: str | None = None, namespace: str = NAMESPACE) -> str:
    command = [str(ROOT / ".build/bin/kubectl"), "--kubeconfig", str(ROOT / ".build/kubeconfig"), "-n", namespace]
    return subprocess.run([*command, *arguments], input=given, capture_output=True, text=True, check=True).stdout


def apply(path: str, replace: dict[str, str] | None = None) -> None:
    manifest = subprocess.run(
        [str(ROOT / "hack/manifests"), str(ROOT / path)], capture_output=True, text=True, check=True
    ).stdout
    for old, new in (replace or {}).items():
        manifest = manifest.replace(old, new)
    kubectl("apply", "-f", "-", given=manifest)


def until(look: Any, seconds: float, every: float = 0.1) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            sys.exit(f"bench: nothing after {seconds:.0f} s")
        time.sleep(every)
    return found


def status(kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("get", kind, name, "-o", "json")).get("status") or {}
    return found


def is_ready(kind: str, name: str) -> bool:
    conditions = status(kind, name).get("conditions") or [{}]
    return conditions[0].get("status") == "True"


def worker_pods() -> list[str]:
    pods = json.loads(kubectl("get", "pods", "-l", "app.kubernetes.io/component=worker", "-o", "json"))["items"]
    return [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"]


def set_up() -> None:
    kubectl(
        "apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    )
    apply("examples/platform.yaml")
    apply("examples/models/dalec.yaml", replace={"idleSeconds: 30": "idleSeconds: 10"})
    until(lambda: is_ready("pplat", "pecan"), 300, 0.5)
    until(lambda: is_ready("pmodel", "dalec"), 60, 0.5)
    apply("examples/demo/weather.yaml")
    kubectl("wait", "--for=condition=Complete", "job/loobos-weather", "--timeout=120s")


def measure_one_worker(runs: int, repeat: int) -> dict[str, float]:
    """Runs per second and the time between two results of one warm worker, in ms."""
    patch = {"spec": {"scaling": {"minReplicas": 1, "maxReplicas": 1}}}
    kubectl("patch", "pmodel", "dalec", "--type=merge", "-p", json.dumps(patch))
    until(lambda: status("pmodel", "dalec").get("readyReplicas") == 1, 60)
    base = f"{BENCH_FOLDER}{repeat}-{int(time.time())}"
    pod = worker_pods()[0]
    kubectl("exec", pod, "--", "python3", "-c", PUBLISH, str(runs), base)
    stamps: list[int] = until(
        lambda: (
            (found := json.loads(kubectl("exec", pod, "--", "python3", "-c", TIMES, str(runs), base)))
            and (found if len(found) == runs else None)
        ),
        600,
        1.0,
    )
    gaps = sorted((after - before) / 1e6 for before, after in itertools.pairwise(stamps))
    return {
        "runs_per_second": (runs - 1) / ((stamps[-1] - stamps[0]) / 1e9),
        "gap_ms_p50": statistics.median(gaps),
        "gap_ms_p99": gaps[int(0.99 * (len(gaps) - 1))],
    }


def measure_first_worker(repeat: int) -> dict[str, float]:
    """Seconds from apply of a ten-member workflow on an idle model to its first worker running, and to its end."""
    patch = {"spec": {"scaling": {"minReplicas": 0, "maxReplicas": 4}}}
    kubectl("patch", "pmodel", "dalec", "--type=merge", "-p", json.dumps(patch))
    until(lambda: not worker_pods(), 120, 0.5)
    name = f"first-{repeat}-{int(time.time())}"
    start = time.monotonic()
    apply(
        "examples/workflows/loobos-ensemble.yaml",
        replace={"name: loobos-ensemble": f"name: {name}", "size: 100": "size: 10"},
    )
    until(lambda: status("pwf", name).get("runs", {}).get("total"), 120)
    prepared = time.monotonic() - start
    until(worker_pods, 120)
    running = time.monotonic() - start
    until(lambda: status("pwf", name).get("finishedAt"), 300)
    return {"prepared_s": prepared, "first_worker_s": running, "finished_s": time.monotonic() - start}


def operator_memory() -> dict[str, float]:
    text = kubectl("exec", "deploy/pecan-pecan-operator", "--", "cat", "/proc/1/status", namespace="pecan-system")
    values = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {"rss_mb": int(values["VmRSS"].split()[0]) / 1024, "peak_mb": int(values["VmHWM"].split()[0]) / 1024}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def summary(samples: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        key: {
            "n": len(samples),
            "median": statistics.median(sample[key] for sample in samples),
            "min": min(sample[key] for sample in samples),
            "max": max(sample[key] for sample in samples),
        }
        for key in samples[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="runs of `true` in each repeat")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    set_up()
    figures = {
        "one worker, job `true`": summary([measure_one_worker(given.runs, n) for n in range(given.repeats)]),
        "workflow of 10 members": summary([measure_first_worker(n) for n in range(given.repeats)]),
        "operator memory": summary([operator_memory()]),
    }
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    version = json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    print(f"{processor()}, Kubernetes {version}")
    for name, rows in figures.items():
        print(name)
        for key, row in rows.items():
            values = "  ".join(f"{column} {value:.2f}" for column, value in row.items() if column != "n")
            print(f"  {key:<16} n {row['n']:.0f}  {values}")
    print(json.dumps({"cpu": processor(), "kubernetes": version, "figures": figures}))


if __name__ == "__main__":
    main()
