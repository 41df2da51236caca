"""What became of every message: delivered, returned to its sender, or neither."""

import collections
import itertools
import threading

from lab.client import Client
from lab.xmlstream import Element


class Ledger:
    """Messages by `way`, such as ("out", "sasl.old.test"); each is entered when it is sent."""

    def __init__(self):
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._open = {}                     # id -> way
        self._done = set()
        self.sent = collections.Counter()
        self.delivered = collections.Counter()
        self.returned = collections.Counter()       # by (way, condition)
        self.twice = []

    def enter(self, way):
        with self._lock:
            id_ = f"{way[0]}-{next(self._numbers)}"
            self._open[id_] = way
            self.sent[way] += 1
            return id_

    def came(self, message: Element):
        """A message that some client has got."""
        id_ = message.get("id")
        with self._lock:
            way = self._open.pop(id_, None)
            if way is None:
                if id_ in self._done:
                    self.twice.append(id_)
                return
            self._done.add(id_)
            if message.get("type") == "error":
                self.returned[way, message.condition] += 1
            else:
                self.delivered[way] += 1

    def open(self, ways=None):
        """Ways of the messages of which nothing has been heard, counted."""
        with self._lock:
            return collections.Counter(way for way in self._open.values() if ways is None or way in ways)

    def open_ids(self, ways):
        """The messages themselves."""
        with self._lock:
            return [id_ for id_, way in self._open.items() if way in ways]

    def returned_on(self, way):
        return {condition: number for (of, condition), number in self.returned.items() if of == way}


class Accounted(Client):
    """A client that enters messages instead of keeping them, and keeps of all else what is of use for a moment."""

    KEPT = 50

    def __init__(self, jid, address, ledger, **more):
        self.ledger = ledger
        self._ids = itertools.count()
        super().__init__(jid, address, **more)

    def new_id(self):       # asked for by several threads
        return f"lab{next(self._ids)}"

    def forget(self):
        """What has come so far, but for answers: another thread may have been told of one and not have taken it yet."""
        with self._came:
            self.stanzas[:] = [stanza for stanza in self.stanzas if stanza.name == "iq"]

    def _record(self, stanza):
        with self._came:        # in one step: another thread may forget what is kept
            super()._record(stanza)
            if self.stanzas and self.stanzas[-1].name == "message":
                self.ledger.came(self.stanzas.pop())
            if len(self.stanzas) > 2 * self.KEPT:
                del self.stanzas[:-self.KEPT]
        return stanza
