"""What of the scenarios does not apply where the edge is in front of another server (--inside): each with its reason, which the runner prints."""

from exceptions import Exceptions

REASONS = {
    "boundary*": "it has relay hosts and a server inside of its own",
}
OF_INSIDE = {"prosody": {}, "ejabberd": {}}
TABLES = Exceptions("not_behind_relay.py", REASONS, OF_INSIDE)
