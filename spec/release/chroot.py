"""A scratch Debian (spec/release/root) in an overlay, its Prosody or an ejabberd in this network; what newcomer and dist-upgrade share."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from lab.lab import die_with_parent  # noqa: E402 (needs the path above)
from lab.prosody import PASSWORD  # noqa: E402
from lab.waiting import port_open, wait_until  # noqa: E402

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
US, PARTNER = "contoso.com", "fabrikam.com"

# There is no systemd in a scratch root; what its unit does is done by hand.
SYSTEMCTL = r"""#!/bin/sh
if [ "$2" = ejabberd ]; then
	mkdir -p /run/ejabberd && chown ejabberd: /run/ejabberd
	case $1 in
	start) ejabberdctl start && ejabberdctl started ;;
	stop) ejabberdctl stop && ejabberdctl stopped ;;
	restart) ejabberdctl stop && ejabberdctl stopped && ejabberdctl start && ejabberdctl started ;;
	reload) ejabberdctl reload_config ;;
	esac
	exit
fi
if [ "$2" = unbound ]; then
	pid=/run/unbound.pid
	case $1 in stop | restart)
		if [ -s $pid ]; then
			p=$(cat $pid); kill "$p"
			for i in $(seq 100); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
		fi ;;
	esac
	case $1 in
	start | restart)
		/usr/libexec/unbound-helper root_trust_anchor_update >/dev/null 2>&1
		unbound-checkconf >/dev/null && unbound </dev/null >/dev/null 2>&1 ;;
	reload) kill -HUP "$(cat $pid)" ;;
	esac
	exit
