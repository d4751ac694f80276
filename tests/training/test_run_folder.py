"""The folder of a run: its lock, its two checkpoints, and what interruptions leave in it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from minigrad.files import write_atomically
from minigrad.training import RunFolder, read_run

pytest.importorskip("safetensors", reason="files need safetensors")

NEWEST, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"


def contents(step):
    """A checkpoint whose arrays and meta belong together."""
    return {"a": np.full(1000, step)}, {"step": step}


def step_of(checkpoint):
    """The step of a checkpoint, if it is one and the same in all of it."""
    arrays, meta = checkpoint
    assert (arrays["a"] == meta["step"]).all()
    return meta["step"]


@pytest.fixture
def folder(tmp_path):
    """A folder that step 1 and step 2 were saved to."""
    with RunFolder(tmp_path / "run") as run:
        run.save(*contents(1))
        run.save(*contents(2))
    return run.path


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "run.lock")


def damage(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


# ------------------------------------------------------------------------ the two checkpoints


def test_a_file_in_the_place_of_a_folder_is_no_run(tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"run holds no checkpoint; name the folder of"):
        read_run(tmp_path / "run")


def test_the_newest_is_loaded_and_the_one_before_is_kept(folder):
    assert files(folder) == [PREVIOUS, NEWEST]
    assert step_of(read_run(folder)) == 2
    (folder / NEWEST).unlink()
    assert step_of(read_run(folder)) == 1  # without a warning: nothing was refused


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    with RunFolder(tmp_path / "a" / "b") as run:
        assert run.path.is_dir()
        assert run.load() is None
    with pytest.raises(FileNotFoundError, match=r"read_run: .*b holds no checkpoint"):
        read_run(run.path)
    with pytest.raises(FileNotFoundError, match="nowhere holds no checkpoint"):
        read_run(tmp_path / "nowhere")


def test_where_the_newest_is_damaged_the_previous_is_used_and_a_warning_says_so(folder):
    damage(folder / NEWEST)
    sentence = r"/checkpoint\.safetensors is truncated, damaged.*; the previous checkpoint is used$"
    with pytest.warns(UserWarning, match=sentence) as told:
        assert step_of(read_run(folder)) == 1
    assert Path(told[0].filename) == Path(__file__)
    with RunFolder(folder) as run, pytest.warns(UserWarning, match=sentence) as told:
        assert step_of(run.load()) == 1
    assert Path(told[0].filename) == Path(__file__)


def test_a_damaged_one_never_takes_the_place_of_a_good_one(folder):
    damage(folder / NEWEST)
    with RunFolder(folder) as run:
        run.save(*contents(3))
    (folder / NEWEST).unlink()
    assert step_of(read_run(folder)) == 1


def test_where_none_is_good_one_sentence_names_both(folder):
    damage(folder / NEWEST)
    (folder / PREVIOUS).write_bytes(b"")
    sentence = (
        r"/checkpoint\.safetensors is truncated, damaged.*, and .*"
        r"checkpoint\.previous\.safetensors is truncated.*; begin the run anew$"
    )
    with pytest.raises(ValueError, match=sentence), RunFolder(folder) as run:
        run.load()


def test_something_else_under_its_name_is_refused(folder):
    (folder / NEWEST).unlink()
    (folder / NEWEST).mkdir()
    with pytest.warns(UserWarning, match="Is a directory"):
        assert step_of(read_run(folder)) == 1


def test_clear_lets_a_new_run_begin(folder):
    with RunFolder(folder) as run:
        run.clear()
        assert run.load() is None
        run.save(*contents(1))
    assert files(folder) == [NEWEST]


def test_writing_expects_the_lock(folder):
    run = RunFolder(folder)
    for call in (lambda: run.save(*contents(3)), run.clear):
        with pytest.raises(RuntimeError, match="expects the folder to be locked; use `with Run"):
            call()
    assert step_of(read_run(folder)) == 2


# ------------------------------------------------------------------------------- the lock

HOLD = """
import sys, time
from minigrad.training import RunFolder
with RunFolder(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_folder_in_use_is_refused_until_the_other_is_killed(folder):
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "locked\n"
            for _ in range(2):  # having been refused changes nothing
                with pytest.raises(
                    BlockingIOError, match=f"is in use by process {other.pid}; wait"
                ):
                    RunFolder(folder).__enter__()
            assert step_of(read_run(folder)) == 2  # reading is allowed
        finally:
            other.kill()
    with RunFolder(folder) as run:
        assert step_of(run.load()) == 2


def test_a_folder_is_in_use_within_one_process_as_well(folder):
    with RunFolder(folder), pytest.raises(BlockingIOError, match=f"process {os.getpid()};"):
        RunFolder(folder).__enter__()
    with RunFolder(folder):
        pass


def test_it_can_be_entered_again_after_an_error(folder):
    with pytest.raises(KeyboardInterrupt), RunFolder(folder):
        raise KeyboardInterrupt
    with RunFolder(folder) as run:
        run.save(*contents(3))
    assert step_of(read_run(folder)) == 3


# ----------------------------------------------------------------- what stops a save half-way


def test_a_temporary_of_a_killed_process_is_removed_and_nothing_else_is(folder):
    left = ["checkpoint.safetensors.0123abcd.tmp", "model.safetensors.ffffffff.tmp"]
    others = ["notes.tmp", "checkpoint.safetensors.bak", "a.0123ABCD.tmp", "b.0123abcd.tmp.png"]
    for name in [*left, *others]:
        (folder / name).write_bytes(b"half")
    assert step_of(read_run(folder)) == 2
    assert set(left) <= set(files(folder))  # they may belong to somebody who writes now
    with RunFolder(folder) as run:
        run.save(*contents(3))
    assert files(folder) == sorted([NEWEST, PREVIOUS, *others])


KILL_AT_LINE = """
import os, signal, sys
import numpy as np
from minigrad import files, sealing
from minigrad.training import RunFolder, checkpoint, run as run_folder

saving = [module.__file__ for module in (files, sealing, checkpoint, run_folder)]
folder = sys.argv[1]
contents = lambda step: ({"a": np.full(1000, step)}, {"step": step})
left = 0
def killing(lines):  # kill this process at the given line of the modules that save
    def trace(frame, event, _):
        nonlocal lines
        if frame.f_code.co_filename not in saving:
            return None
        if event == "line":
            lines -= 1
            if lines == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

for line in range(1, 1000):
    with RunFolder(folder) as run:
        run.clear()
        run.save(*contents(1))
        run.save(*contents(2))
    child = os.fork()
    if child == 0:
        with RunFolder(folder) as run:
            sys.settrace(killing(line))
            run.save(*contents(3))
            sys.settrace(None)
            os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print("lines:", line, "temporaries:", left)
        break
    left += any(name.endswith(".tmp") for name in os.listdir(folder))
    with RunFolder(folder) as run:
        arrays, meta = run.load()
        assert (arrays["a"] == meta["step"]).all() and meta["step"] >= 2, (line, meta)
        run.save(*contents(4))
        assert run.load()[1]["step"] == 4
    assert not any(name.endswith(".tmp") for name in os.listdir(folder)), line
    os.unlink(os.path.join(folder, "checkpoint.safetensors"))
    assert RunFolder(folder).load()[1]["step"] >= 2, line
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_line_of_a_save_loses_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", KILL_AT_LINE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, lines, _, left = done.stdout.split()
    assert int(lines) > 40
    assert int(left) > 3  # so some kills came while a temporary was there


SAVE_FOR_EVER = """
import sys
import numpy as np
from minigrad.training import RunFolder
with RunFolder(sys.argv[1]) as run:
    for step in range(1, 1_000_000):
        run.save({"a": np.full(100_000, step)}, {"step": step})
        print(step, flush=True)
"""


def test_kills_at_random_moments_of_saving_lose_nothing(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(4):
        command = [sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            child.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(rng.uniform(0, 0.1))
            child.kill()
            told = [1, *map(int, child.stdout.read().split())][-1]
        assert child.returncode == -signal.SIGKILL
        assert step_of(read_run(tmp_path)) in (told, told + 1)


def fail(call, number):
    """A function that raises ENOSPC when it is called for the `number`-th time."""
    calls = iter(range(1, 100))

    def failing(*arguments, **options):
        if next(calls) == number:
            raise OSError(errno.ENOSPC, "No space left on device")
        return call(*arguments, **options)

    return failing


@pytest.mark.parametrize(
    ("owner", "name", "number", "step"),
    [
        (os, "fsync", 1, 2),  # the file
        (os, "fsync", 2, 3),  # the folder: both names are there
        (Path, "replace", 1, 2),  # to the previous one's name
        (Path, "replace", 2, 2),  # to its own
        (Path, "open", 2, 2),  # of the temporary; the first reads the newest
    ],
)
def test_a_disk_that_fails_at_any_step_leaves_a_good_one(
    folder, monkeypatch, owner, name, number, step
):
    with RunFolder(folder) as run, monkeypatch.context() as patched:
        patched.setattr(owner, name, fail(getattr(owner, name), number))
        sentence = r"^cannot write .*/checkpoint\.safetensors: No space left on device; what was"
        with pytest.raises(OSError, match=sentence) as raised:
            run.save(*contents(3))
    assert raised.value.errno == errno.ENOSPC
    assert not [name for name in files(folder) if name.endswith(".tmp")]
    assert step_of(read_run(folder)) == step
    with RunFolder(folder) as run:  # once there is room
        run.save(*contents(4))
    assert step_of(read_run(folder)) == 4


@contextmanager
def files_of_at_most(size):
    """A limit with which the system's own write fails half-way, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_in_the_middle_of_the_file(folder):
    sentence = r"^cannot write .*: File too large; what was there"
    with RunFolder(folder) as run, files_of_at_most(4096), pytest.raises(OSError, match=sentence):
        run.save(*contents(3))
    assert files(folder) == [PREVIOUS, NEWEST]
    assert step_of(read_run(folder)) == 2


def test_a_disk_that_is_full_from_the_beginning(tmp_path):
    sentence = r"^RunFolder: .* cannot be written to: File too large; choose another folder$"
    with files_of_at_most(0), pytest.raises(OSError, match=sentence):
        RunFolder(tmp_path).__enter__()
    with RunFolder(tmp_path):  # it was not left locked
        pass


def test_ctrl_c_in_the_middle_of_a_save(folder, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    with RunFolder(folder) as run, monkeypatch.context() as patched:
        patched.setattr("os.fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.save(*contents(3))
    assert files(folder) == [PREVIOUS, NEWEST]
    assert step_of(read_run(folder)) == 2


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(FileExistsError, match=r"^RunFolder: .*run cannot be written to: File ex"):
        RunFolder(tmp_path / "run").__enter__()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_can_be_read_and_is_refused_for_writing(folder):
    (folder / "run.lock").unlink()
    folder.chmod(0o500)
    try:
        assert step_of(read_run(folder)) == 2
        with pytest.raises(
            PermissionError, match="cannot be written to: Permission denied; choose"
        ):
            RunFolder(folder).__enter__()
    finally:
        folder.chmod(0o700)


# ------------------------------------------------------------------------- write_atomically


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_the_file_is_on_the_disk_before_it_has_its_name_and_the_folder_after(tmp_path, monkeypatch):
    calls = []

    def note(name, call):
        def noting(*arguments):
            calls.append(name)
            return call(*arguments)

        return noting

    monkeypatch.setattr("os.fsync", note("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", note("replace", Path.replace))
    write_atomically(tmp_path / "a", b"")
    assert calls == ["fsync", "replace", "fsync"]
