"""What this machine is, and what it has to test with: the release, every Prosody, ejabberd, the libraries beneath."""

import functools
import os
import pathlib
import re
import subprocess
from typing import NamedTuple

INSTALLED = pathlib.Path("/")


class Installation(NamedTuple):
    """One Prosody: its number as it says itself, "13.0.6", and the directory that its usr/ is in."""

    number: str
    root: pathlib.Path

    @property
    def series(self):
        """What scenarios ask for where versions differ: "0.12" or "13"."""
        parts = self.number.split(".")
        return parts[0] if parts[0] != "0" else ".".join(parts[:2])


def _found_in(root):
    try:
        return Installation((root / "usr/lib/prosody/prosody.version").read_text().strip(), root)
    except OSError:
        return None


@functools.cache
def prosodies():
    """[Installation], the installed one first, then those unpacked in PROSODY_DIRS (with colons between), each number once.

    .ci/install --prosody makes such a directory."""
    words = os.environ.get("PROSODY_DIRS", "").split(":")
    found = {}
    for root in [INSTALLED, *(pathlib.Path(word) for word in words if word)]:
        prosody = _found_in(root)
        if prosody:
            found.setdefault(prosody.number, prosody)
        elif root != INSTALLED:
            raise RuntimeError(f"no Prosody in {root}, which PROSODY_DIRS names: .ci/install --prosody {root}")
    return list(found.values())


def choose(wanted=None):
    """The Prosody of this number ("13.0.6") or series ("13"); of several in a series the first. None: the first of all."""
    if isinstance(wanted, Installation):
        return wanted
    for prosody in prosodies():
        if wanted in (None, prosody.number) or prosody.number.startswith(f"{wanted}."):
            return prosody
    have = ", ".join(prosody.number for prosody in prosodies()) or "none"
    raise RuntimeError(f"there is no Prosody {wanted or ''} here but {have}; PROSODY_DIRS names others (.ci/install --prosody DIR)")


def other(than):
    """Another Prosody for servers that are to be of two versions, of another series if there is one; None if there is no other."""
    others = [prosody for prosody in prosodies() if prosody.number != than.number]
    return next((prosody for prosody in others if prosody.series != than.series), others[0] if others else None)


class Ejabberd(NamedTuple):
    """One ejabberd: its number, "23.01", and for ERL_LIBS the directory above its own, and of an unpacked one those of what it needs."""

    number: str
    libraries: list


@functools.cache
def ejabberds():
    """[Ejabberd], the installed one first, then that unpacked in EJABBERD_DIR.

    .ci/install --ejabberd makes such a directory."""
    found = {}
    for root in [INSTALLED, *map(pathlib.Path, filter(None, [os.environ.get("EJABBERD_DIR")]))]:
        for beams in sorted(root.glob("usr/lib/*/ejabberd-*/ebin")):
            number = re.match(r"ejabberd-(\d+\.\d+)", beams.parent.name)[1]
            more = [] if root == INSTALLED else [str(root / "usr/lib/erlang/lib")]
            found.setdefault((root, number), Ejabberd(number, [str(beams.parent.parent), *more]))
    return list(found.values())


def choose_ejabberd(wanted=None):
    """The ejabberd of this number ("24.12"); None: the first of all."""
    for ejabberd in ejabberds():
        if wanted in (None, ejabberd.number):
            return ejabberd
    have = ", ".join(ejabberd.number for ejabberd in ejabberds()) or "none"
    raise RuntimeError(f"there is no ejabberd {wanted or ''} here but {have}; EJABBERD_DIR names another (.ci/install --ejabberd DIR)")


def _output(*words):
    try:
        return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _number(text, pattern=r"(\d+\.[\w.+~-]*)"):
    found = re.search(pattern, text)
    return found[1] if found else "none"


def _package(name):
    return _output("dpkg-query", "-W", "-f", "${Version}", name).partition("-")[0] or "none"


@functools.cache
def parser_waits():
    """Whether the XML parser keeps a tag that has come in pieces until more bytes come ("reparse deferral").

    libexpat does since 2.6.0, and in Debian 12 since 2.5.0-1+deb12u2; LuaExpat up to 1.5.2 cannot tell it not to."""
    return subprocess.run(["lua5.4", "-e", """
        local seen = false;
        local parser = require "lxp".new({ StartElement = function () seen = true; end });
        parser:parse("<a"); parser:parse(">");
        os.exit(seen);"""], check=False, timeout=20).returncode != 0


def release():
    fields = dict(re.findall(r'^(\w+)="?(.*?)"?$', pathlib.Path("/etc/os-release").read_text(), re.MULTILINE))
    try:
        point = pathlib.Path("/etc/debian_version").read_text().strip()
    except OSError:
        point = fields.get("VERSION_ID", "")
    return f"{fields.get('NAME', 'unknown').partition(' ')[0]} {point} ({fields.get('VERSION_CODENAME', '?')})"


def line():
    """All of it in one line, for the head of a report."""
    lua, clang = _number(_output("lua5.4", "-v"), r"Lua (\S+)"), _number(_output("clang", "--version"), r"version (\d[\d.]*)")
    found = ", ".join(prosody.number + (" installed" if prosody.root == INSTALLED else "") for prosody in prosodies())
    return "; ".join([
        release(), f"Prosody {found or 'none'}", f"ejabberd {', '.join(ejabberd.number for ejabberd in ejabberds()) or 'none'}",
        f"OpenSSL {_number(_output('openssl', 'version'))}", f"Lua {lua}",
        f"libexpat {_package('libexpat1')}{', which waits for more' if parser_waits() else ''}",
        f"GCC {_number(_output('gcc', '-dumpfullversion'))}", f"Clang {clang}"])
