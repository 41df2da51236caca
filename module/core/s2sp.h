/* The one header adapters include. */
#ifndef S2SP_H
#define S2SP_H

#include "authorisation.h"
#include "config.h"
#include "domain.h"
#include "handshake.h"
#include "negotiation.h"
#include "partner.h"
#include "pin.h"
#include "policy.h"
#include "reason.h"
#include "refusal.h"
#include "spoken_answer.h"
#include "status.h"
#include "stream.h"
#include "stream_limits.h"
#include "text.h"
#include "vocabulary.h"

#endif
