-- For LuaRocks, and so for `prosodyctl install`: docs/installing.md says how. Meson does the build, so that there is one inventory
-- of sources and one set of compiler flags; what it installs into LUADIR is where Prosody's installer path is searched.
rockspec_format = "3.0";
package = "mod_s2s_partners";
version = "1.0.0-1";
source = {
	url = "file://mod_s2s_partners-1.0.0.tar.gz"; -- the release tarball, beside this file
};
description = {
	summary = "Who may federate with a Prosody server, and how";
	detailed = "A list of partners: domain, kind of partner, and what is required of TLS, SASL EXTERNAL and dialback. A server that is not on it gets no stream.";
	license = "MIT";
	labels = { "prosody"; "xmpp"; "federation" };
};
supported_platforms = { "unix" };
dependencies = {
	"lua >= 5.4, < 5.5";
};
external_dependencies = {
	OPENSSL = { header = "openssl/x509.h" };
	LIBIDN2 = { header = "idn2.h" };
};
build = {
	type = "command";
	build_command = [[rm -rf build-rock && meson setup build-rock --buildtype=debugoptimized --prefix="$(PREFIX)" --mandir=man -Dplugindir="$(LUADIR)" -Dtests=false && meson compile -C build-rock]];
	install_command = [[meson install -C build-rock --no-rebuild]];
};
