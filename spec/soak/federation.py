"""The federation of the soak: an edge, real partners of every Prosody that is here, one that is killed now and then, and a stranger."""

from lab import machine
from lab.prosody import Prosody
from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server, partner, tcp_dialback, tls_dialback

CAROL = f"carol@{HOST}"
ROOMS = f"rooms.{HOST}"
RESTLESS, STRANGER = "restless.test", "stranger.test"
INACTIVITY = 8      # seconds
QUIET = 40          # seconds: for so long nobody writes to or from the domains of "dialback", and their streams end; then they do again
LIMITS = {"establishment_timeout": 5, "inactivity_timeout": INACTIVITY, "keepalive_interval": 5}
CHARACTERS = ("sasl", "dialback", "tcp", "unv", "come", "change")


def families():
    """{top domain: the number of its server's version}, the oldest and the newest"""
    numbers = sorted((prosody.number for prosody in machine.prosodies()), key=lambda number: [int(part) for part in number.split(".")])
    return dict(zip(("old.test", "new.test"), dict.fromkeys((numbers[0], numbers[-1]))))


def domains(*characters):
    return [f"{character}.{top}" for top in families() for character in characters or CHARACTERS]


def steady():
    """Listed throughout, in one way."""
    return domains("sasl", "dialback", "tcp", "unv")


def entries(come=True, changed=False, broken=False):
    listed = []
    for top in families():
        listed += [partner(f"sasl.{top}", keepalive=True, tls="requried" if broken else "required"),
                   tls_dialback(f"dialback.{top}"), tcp_dialback(f"tcp.{top}"),
                   any_method(f"unv.{top}", partner_type="public_unverified"),
                   tls_dialback(f"change.{top}") if changed else partner(f"change.{top}")]
        if come:
            listed.append(any_method(f"come.{top}", partner_type="public_verified"))
    return [*listed, any_method(RESTLESS)]


# In turn, one at each reload.
LISTS = [{}, {"come": False}, {"changed": True}, {"come": False, "changed": True}, {"broken": True}, {}]


def text(**changes):
    return configuration(*entries(**changes), s2s_partners_limits=LIMITS)


def bobs():
    return [f"bob@{domain}" for domain in domains()]


class Partners:
    """Those with whom the edge federates, started. `edge` is what its users log in to, unless they are elsewhere."""

    text = staticmethod(text)

    def __init__(self, lab):
        self.lab, self.edge, self.partners = lab, None, {}

    def start_partners(self, contacts):
        """The bobs have those contacts."""
        for top, of in families().items():
            hosts = [domain for domain in domains() if domain.endswith(top)]
            users = [f"{user}@{host}" for host in hosts for user in ("bob", "eve")] + [f"sue@sasl.{top}"]
            server = Prosody(self.lab, top.partition(".")[0], hosts, users=users, preset="any", version=of, log_level="info")
            for host in hosts:
                if "dialback" in host:
                    continue    # presence would keep its streams alive
                server.set_roster(f"bob@{host}", dict.fromkeys(contacts, "both"))
            self.partners[top] = server.start()
        newest = list(families().values())[-1]
        self.restless = Prosody(self.lab, "restless", [RESTLESS], users=[f"bob@{RESTLESS}"], preset="any", version=newest,
                                log_level="info").start()
        self.stranger = Prosody(self.lab, "stranger", [STRANGER], users=[f"mallory@{STRANGER}"], preset="any", version=newest,
                                log_level="info").start()

    def server_of(self, domain):
        for server in (self.edge, self.restless, self.stranger):
            if domain in server.hosts:
                return server
        return self.partners[domain.partition(".")[2]]

    def address_of(self, jid):
        return self.server_of(jid.partition("@")[2]).address


class Federation(Partners):
    """All servers, started."""

    def __init__(self, lab, version):
        super().__init__(lab)
        contacts = {jid: "both" for jid in bobs() if "dialback" not in jid}
        self.edge = edge_server(lab, text(), users=[ALICE, CAROL], version=version, log_level="info", s2s_timeout=60,
                                components={ROOMS: ("muc", "muc_room_locking = false\n")}, modules=["lab_measure", "s2s_bidi"],
                                options='statistics = "internal"\n')
        self.edge.set_roster(ALICE, contacts)
        self.edge.start()
        self.start_partners([ALICE])
