/*
 * Files of partners that are nothing but a list, read without Lua: a file with a million entries would be a gigabyte of Lua's tables, and nobody
 * would be served while they are made. No Lua in here, so that it can be done on a thread of its own.
 */
#ifndef S2SP_PROSODY_PARTNER_FILE_H
#define S2SP_PROSODY_PARTNER_FILE_H

#include <stdatomic.h>

#include "s2sp.h"

/*
 * Reads the file at `path` and, if it is a plain list of partners, feeds it to the config as the list `place`:
 *
 *     return { { NAME = VALUE; ... }; ... }
 *
 * each VALUE a string without escapes, a whole number, true, false, or for the keys that take one a list of such strings. Comments of one line
 * and a byte order mark may be there, and nothing else. Such a text means to Lua what it means here; what is not plain, a file
 * with an error included, is for Lua.
 *
 * INVALID: it is not plain, or cannot be read, or is larger than Lua would be asked to read; nothing has been fed. FAILED: `cancelled` (NULL: never) has
 * become true meanwhile; the config can only be freed then, as after NO_MEMORY. Blocks for as long as the disk does.
 */
enum s2sp_status s2sp_partner_file_feed(struct s2sp_config *config, struct s2sp_text place, const char *path,
										const atomic_bool *cancelled);

#endif
