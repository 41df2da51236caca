"""A federation of real XMPP servers on loopback, for tests and the demo."""
