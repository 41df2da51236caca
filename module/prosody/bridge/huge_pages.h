/* Huge pages for what is looked up at random. */
#ifndef S2SP_PROSODY_PAGES_H
#define S2SP_PROSODY_PAGES_H

#include <stddef.h>

/*
 * A table of many megabytes is read at random: with pages of 4 KiB most look-ups would wait for the address to be translated as
 * well. Asks for larger ones where `block`, just allocated and of `size` bytes, is worth it; it may be NULL, and nothing depends
 * on the answer.
 */
void s2sp_prefer_huge_pages(void *block, size_t size);

#endif
