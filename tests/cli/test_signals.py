"""Does a command end in good order when it is told to, and quietly when nobody reads on?"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lossatlas import stopping
from lossatlas.cli import Failure, atlas
from lossatlas.errors import SpecError
from lossatlas.results import reading

NET = """
import time, torch
from torch.nn import functional as F
from pathlib import Path
HERE = Path(__file__).parent
def model():
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)
def data():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 4, generator=generator), torch.zeros(8, dtype=torch.long))]
calls = 0
def loss(outputs, targets):
    global calls
    calls += 1
    (HERE / "calls").write_text(str(calls))
    time.sleep({seconds})
    return F.cross_entropy(outputs, targets)
"""


def started(tmp_path: Path, seconds: float, *more: str, **how: bool) -> subprocess.Popen[str]:
    (tmp_path / "net.py").write_text(NET.replace("{seconds}", str(seconds)))
    net = tmp_path / "net.py"
    command = [sys.executable, "-m", "lossatlas", "sample", "--model", f"{net}:model", "--data", f"{net}:data"]
    command += [
        "--loss",
        f"{net}:loss",
        "--x",
        "-1",
        "1",
        "400",
        "--plan",
        "plain",
        "--run",
        str(tmp_path / "run"),
        *more,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def wait_for(process: subprocess.Popen[str], ready) -> None:
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def points(tmp_path: Path) -> int:
    try:
        return reading.progress(tmp_path / "run").done
    except SpecError:
        return 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_ends_a_run_after_its_block_and_says_how_much_is_safe(tmp_path, name):
    process = started(tmp_path, 0.05)
    wait_for(process, lambda: points(tmp_path) > 0)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "stopping after this block; press Ctrl-C to stop at once" in errors
    assert f"stopped; {points(tmp_path)} of 400 points are safe in" in errors
    assert "Traceback" not in errors


def test_the_second_ctrl_c_ends_it_at_once_without_a_traceback(tmp_path):
    process = started(tmp_path, 0.05)
    wait_for(process, lambda: points(tmp_path) > 0)
    (tmp_path / "calls").unlink()
    process.send_signal(signal.SIGINT)
    wait_for(process, (tmp_path / "calls").exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert f"stopped; {points(tmp_path)} of 400 points are safe in" in errors
    assert "Traceback" not in errors


def group(process: subprocess.Popen[str]) -> int:
    """How many processes a terminal would tell, as all of one session."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in listed.splitlines()]
    return sum(number == str(process.pid) and not state.startswith("Z") for number, state in found)


