/* What administrators of Prosody call things, for the slots of core's texts. */
#ifndef S2SP_PROSODY_VOCABULARY_H
#define S2SP_PROSODY_VOCABULARY_H

#include "vocabulary.h"

extern const struct s2sp_vocabulary s2sp_prosody_vocabulary;

#endif
