"""A clock that a test sets, for the servers that are started with it."""

import mmap
import pathlib
import struct
import subprocess

DAY = 86400
SOURCE = pathlib.Path(__file__).with_suffix(".c")


class Clock:
    """With `env` a server has the time of day that set() says; its other clocks go on."""

    def __init__(self, lab, name="clock"):
        path, library = lab.directory / name, lab.directory / f"{name}.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library, SOURCE], check=True, timeout=60)
        path.write_bytes(bytes(8))
        with open(path, "r+b") as file:
            self._shift = mmap.mmap(file.fileno(), 8)
        self.env = {"LD_PRELOAD": str(library), "LAB_CLOCK": str(path)}

    def set(self, days):
        """So many days from now; negative: in the past."""
        self._shift[:] = struct.pack("=q", round(days * DAY))
