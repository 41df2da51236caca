"""A client: slixmpp in a thread of its own, used from the test step by step."""

import asyncio
import contextlib
import io
import threading
import time
import warnings

with contextlib.redirect_stderr(io.StringIO()):     # it complains of a missing accelerator
    import slixmpp
    from slixmpp.xmlstream.xmlstream import NotConnectedError

from .prosody import PASSWORD      # noqa: E402 (after the import in a with)
from .xmlstream import Element    # noqa: E402



class Client:
    """with Client("alice@a.test", server.address) as alice: ...

    Connected, logged in and (unless presence=False) available when it returns."""

    def __init__(self, jid, address, port=5222, password=PASSWORD, presence=True, timeout=30):
        self.jid, self.address, self.port, self.timeout = jid, address, port, timeout
        self.stanzas = []           # all that came in, oldest first, as xmlstream.Element
        self._came = threading.Condition()
        self._ready = threading.Event()
        self._failure = None
        self._count = 0
        self._thread = threading.Thread(target=self._run, args=[password], daemon=True)
        self._thread.start()
        if not self._ready.wait(timeout):
            self.close()
            raise TimeoutError(f"{jid} could not log in within {timeout} s")
        if self._failure:
            self.close()
            raise RuntimeError(f"{jid} could not log in: {self._failure}")
        if presence:
            self.roster()           # or the server would not push its changes
            self.presence()
            # It comes back once the server has seen it: before, some servers take the user for away.
            self.wait_presence(self.full_jid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._thread.is_alive() and getattr(self, "_loop", None):
            def end():
                self._xmpp.disconnect(wait=0.5)
                self._loop.call_later(0.2, self._loop.stop)
            try:
                self._loop.call_soon_threadsafe(end)
            except RuntimeError:
                pass
            self._thread.join(5)

    def _run(self, password):
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            xmpp = slixmpp.ClientXMPP(self.jid, password, plugin_config={
                # Not SCRAM: since 1.9 slixmpp would bind it to a TLS channel where the server says that it can, and there is none.
                "feature_mechanisms": {"use_mech": "PLAIN", "unencrypted_plain": True}})
        self._xmpp = xmpp
        # The test decides about subscriptions, not the library.
        xmpp.auto_authorize = None
        xmpp.auto_subscribe = False
        xmpp.add_filter("in", self._record)
        xmpp.add_event_handler("session_start", lambda _: self._ready.set())
        for event in ("failed_auth", "failed_all_auth", "connection_failed", "stream_error"):
            xmpp.add_event_handler(event, lambda what, event=event: self._fail(f"{event}: {what}"))
        self._connect(xmpp)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _connect(self, xmpp):
        """In clear: it is our own loopback."""
        if hasattr(xmpp, "enable_plaintext"):       # slixmpp 1.9 and later
            xmpp.enable_direct_tls, xmpp.enable_starttls, xmpp.enable_plaintext = False, False, True
            xmpp.connect(self.address, self.port)
        else:
            xmpp.connect((self.address, self.port), disable_starttls=True)

    def _fail(self, why):
        self._failure = self._failure or why
        self._ready.set()

    def _record(self, stanza):
        xml = getattr(stanza, "xml", None)
        if xml is not None:
            with self._came:
                self.stanzas.append(_element(xml))
                self._came.notify_all()
        return stanza

    # Sending

    @property
    def connected(self):
        return self._thread.is_alive() and self._xmpp.transport is not None

    @property
    def full_jid(self):
        return str(self._xmpp.boundjid)

    def new_id(self):
        self._count += 1
        return f"lab{self._count}"

    def send_raw(self, text):
        """What is sent after the server has gone is lost, as with any client."""
        def send():
            with contextlib.suppress(NotConnectedError):
                self._xmpp.send_raw(text)
        self._loop.call_soon_threadsafe(send)

    def send_message(self, to, body="hello", type_="chat", id_=None, inside=""):
        """Sends a message (body None: without one) and returns its id."""
        id_ = id_ or self.new_id()
        body = f"<body>{body}</body>" if body is not None else ""
        self.send_raw(f"<message to='{to}' type='{type_}' id='{id_}'>{body}{inside}</message>")
        return id_

    def presence(self, to=None, type_=None, status=None, inside="", id_=None):
        """Broadcast or directed presence, of any type; with a status note."""
        words = "".join(f" {name}='{value}'" for name, value in
                        (("to", to), ("type", type_), ("id", id_)) if value)
        note = f"<status>{status}</status>" if status else ""
        self.send_raw(f"<presence{words}>{note}{inside}</presence>")

    def subscribe(self, to):
        self.presence(to, "subscribe")

    def authorise(self, to):
        self.presence(to, "subscribed")

    def iq(self, to, inside, type_="get", timeout=20):
        """Sends a request and returns the answer, a result or an error."""
        id_ = self.new_id()
        to = f" to='{to}'" if to else ""
        self.send_raw(f"<iq{to} type='{type_}' id='{id_}'>{inside}</iq>")
        return self.wait_stanza(lambda stanza: stanza.name == "iq" and stanza.get("id") == id_ and
                                stanza.get("type") in ("result", "error"), timeout)

    # Roster

    def roster(self):
        """{contact: {"subscription", "ask", "name"}} as the server has it now."""
        answer = self.iq(None, "<query xmlns='jabber:iq:roster'/>")
        return {item.get("jid"): {name: item.get(name) for name in ("subscription", "ask", "name")}
                for item in answer.find("query").children}

    def roster_set(self, contact, name=None, remove=False):
        words = f" name='{name}'" if name else ""
        words += " subscription='remove'" if remove else ""
        return self.iq(None, f"<query xmlns='jabber:iq:roster'><item jid='{contact}'{words}/></query>", "set")

    # Receiving

    def mark(self):
        """For `since`: only what comes from now on."""
        return len(self.stanzas)

    def wait_stanza(self, wanted, timeout=20, since=0):
        """The first stanza since the mark for which wanted(stanza) is true."""
        deadline = time.monotonic() + timeout
        with self._came:
            while True:
                for stanza in self.stanzas[since:]:
                    if wanted(stanza):
                        return stanza
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{self.jid}: no such stanza within {timeout} s, but {self.stanzas[since:]}")
                self._came.wait(left)

    def wait_message(self, body, timeout=20, since=0):
        return self.wait_stanza(lambda stanza: stanza.name == "message" and stanza.find("body") is not None and
                                stanza.find("body").text == body and stanza.get("type") != "error", timeout, since)

    def wait_presence(self, from_, type_=None, timeout=20, since=0):
        """Presence from a bare or full JID; type None: available."""
        return self.wait_stanza(lambda stanza: stanza.name == "presence" and stanza.get("type") == type_ and
                                from_ in (stanza.get("from"), (stanza.get("from") or "").partition("/")[0]),
                                timeout, since)

    def wait_error(self, id_=None, timeout=20, since=0):
        """(condition, text, type) of the error that comes back, for the id if one is given."""
        stanza = self.wait_stanza(lambda stanza: stanza.get("type") == "error" and
                                  id_ in (None, stanza.get("id")), timeout, since)
        return stanza.condition, stanza.error_text, stanza.find("error").get("type")

    def assert_nothing(self, wanted, seconds=1, since=0):
        """Fails if such a stanza is there or comes within the time."""
        try:
            stanza = self.wait_stanza(wanted, seconds, since)
        except TimeoutError:
            return
        raise AssertionError(f"{self.jid} was not to get {stanza}")


def _element(xml):
    """An ElementTree element as xmlstream.Element, so that tests see one kind only."""
    xmlns, _, name = xml.tag.rpartition("}")
    element = Element(name, xmlns[1:], dict(xml.attrib))
    element.text = xml.text or ""
    element.children = [_element(child) for child in xml]
    return element