def all_ended(process: subprocess.Popen[str]) -> bool:
    """Whether none outlives the first by more than the moment in which it notices."""
    deadline = time.monotonic() + 300
    while group(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    return group(process) == 0


needs_groups = pytest.mark.skipif(not shutil.which("ps"), reason="there is no ps here")


@needs_groups
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_what_a_terminal_sends_to_all_processes_at_once_is_answered_by_one(tmp_path, name):
    """The others are still being imported, which takes seconds: at Ctrl-C each printed a traceback."""
    process = started(tmp_path, 0.05, "--executor", "processes:2", start_new_session=True)
    wait_for(process, lambda: group(process) == 4)  # with its two workers, and Python's own tracker of resources
    os.killpg(process.pid, getattr(signal, name))
    _, errors = process.communicate()
    assert process.returncode == 1
    assert f"stopped; {points(tmp_path)} of 400 points are safe in" in errors or "before the first point" in errors
    assert "Traceback" not in errors
    assert all_ended(process)


BESIDE = """
import sys, time
if __name__ == "__mp_main__":
    print("imported", flush=True)
    time.sleep(0.5)
from lossatlas.cli import below, signals
def work():
    print("at work", flush=True)
    time.sleep(1000)
if __name__ == "__main__":
    with signals.answered(), below.beside(work):
        try:
            time.sleep(1000)
        except KeyboardInterrupt:
            time.sleep(1)
"""


@needs_groups
@pytest.mark.parametrize("ready", ["imported", "at work"])
def test_ctrl_c_ends_what_works_beside_a_command_without_a_word_of_it(tmp_path, ready):
    (tmp_path / "beside.py").write_text(BESIDE)
    command = [sys.executable, str(tmp_path / "beside.py")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != ready:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert all_ended(process)


REPAIRS = """
import sys
from lossatlas.cli import repair, signals
with signals.answered():
    repair._ran([sys.executable, "-c", sys.argv[1]])
"""
TOLD = """
import signal, sys, time
def answer(*_):
    time.sleep(2)  # the block in hand
    print("safe", flush=True)
    sys.exit(1)
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), answer)
print("at work", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(("name", "all_of_them"), [("SIGINT", True), ("SIGINT", False), ("SIGTERM", False)])
def test_a_command_that_repairs_a_run_may_finish_its_block_too(name, all_of_them):
    """It was killed a quarter of a second after a Ctrl-C."""
    command = [sys.executable, "-c", REPAIRS, TOLD]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    (os.killpg if all_of_them else os.kill)(process.pid, getattr(signal, name))
    output, _ = process.communicate()
    assert output == "safe\n"


@pytest.mark.parametrize("words", [["study", "--list"], ["--help"], ["sample", "--help"]])
def test_a_pipe_that_closes_early_is_no_error(words):
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.argv = ['lossatlas', *{words!r}]; from lossatlas.cli import main; main()",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.wait()


SLOW = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            print("importing", flush=True)
            time.sleep(600)
sys.meta_path.insert(0, Slow())
from lossatlas.start import main
main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_before_the_command_is_imported_ends_it_quietly(name):
    process = subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == -getattr(signal, name)
    assert errors == b""


CAUGHT = """
import os, signal, sys
from lossatlas import stopping
from lossatlas.cli import signals
with signals.answered():
    {stretch}
        try:  # as some libraries do in the middle of their imports
            os.kill(os.getpid(), signal.{name})
        except BaseException:
            pass
    with stopping.listening():
        print("went on")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_meets_an_import_ends_the_process_there(name):
    program = CAUGHT.format(stretch="with signals.nothing_to_lose():", name=name)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "Aborted!\n")


def test_a_signal_that_a_library_caught_is_not_forgotten():
    program = CAUGHT.format(stretch="if True:", name="SIGINT")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode != 0
    assert ended.stdout == ""


def test_who_asks_outside_a_program_does_not_stop_what_begins_later():
    stopping.ask()
    stopping.ask()
    with stopping.listening():
        stopping.after_block()


def test_what_goes_wrong_after_a_signal_is_no_fault_of_the_program():
    """A library that catches the signal may stumble over what it left undone: once a traceback of 900 lines."""
    program = """
import os, signal, click
from lossatlas import cli
class Group(cli.Atlas):
    def get_command(self, ctx, name):
        return stumbles
@click.command()
def stumbles():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        pass
    raise RecursionError("half of an import")
Group(name="atlas")(["stumbles"])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "Aborted!\n")


def test_ctrl_c_while_a_range_is_looked_for_says_that_nothing_was_kept(tmp_path):
    (tmp_path / "net.py").write_text(NET.replace("{seconds}", "0.05"))
    net = tmp_path / "net.py"
    command = [sys.executable, "-m", "lossatlas", "sample", "--model", f"{net}:model", "--data", f"{net}:data"]
    command += ["--loss", f"{net}:loss", "--radius", "auto", "--run", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(process, lambda: (tmp_path / "calls").exists() and int((tmp_path / "calls").read_text() or 0) > 20)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.endswith("lossatlas: stopped before the first point\n"), errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("words", [["--help"], ["sample", "--help"], ["--version"], ["study", "--list"]])
def test_what_cannot_be_printed_is_a_sentence(words):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as target:
        ended = subprocess.run(
            [sys.executable, "-m", "lossatlas", *words], stdout=target, stderr=subprocess.PIPE, text=True
        )
    assert (ended.returncode, ended.stderr) == (1, "lossatlas: No space left on device\n")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["draw", "--help"], []])
def test_whatever_the_system_refuses_while_help_is_printed_is_a_sentence(monkeypatch, arguments):
    def full(*_, err=False, **__):
        if not err:
            raise OSError(errno.ENOSPC, "No space left on device")

    said: list[str] = []
    for module in ("click", "click.core", "click.decorators"):
        monkeypatch.setattr(f"{module}.echo", full)
    monkeypatch.setattr(Failure, "show", lambda self, file=None: said.append(self.format_message()))
    assert CliRunner().invoke(atlas, arguments).exit_code == 1
    assert said == ["No space left on device"]
    if arguments != ["--help"] and arguments != ["--version"]:  # which are answered before --debug is read
        assert isinstance(CliRunner().invoke(atlas, ["--debug", *arguments]).exception, OSError)
