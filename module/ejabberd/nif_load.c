/* The library as the emulator loads it: its functions, and what is made once. */
#include <string.h>

#include "erl_nif.h"

static int load(ErlNifEnv *env, void **private_data, ERL_NIF_TERM info) {
	ErlNifBinary version;
	(void)private_data;
	/* Beams of another version may mean something else by the same names. */
	if (!enif_inspect_binary(env, info, &version) || version.size != sizeof(S2SP_VERSION) - 1 ||
		memcmp(version.data, S2SP_VERSION, version.size) != 0)
		return 1;
	return 0;
}

static ERL_NIF_TERM loaded(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
	(void)argc;
	(void)argv;
	return enif_make_atom(env, "ok");
}

static ErlNifFunc functions[] = {
	{ "loaded", 0, loaded, 0 },
};

ERL_NIF_INIT(s2s_partners_nif, functions, load, NULL, NULL, NULL)
