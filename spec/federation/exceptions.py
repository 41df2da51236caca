"""Tables of scenarios that do not apply somewhere: MODULE/SCENARIO, with * and ?, to the reason, which the runner prints."""

import fnmatch


class Exceptions:
    """`always`: a table; `special`: {kind: table} for one kind of server only, which comes first."""

    def __init__(self, name, always, special):
        self.name, self.always, self.special = name, always, special

    def reason(self, name, kind):
        """Of the first pattern that matches, or None."""
        for table in (self.special.get(kind, {}), self.always):
            for pattern, words in table.items():
                if fnmatch.fnmatchcase(name, pattern):
                    return words
        return None

    def stale(self, names):
        """Patterns that match no scenario any more."""
        patterns = [pattern for table in (self.always, *self.special.values()) for pattern in table]
        return [pattern for pattern in patterns if not fnmatch.filter(names, pattern)]
