"""kit: what check.py and bench.py share: where the programs are, CUDA's libraries
on a machine where the linker does not know them, processes with a time limit,
results written line by line, the specs of the runs. Python's standard library only.
"""
import ctypes
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BACKEND = os.path.join(HERE, "libtokenfate-cuda.so")


def path(*names):
    return os.path.join(HERE, *names)


def library_folders():
    """Folders with the cuBLASLt that the backend was linked with, unless the linker finds it."""
    try:
        with open(BACKEND, "rb") as file:
            found = re.search(rb"libcublasLt\.so\.\d+", file.read())
    except OSError:
        return []
    if not found:
        return []
    name = found.group().decode()
    try:
        ctypes.CDLL(name)
        return []
    except OSError:
        pass
    places = ["/usr/local/cuda*/lib64", "/usr/local/cuda*/targets/*/lib", "/opt/cuda*/lib64"]
    places += [os.path.join(folder, "nvidia", "*", "lib") for folder in sys.path if folder]
    files = [file for place in places for file in glob.glob(os.path.join(place, name))]
    return [os.path.dirname(file) for file in files[:1]]


def environment():
    env = dict(os.environ, PYTHONUNBUFFERED="1")
    folders = library_folders() + [folder for folder in [env.get("LD_LIBRARY_PATH")] if folder]
    if folders:
        env["LD_LIBRARY_PATH"] = ":".join(folders)
    return env


ENV = environment()
DEADLINE = float("inf")  # by now(); what a script was given in all


class Failed(Exception):
    """A check did not hold. said: all that a program which ended badly has said."""

    def __init__(self, reason, said=""):
        super().__init__(reason)
        self.said = said


class Skipped(Exception):
    """A check cannot be made here."""


def run(command, seconds, text=None):
    """Standard output of a program that ends well within its time; else Failed. Skipped when
    the script's own time is over before."""
    left = DEADLINE - now()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=ENV, start_new_session=True)
    try:
        out, err = process.communicate(text, timeout=max(0, min(seconds, left)))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        if left < seconds:
            raise Skipped(f"the time was over after {left:.0f} s of it") from None
        raise Failed(f"not done within {seconds} s: {tail(err or out)}") from None
    if process.returncode != 0:
        raise Failed(f"status {process.returncode}: {tail(out + err)}", out + err)
    return out


def tail(text, size=600):
    return text.strip()[-size:]


def devices_of_driver():
    """How many devices the driver itself counts; 0 without one."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def probe():
    """The device's name, or Skipped with the reason why there is none. Failed where there is
    one that cannot be used."""
    if not os.path.exists(BACKEND):
        raise Skipped("this build has no CUDA backend")
    try:
        return run([path("cuda_ops"), "probe"], 120).strip()
    except Failed as failure:
        reason = re.sub(r"^status 1: ", "", str(failure))
    if devices_of_driver() > 0:
        raise Failed(f"a device is there, but {reason}")
    raise Skipped(reason)


def preset(name, **changes):
    """A preset with changes, given as model__d_model=64; precision and the rest as stated."""
    with open(path("presets", name + ".json")) as file:
        spec = json.load(file)
    for key, value in changes.items():
        room, field = key.split("__")
        spec[room][field] = value
    return spec


def text_path():
    """The text that travels with the kit; None without it."""
    here = path("corpora", "pg829.txt")
    return here if os.path.exists(here) else None


def with_text(spec):
    """The spec on the text, or on the built-in counts where the text is not here."""
    if not text_path():
        spec["corpus"]["id"] = "gulliver-synthetic"
    return spec


class Results:
    """One JSON object a line, on disk as soon as it is known; of two with one key the last counts."""

    def __init__(self, file, key):
        self.path, self.key, self.lines = file, key, []

    def load(self):
        """The keys that need not be done again: what was skipped may be possible by now, and a
        line that broke off with whoever wrote it was not done."""
        self.make_folder()
        if os.path.exists(self.path):
            with open(self.path, "rb+") as file:
                text = file.read()
                whole = text[:text.rfind(b"\n") + 1]
                file.truncate(len(whole))
            for line in whole.splitlines():
                self.keep(json.loads(line))
        return {line[self.key] for line in self.lines if line["result"] != "skipped"}

    def keep(self, line):
        self.lines = [other for other in self.lines if other[self.key] != line[self.key]] + [line]

    def make_folder(self):
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)

    def start(self):
        self.make_folder()
        open(self.path, "w").close()

    def add(self, line):
        self.keep(line)
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def now():
    return time.monotonic()
