"""The data volume that all pods of a platform see as /data, and the check that it can be worked with."""

from __future__ import annotations

from pecan_operator.core.platform.base import Kept, Manifest, Platform, Service, job, pod, volume_claim

COMPONENT = "data"
CHECK = "datacheck"
DATA_PATH = "/data"
CHECK_SECONDS = 60

# What PEcAn's programs do on /data; a network filesystem may lack any of it. Other users of the group write there too.
CHECK_SCRIPT = """\
umask 0002
fail() {
    echo "$1 on /data as user $(id -u), group $(id -g) failed (/data: $(stat -c 'owner %u:%g, mode %a' /data))." \\
         "Give it to them: chown $(id -u):$(id -g) and chmod 2775 on the volume's root" >&2
    exit 1
}
for folder in /data/workflows /data/dbfiles; do
    if [ ! -d "$folder" ]; then
        mkdir "$folder" || fail "making $folder"
        chmod 2775 "$folder" || fail "setting the mode of $folder"
    fi
    probe="$folder/.pecan-check-$HOSTNAME"
    trap 'rm -rf "$probe"' EXIT
    mkdir "$probe" || fail "making a folder in $folder"
    echo written > "$probe/new" || fail "writing a file in $folder"
    mv "$probe/new" "$probe/renamed" || fail "renaming a file in $folder"
    ln -s renamed "$probe/link" || fail "making a symbolic link in $folder"
    [ "$(cat "$probe/link")" = written ] || fail "reading through a symbolic link in $folder"
    rm -r "$probe" || fail "removing files in $folder"
done
"""
# A network filesystem whose server is away answers nothing at all.
TIMED_SCRIPT = f"""\
timeout --kill-after=5 {CHECK_SECONDS} sh -c "$1"
code=$?
if [ $code = 124 ] || [ $code = 137 ]; then
    echo "/data did not answer within {CHECK_SECONDS} s: look at the server of its volume" >&2
fi
exit $code
"""


def data_claim_name(platform: Platform) -> str:
    """The claim that is mounted as /data."""
    return platform.spec.storage.data.existing_claim or platform.child(COMPONENT)


def data_claim(platform: Platform) -> Manifest | None:
    """The claim, unless it is the user's."""
    volume = platform.spec.storage.data
    return None if volume.existing_claim else volume_claim(platform, COMPONENT, volume, volume.access_modes)


def data_manifests(platform: Platform, kept: Kept) -> list[Manifest]:
    """The Job that tries the volume: once for each volume."""
    return [check_job(platform, kept.claims[COMPONENT])]


def check_job(platform: Platform, claim_uid: str) -> Manifest:
    """Makes the folders PEcAn expects, then writes, renames and links as the user that all workers and Jobs run as."""
    container = {
        "name": "check",
        "image": platform.images.executor,
        "command": ["sh", "-c", TIMED_SCRIPT, CHECK, CHECK_SCRIPT],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": DATA_PATH}],
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": data_claim_name(platform)}}]
    user = platform.spec.storage.data
    return job(platform, COMPONENT, CHECK, pod(platform, user.uid, user.gid, container, volumes), claim_uid)


DATA = Service(
    component=COMPONENT,
    condition="DataReady",
    workload=("batch/v1", "Job"),
    manifests=data_manifests,
    claim=data_claim,
)
