"""A clock that a test sets, for the servers that are started with it."""

import pathlib

DAY = 86400


class Clock:
    """with `env` a server sees the clock as set(); the monotonic clock goes on, as when an administrator sets the time."""

    def __init__(self, lab, name="clock"):
        libraries = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            raise RuntimeError("libfaketime is not installed")
        self._file = lab.directory / name
        self.env = {"LD_PRELOAD": str(libraries[0]), "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.set(0)

    def set(self, days):
        """So many days from now; negative: in the past."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{days * DAY:+.0f}\n")
        new.replace(self._file)     # never half written
