"""What is done with a file, and that copies are whole whatever breaks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cli_fakes import FakeChannel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubectl_pecan import datapod, volume
from kubectl_pecan.copying import Action, Decision, decide_copy, download, partial_name, upload, upload_plan
from kubectl_pecan.errors import CliError, ExitCode
from kubectl_pecan.volume import Digest, Volume, data_path

OLD, NEW = Digest(10, "a" * 64), Digest(12, "b" * 64)


@pytest.mark.parametrize(
    ("target", "partial", "replace", "decision"),
    [
        (None, None, False, Decision(Action.COPY)),
        (None, 0, False, Decision(Action.COPY)),
        (None, 5, False, Decision(Action.RESUME, 5)),
        (None, 12, False, Decision(Action.RESUME, 12)),
        (None, 13, False, Decision(Action.COPY)),
        (NEW, None, False, Decision(Action.SKIP)),
        (NEW, 5, True, Decision(Action.SKIP)),
        (OLD, None, False, None),
        (OLD, 5, False, None),
        (OLD, None, True, Decision(Action.REPLACE)),
        (OLD, 5, True, Decision(Action.RESUME, 5)),
    ],
)
def test_decide_copy(target: Digest | None, partial: int | None, replace: bool, decision: Decision | None) -> None:
    assert decide_copy(NEW, target, partial, replace) == decision


@pytest.mark.parametrize(
    ("given", "path"),
    [("/data", "/data"), ("met/loobos", "/data/met/loobos"), ("/data/met/", "/data/met"), (".", "/data")],
)
def test_data_path(given: str, path: str) -> None:
    assert data_path(given) == path


@pytest.mark.parametrize("given", ["/etc/passwd", "../etc", "/data/../etc", "/database", "a\0b"])
def test_paths_beside_the_data_are_refused(given: str) -> None:
    with pytest.raises(CliError, match="only the data volume"):
        data_path(given)


BYTES = st.binary(max_size=5000).map(lambda data: data * 200)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=BYTES, breaks=st.lists(st.integers(0, 800_000), max_size=3))
def test_a_download_is_whole_however_often_it_breaks(tmp_path: Path, content: bytes, breaks: list[int]) -> None:
    root, target = tmp_path / "data", tmp_path / "here" / "file"
    root.mkdir(exist_ok=True)
    (root / "file").write_bytes(content)
    for left in breaks:
        with suppress(CliError):
            download(Volume(FakeChannel(root, left)), "/data/file", target, True, lambda _: None)
    told: list[int] = []
    download(Volume(FakeChannel(root)), "/data/file", target, True, told.append)
    assert target.read_bytes() == content
    assert sum(told) == len(content)
    assert [path.name for path in target.parent.iterdir()] == ["file"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=BYTES, breaks=st.lists(st.integers(0, 300), max_size=3))
def test_an_upload_is_whole_however_often_it_breaks(tmp_path: Path, content: bytes, breaks: list[int]) -> None:
    root, local = tmp_path / "data", tmp_path / "file"
    root.mkdir(exist_ok=True)
    local.write_bytes(content)
    for left in breaks:
        with suppress(CliError):
            upload(Volume(FakeChannel(root, left)), local, "/data/met/file", True, lambda _: None)
    told: list[int] = []
    upload(Volume(FakeChannel(root)), local, "/data/met/file", True, told.append)
    assert (root / "met" / "file").read_bytes() == content
    assert sum(told) == len(content)
    assert [path.name for path in (root / "met").iterdir()] == ["file"]


def test_a_broken_copy_is_gone_on_with_and_not_begun_anew(tmp_path: Path) -> None:
    root, target = tmp_path / "data", tmp_path / "file"
    root.mkdir()
    (root / "file").write_bytes(bytes(range(256)) * 4096)
    with pytest.raises(CliError):
        download(Volume(FakeChannel(root, 600_000)), "/data/file", target, False, lambda _: None)
    assert not target.exists()
    assert download(Volume(FakeChannel(root)), "/data/file", target, False, lambda _: None) is Action.RESUME
    assert download(Volume(FakeChannel(root)), "/data/file", target, False, lambda _: None) is Action.SKIP


def test_what_is_left_of_another_version_is_not_gone_on_with(tmp_path: Path) -> None:
    assert partial_name("file", OLD) != partial_name("file", NEW)


def test_a_corrupt_rest_is_noticed_and_removed(tmp_path: Path) -> None:
    root, local = tmp_path / "data", tmp_path / "file"
    (root / "met").mkdir(parents=True)
    local.write_bytes(b"whole and good")
    volume = Volume(FakeChannel(root))
    digest = volume.digest("/data/met/file")
    assert digest is None
    from kubectl_pecan.copying import local_digest

    source = local_digest(local)
    assert source is not None
    (root / "met" / partial_name("file", source)).write_bytes(b"WHOLE")
    with pytest.raises(CliError, match="did not arrive as it was sent"):
        upload(volume, local, "/data/met/file", False, lambda _: None)
    assert upload(volume, local, "/data/met/file", False, lambda _: None) is Action.COPY


def test_another_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    root, local = tmp_path / "data", tmp_path / "file"
    root.mkdir()
    (root / "file").write_bytes(b"theirs")
    local.write_bytes(b"mine")
    volume = Volume(FakeChannel(root))
    with pytest.raises(CliError, match="--replace"):
        upload(volume, local, "/data/file", False, lambda _: None)
    assert (root / "file").read_bytes() == b"theirs"
    assert upload(volume, local, "/data/file", True, lambda _: None) is Action.REPLACE
    assert (root / "file").read_bytes() == b"mine"


def test_a_file_of_the_users_is_not_replaced_unasked(tmp_path: Path) -> None:
    root, target = tmp_path / "data", tmp_path / "pecan.xml"
    root.mkdir()
    (root / "file").write_bytes(b"theirs")
    target.write_bytes(b"mine")
    volume = Volume(FakeChannel(root))
    with pytest.raises(CliError, match="--replace") as caught:
        download(volume, "/data/file", target, False, lambda _: None)
    assert caught.value.code is ExitCode.INVALID
    assert target.read_bytes() == b"mine"
    assert download(volume, "/data/file", target, True, lambda _: None) is Action.REPLACE
    assert target.read_bytes() == b"theirs"


def test_a_name_that_was_given_meanwhile_is_not_taken(tmp_path: Path) -> None:
    root, local = tmp_path / "data", tmp_path / "file"
    root.mkdir()
    local.write_bytes(b"mine")

    class Late(Volume):
        """Another upload ends when this one has sent all it has."""

        def finish(self, partial: str, path: str, sha256: str, replace: bool) -> bool:
            (root / "file").write_bytes(b"theirs")
            return super().finish(partial, path, sha256, replace)

    volume = Late(FakeChannel(root))
    with pytest.raises(CliError, match="/data/file exists and is another file") as caught:
        upload(volume, local, "/data/file", False, lambda _: None)
    assert caught.value.code is ExitCode.INVALID
    assert {path.name: path.read_bytes() for path in root.iterdir()} == {"file": b"theirs"}
    assert upload(volume, local, "/data/file", True, lambda _: None) is Action.REPLACE
    assert (root / "file").read_bytes() == b"mine"


def test_upload_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "met" / "deep").mkdir(parents=True)
    for name in ("met/a.nc", "met/deep/b.nc", "met/.hidden", "c.nc"):
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    assert [to for _, to in upload_plan([Path("met"), Path("c.nc")], "/data/my")] == [
        "/data/my/met/a.nc",
        "/data/my/met/deep/b.nc",
        "/data/my/c.nc",
    ]
    monkeypatch.chdir(tmp_path / "met")
    assert [to for _, to in upload_plan([Path()], "/data/my")] == ["/data/my/a.nc", "/data/my/deep/b.nc"]
    assert "/data/my/c.nc" in [to for _, to in upload_plan([Path("..")], "/data/my")]


def test_upload_plan_goes_through_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store" / "v2" / "years").mkdir(parents=True)
    (tmp_path / "store" / "v2" / "years" / "a.nc").touch()
    (tmp_path / "latest").symlink_to("store/v2")
    (tmp_path / "met").mkdir()
    (tmp_path / "met" / "years").symlink_to(tmp_path / "store" / "v2" / "years")
    monkeypatch.chdir(tmp_path)
    assert [to for _, to in upload_plan([Path("latest")], "/data/my")] == ["/data/my/latest/years/a.nc"]
    assert [to for _, to in upload_plan([Path("met")], "/data/my")] == ["/data/my/met/years/a.nc"]
    (tmp_path / "met" / "gone.nc").symlink_to("nowhere")
    with pytest.raises(CliError, match=r"met/gone\.nc leads nowhere"):
        upload_plan([Path("met")], "/data/my")
    (tmp_path / "met" / "gone.nc").unlink()
    (tmp_path / "met" / "again").symlink_to(tmp_path / "met")
    with pytest.raises(CliError, match=r"met/again leads back"):
        upload_plan([Path("met")], "/data/my")


@pytest.mark.parametrize(
    ("files", "folder", "code"),
    [
        (["a"], "/data", ExitCode.INVALID),
        (["a"], "/data/workflows/PEcAn_1", ExitCode.INVALID),
        (["a"], "/data/dbfiles", ExitCode.INVALID),
        (["a", "b/a"], "/data/met", ExitCode.INVALID),
        (["absent"], "/data/met", ExitCode.NOT_FOUND),
        (["empty"], "/data/met", ExitCode.NOT_FOUND),
    ],
)
def test_upload_plan_refuses(tmp_path: Path, files: list[str], folder: str, code: ExitCode) -> None:
    for name in ("a", "b/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(CliError) as caught:
        upload_plan([tmp_path / name for name in files], folder)
    assert caught.value.code is code


class ProcessChannel:
    """The program as it is in the pod: a process, by the very command that `exec` gives."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def receive(self) -> bytes:
        assert self._process.stdout is not None
        data: bytes = self._process.stdout.read1(65536)  # type: ignore[attr-defined]
        if not data:
            raise CliError(ExitCode.UNAVAILABLE, "the program has ended")
        return data

    def __enter__(self) -> ProcessChannel:
        return self

    def __exit__(self, *_: object) -> None:
        return


