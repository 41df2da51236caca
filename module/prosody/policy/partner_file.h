/*
 * Files of partners that are nothing but a list, read without Lua: a file with a million entries would be a gigabyte of Lua's tables, and nobody
 * would be served while they are made. No Lua in here, so that it can be done on a thread of its own.
 */
#ifndef S2SP_PROSODY_PARTNER_FILE_H
#define S2SP_PROSODY_PARTNER_FILE_H

#include <stdatomic.h>

#include "s2sp.h"

/*
 * Whether the text is a plain list of partners:
 *
 *     return { { NAME = VALUE; ... }; ... }
 *
 * each VALUE a string without escapes, a whole number, true, false, or for the keys that take one a list of such strings. Comments of one line
 * and a byte order mark may be there, and nothing else. Such a text means to Lua what it means here; what is not plain, a file
 * with an error included, is for Lua.
 */
bool s2sp_partner_text_is_plain(struct s2sp_text text);

/*
 * Feeds a plain text to the config as the list that Lua would make of it, after s2sp_config_begin_list. Stops early, with FAILED, when
 * `cancelled` (NULL: never) has become true; the config can only be freed then, as after NO_MEMORY.
 */
enum s2sp_status s2sp_partner_text_feed(struct s2sp_config *config, struct s2sp_text text, const atomic_bool *cancelled);

/*
 * Reads the file at `path` and, if it is plain, feeds it as the list `place`. INVALID: it is not plain, or cannot be read, or is larger than
 * Lua would be asked to read; nothing has been fed. Blocks for as long as the disk does.
 */
enum s2sp_status s2sp_partner_file_feed(struct s2sp_config *config, struct s2sp_text place, const char *path,
										const atomic_bool *cancelled);

#endif