fi
[ "$2" = prosody ] || exit 1
pid=/run/prosody/prosody.pid
start() {
	mkdir -p /run/prosody && chown prosody: /run/prosody
	setpriv --reuid=prosody --regid=prosody --init-groups /usr/bin/prosody -D </dev/null >/dev/null 2>&1
	for i in $(seq 100); do [ -s $pid ] && return; sleep 0.1; done
	exit 1
}
stop() {
	[ -s $pid ] || return 0
	p=$(cat $pid); kill "$p"
	for i in $(seq 100); do kill -0 "$p" 2>/dev/null || { rm -f $pid; return; }; sleep 0.1; done
	exit 1
}
case $1 in
start) start ;;
stop) stop ;;
restart) stop; start ;;
reload) kill -HUP "$(cat $pid)" ;;
esac
"""


class Root:
    """An overlay over the scratch root, with its processes in this network or that of the machine."""

    def __init__(self, lab, lower, name="root"):
        self.lab = lab
        layers = lab.directory / name
        layers.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", layers], check=True)
        lab.cleanup(lambda: subprocess.run(["umount", "-l", layers], check=True))
        for name in ("up", "work", "merged"):
            (layers / name).mkdir()
        self.path = layers / "merged"
        options = f"lowerdir={lower},upperdir={layers}/up,workdir={layers}/work"
        self._mount("-t", "overlay", "overlay", "-o", options, self.path)
        self._mount("-t", "proc", "proc", self.path / "proc")
        self._mount("--bind", "/dev", self.path / "dev")
        self.resolver = (self.path / "etc" / "resolv.conf").read_bytes()

    def _mount(self, *words):
        subprocess.run(["mount", *words], check=True)
        self.lab.cleanup(lambda: subprocess.run(["umount", "-l", words[-1]], check=True))

    def run(self, text, network=None, directory="/usr/src/s2s_partners", quiet=True):
        """The commands with sh -e, in the folder; network: a process whose network to take."""
        argv = ["chroot", self.path, "sh", "-ec", f"cd {directory}\n{text}"]
        if network:
            argv = ["nsenter", f"--net=/proc/{network}/ns/net", *argv]
        ran = subprocess.run(argv, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=1800)
        if ran.returncode != 0:
            raise RuntimeError(f"{text.strip()}\nended with {ran.returncode}:\n{ran.stdout[-3000:]}")
        return ran.stdout

    def online(self, text, network):
        """apt and the like, over the network of the machine, with its resolver."""
        path = self.path / "etc" / "resolv.conf"
        hidden = path.read_bytes()
        path.write_bytes(self.resolver)
        try:
            return self.run(text, network=network, directory="/")
        finally:
            path.write_bytes(hidden)

    def prosody_version(self):
        return (self.path / "usr/lib/prosody/prosody.version").read_text().strip()

    def package_version(self, package):
        return self.run(f"dpkg-query -W -f '${{Version}}' {package}", directory="/")


def in_the_network(lab, root):
    # The lab's authority stands for the public ones.
    store = root.path / "usr" / "local" / "share" / "ca-certificates"
    store.mkdir(parents=True, exist_ok=True)
    shutil.copy(lab.certificates.trust, store / "lab.crt")
    resolver = root.path / "etc" / "resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.write_text(f"nameserver {lab.dns.address}\n")
    systemctl = root.path / "usr" / "local" / "bin" / "systemctl"
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)


def running_ejabberd(lab, root, address):
    """The premise, for an ejabberd that is installed as packaged."""
    leaf = lab.certificates.leaf(US)
    etc = root.path / "etc" / "ejabberd"
    (etc / f"{US}.pem").write_bytes(leaf.certificate.read_bytes() + leaf.key.read_bytes())
    in_the_network(lab, root)
    config = etc / "ejabberd.yml"
    text = re.sub(r"(?<=^hosts:\n  - )\S+$", US, config.read_text(), flags=re.MULTILINE)
    text = text.replace("/etc/ejabberd/ejabberd.pem", f"/etc/ejabberd/{US}.pem")
    # As for Prosody: other addresses are the partner's, clients of the test speak in clear.
    text = text.replace('ip: "::"', f'ip: "{address}"').replace("starttls_required: true", "starttls_required: false")
    config.write_text(text)
    root.run(f"update-ca-certificates\nchgrp ejabberd /etc/ejabberd/{US}.pem\nchmod 640 /etc/ejabberd/{US}.pem\n"
             f"systemctl start ejabberd\nejabberdctl register alice {US} {PASSWORD}", directory="/")
    for port in (5269, 5222):
        wait_until(lambda number=port: port_open(address, number), 20, "ejabberd in the root")


def running_prosody(lab, root, address, more=""):
    """The premise: contoso.com is served, has its certificate and its records. `more`: components, say."""
    leaf = lab.certificates.leaf(US)
    etc = root.path / "etc"
    for suffix, path in (("crt", leaf.certificate), ("key", leaf.key)):
        shutil.copy(path, etc / "prosody" / "certs" / f"{US}.{suffix}")
    in_the_network(lab, root)
    config = etc / "prosody" / "prosody.cfg.lua"
    # The machine of the partner has the other addresses of this network; clients of the test speak in clear.
    config.write_text(f'interfaces = {{ "{address}" }}\nc2s_require_encryption = false\n'
                      "allow_unencrypted_plain_auth = true\n" + config.read_text())
    (etc / "prosody" / "conf.d" / f"{US}.cfg.lua").write_text(f'VirtualHost "{US}"\n{more}')
    root.run(f"update-ca-certificates\nchgrp -R prosody /etc/prosody/certs\nchmod 640 /etc/prosody/certs/*\n"
             f"prosodyctl register alice {US} {PASSWORD}\nsystemctl start prosody", directory="/")
    for port in (5269, 5222):
        wait_until(lambda number=port: port_open(address, number), 20, "Prosody in the root")


def copy_source(root):
    """As from the release tarball: what is under version control."""
    target = root.path / "usr" / "src" / "s2s_partners"
    target.mkdir(parents=True)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=SOURCE, stdout=subprocess.PIPE)
    if files.returncode != 0:       # no repository: the tarball itself
        shutil.copytree(SOURCE, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("build*"))
        return
    for name in filter(None, files.stdout.decode().split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (SOURCE / name).exists():
            shutil.copy(SOURCE / name, target / name)


def in_private_network(arguments):
    """Runs the program again in a network and mounts of its own, with --outside: a process that keeps the way out for apt."""
    keeper = subprocess.Popen(["sleep", "3600"], preexec_fn=lambda: die_with_parent(signal.SIGKILL))
    try:
        return subprocess.call(["unshare", "-n", "-m", sys.executable, *arguments, "--outside", str(keeper.pid)],
                               env={**os.environ, "NEWCOMER": "inside"})
    finally:
        keeper.kill()
