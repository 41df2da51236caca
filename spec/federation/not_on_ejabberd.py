"""What of the scenarios does not apply where the edge is an ejabberd: each with its reason, which the runner prints."""

import fnmatch

_SHELL = "it speaks to Prosody's administration shell or inspects its Lua state"
_MODES = "mode observe is not in on ejabberd"

# MODULE/SCENARIO, with * and ?; the first that matches.
REASONS = {
}
# The same for one version only.
OF_VERSION = {
    "23.01": {},
    "24.12": {},
}


def reason(name, version):
    for table in (OF_VERSION.get(version, {}), REASONS):
        for pattern, words in table.items():
            if fnmatch.fnmatchcase(name, pattern):
                return words
    return None


def stale(names):
    """Patterns that match no scenario any more."""
    patterns = [pattern for table in (REASONS, *OF_VERSION.values()) for pattern in table]
    return [pattern for pattern in patterns if not fnmatch.filter(names, pattern)]
