"""mcabber, a client that is not of this lab's making: it runs in a terminal of its own and is told what to do through its FIFO."""

import os
import pty
import threading

from .prosody import PASSWORD
from .waiting import wait_until

CONFIG = """\
set jid = {jid}
set password = {password}
set server = {address}
set port = 5222
set ssl_ignore_checks = 1
module load fifo
set disable_random_resource = 1
set resource = mcabber
set logging = 1
set logging_dir = {history}
set tracelog_level = 2
set tracelog_file = {log}
set fifo_name = {fifo}
set beep_on_message = 0
"""


class Mcabber:
    """with Mcabber(lab, "alice@a.test", server.address) as alice: ...

    Logged in when it begins."""

    def __init__(self, lab, jid, address, timeout=20):
        directory = lab.directory / f"mcabber-{jid.replace('@', '-at-')}"
        self.histories, self.fifo, self.log_file = directory / "history", directory / "fifo", directory / "mcabber.log"
        self.histories.mkdir(parents=True, mode=0o700)
        self.log_file.touch(mode=0o600)
        rc = directory / "mcabberrc"
        rc.write_text(CONFIG.format(jid=jid, password=PASSWORD, address=address, history=self.histories, log=self.log_file,
                                    fifo=self.fifo))
        rc.chmod(0o600)
        self.terminal, terminal = pty.openpty()
        env = {**os.environ, "TERM": "xterm", "HOME": str(directory), "LINES": "50", "COLUMNS": "200", "LANG": "C.UTF-8"}
        self.process = lab.spawn(["sh", "-c", 'exec mcabber -f "$1" <>"$0" >&0 2>&0', os.ttyname(terminal), rc], directory.name, env=env,
                                 cwd=directory)
        lab.cleanup(lambda: [os.close(end) for end in (self.terminal, terminal)])
        threading.Thread(target=self._drain, daemon=True).start()
        wait_until(lambda: "Your status has been set" in self.log, timeout, f"{jid} to log in by mcabber")

    def _drain(self):
        """What is not read would stop it in the end."""
        try:
            while os.read(self.terminal, 65536):
                pass
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

    def command(self, line):
        """What its user would type: "/say_to JID text", "/add JID"."""
        with open(self.fifo, "w", encoding="utf-8") as fifo:
            fifo.write(line + "\n")

    @property
    def log(self):
        """What it tells its user, but for messages."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait_log(self, text, mark=0, timeout=15):
        wait_until(lambda: text in self.log[mark:], timeout, f"mcabber to say: {text}")

    def received(self, contact):
        """The messages from a contact, as it has written them down."""
        file = self.histories / contact
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line.split(" ", 3)[3] for line in lines if line.startswith("MR ")]
