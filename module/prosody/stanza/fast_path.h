/* The fast path of stanzas of streams that are established: see s2sp_fast_path in handler.h. */
#ifndef S2SP_PROSODY_LOOK_H
#define S2SP_PROSODY_LOOK_H

#include "handler.h"

/* message, presence and iq to an address of the host. */
s2sp_fast_path s2sp_fast_path_in;
/* route/remote */
s2sp_fast_path s2sp_fast_path_out;

#endif
