/* How many keys partners are being asked about (XEP-0220 2.2): guard.questions. */
#ifndef S2SP_PROSODY_KEY_QUESTIONS_H
#define S2SP_PROSODY_KEY_QUESTIONS_H

#include "record.h"

/*
 * Counts a key of the stream's peer that the partner's server is to be asked about, if it may be. REFUSE is for the element. Counts begin anew
 * after establishment_timeout, after which nothing waits any more. May throw.
 */
struct s2sp_decision s2sp_lua_question_ask(lua_State *L, int guard, int record);

/* An answer has come over the stream, whatever it says. May throw. */
void s2sp_lua_question_answered(lua_State *L, int guard, int record);

#endif