@contextmanager
def process(tmp_path: Path, working_folder: Path | None = None) -> Iterator[ProcessChannel]:
    environment = {"PECAN_PROGRAM": datapod.PROGRAM.read_text(), "PECAN_SESSION": str(tmp_path / "session")}
    with subprocess.Popen(
        [sys.executable, *datapod.SESSION[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=working_folder,
    ) as running:
        yield ProcessChannel(running)
    assert running.returncode == 0


def test_the_program_as_a_process(tmp_path: Path) -> None:
    local, remote = tmp_path / "local", tmp_path / "data" / "deep" / "remote"
    local.write_bytes(bytes(range(256)) * 8000)
    with process(tmp_path) as channel:
        volume = Volume(channel)
        assert upload(volume, local, str(remote), False, lambda _: None) is Action.COPY
        assert download(volume, str(remote), tmp_path / "back", False, lambda _: None) is Action.COPY
        assert [each["name"] for each in volume.entries(str(remote.parent))] == ["remote"]
        assert [file.path for file in volume.files(str(tmp_path / "data"))] == ["deep/remote"]
        with pytest.raises(CliError, match="does not exist"):
            volume.entries(str(tmp_path / "nowhere"))
        # After an error the next request is answered all the same.
        assert volume.size(str(remote)) == local.stat().st_size
    assert (tmp_path / "back").read_bytes() == local.read_bytes()
    assert (tmp_path / "session").exists()


def test_nothing_on_the_volume_is_run(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for module in ("json", "hashlib", "contextlib"):
        (data / f"{module}.py").write_text("raise SystemExit(3)\n")
    with process(tmp_path, data) as channel:
        assert len(Volume(channel).entries(str(data))) == 3


class Answering:
    """A pod that answers every request with the same."""

    def __init__(self, fields: dict[str, object]) -> None:
        self._fields = fields

    def send(self, data: bytes) -> None:
        return

    def receive(self) -> bytes:
        return json.dumps({**self._fields, "bytes": 0}).encode() + b"\n"

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *_: object) -> None:
        return


LEADS_OUT = ["../../escaped.txt", "/etc/passwd", "a/../b", "..", ".", "a//b", "a/./b", "a/", ""]
NO_NAME_ON_WINDOWS = ["..\\escaped", "C:escaped", "wrfout_d01_2004-01-01_00:00:00.nc"]


@pytest.mark.parametrize(
    ("system", "path"),
    [
        *(("posix", path) for path in LEADS_OUT),
        *(("nt", path) for path in (*LEADS_OUT, *NO_NAME_ON_WINDOWS)),
    ],
)
def test_no_answer_of_the_pod_leads_out_of_the_folder(monkeypatch: pytest.MonkeyPatch, system: str, path: str) -> None:
    monkeypatch.setattr(volume, "SYSTEM", system)
    pod = Volume(Answering({"files": [{"path": "good.csv", "size": 1}, {"path": path, "size": 1}]}))
    with pytest.raises(CliError) as caught:
        pod.files("/data/workflows/PEcAn_1")
    assert caught.value.code is ExitCode.INVALID
    assert "/data/workflows/PEcAn_1" in caught.value.message
    assert repr(path) in caught.value.message


@pytest.mark.parametrize("name", ["wrfout_d01_2004-01-01_00:00:00.nc", "a\\b.csv", "Ä" * 120])
def test_any_name_of_a_file_goes_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(volume, "SYSTEM", "posix")
    root, local = tmp_path / "data", tmp_path / "here"
    root.mkdir()
    local.mkdir()
    (local / name).write_bytes(b"NetCDF")
    pod = Volume(FakeChannel(root))
    for path, remote in upload_plan([local], "/data/met"):
        upload(pod, path, remote, False, lambda _: None)
    (file,) = pod.files("/data/met")
    assert file.path == f"here/{name}"
    download(pod, f"/data/met/{file.path}", tmp_path / "back" / name, False, lambda _: None)
    assert [path.name for path in (tmp_path / "back").iterdir()] == [name]
    assert (tmp_path / "back" / name).read_bytes() == b"NetCDF"
