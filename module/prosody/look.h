/* The quick look at stanzas of streams that are established: see s2sp_look in handler.h. */
#ifndef S2SP_PROSODY_LOOK_H
#define S2SP_PROSODY_LOOK_H

#include "handler.h"

/* message, presence and iq to an address of the host. */
s2sp_look s2sp_look_in;
/* route/remote */
s2sp_look s2sp_look_out;

#endif
