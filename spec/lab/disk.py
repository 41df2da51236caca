"""A disk that fills up and goes read-only: a tmpfs that only this process and its children see."""

import ctypes
import errno
import os
import pathlib
import subprocess

CLONE_NEWNS = 0x00020000
_private = False


def _own_mounts():
    """From here on what the calling thread and its children mount is theirs alone."""
    global _private
    if not _private:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "no mount namespace of our own")
        _mount("--make-rprivate", "/")
        _private = True


def _mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True, timeout=10)


class Disk:
    """Mounted on `path`, which is made; nobody's file may be open in it at the end of the lab but those of its servers."""

    def __init__(self, lab, path, size="256k"):
        _own_mounts()
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True)
        self._filler = self.path / "filler"
        _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.path)
        lab.cleanup(lambda: subprocess.run(["umount", "--lazy", self.path], check=True, timeout=10))

    def fill(self):
        """Not a byte is left."""
        with open(self._filler, "wb", buffering=0) as filler:
            for piece in (b"x" * 4096, b"x"):
                try:
                    while True:
                        filler.write(piece)
                except OSError as problem:
                    if problem.errno != errno.ENOSPC:
                        raise

    def free(self):
        self._filler.unlink()

    def read_only(self, on=True):
        os.sync()
        _mount("-o", "remount," + ("ro" if on else "rw"), self.path)
