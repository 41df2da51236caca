/*
 * Certificate revocation lists (CRLs, RFC 5280 section 5), read from a file in steps: a list may hold a hundred thousand entries, and
 * who reads it has other work to do in between.
 *
 * OpenSSL reads the head of a list, names, dates, extensions, and verifies its signature. The entries are taken out of its bytes one by one
 * and only their serial numbers are kept, in a keyed hash: OpenSSL's own form of them takes four times the room and is made, sorted and
 * freed in one go each. A list is signed by a key that is seen only with the chain of a peer: it is verified then, once for each key.
 */
#ifndef S2SP_CERTIFICATE_CRL_H
#define S2SP_CERTIFICATE_CRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"
#include "text.h"

#define S2SP_CRL_FILE_SIZE_MAX (64 * 1024 * 1024) /* as PEM or DER */
#define S2SP_CRL_LISTS_MAX 1000                   /* lists in one file */
#define S2SP_CRL_HEAD_MAX (64 * 1024)             /* of a list, without its entries */
#define S2SP_CRL_ENTRY_MAX (64 * 1024)

/* The lists of one file. Any number of judgements may use it, at the same time too. */
struct s2sp_crl_file;

struct s2sp_crl_reader;

/*
 * Reads the file's bytes. OK: *reader is the caller's, to be freed. INVALID: `message` (of `size` bytes, always NUL-terminated, printable
 * ASCII, cut) begins with the path and says what is wrong and what to do. Otherwise NO_MEMORY. `path` is a NUL-terminated path.
 */
enum s2sp_status s2sp_crl_reader_new(const char *path, struct s2sp_crl_reader **reader, char *message, size_t size);
/* The same for bytes that are there already, as tests and fuzzers have them; `path` is what messages name. */
enum s2sp_status s2sp_crl_reader_from(const char *path, struct s2sp_text bytes, struct s2sp_crl_reader **reader, char *message,
									  size_t size);
/*
 * One step, of some milliseconds. OK: *file is NULL while there is more to read; else it is the caller's, to be freed, and `message` holds
 * warnings (one line each; "" when there are none): lists that cannot be used and why. INVALID and NO_MEMORY as above; the reader is of no
 * more use then, but for being freed.
 */
enum s2sp_status s2sp_crl_reader_step(struct s2sp_crl_reader *reader, struct s2sp_crl_file **file, char *message, size_t size);
/* NULL is allowed. */
void s2sp_crl_reader_free(struct s2sp_crl_reader *reader);

/* NULL is allowed. */
void s2sp_crl_file_free(struct s2sp_crl_file *file);
size_t s2sp_crl_file_lists(const struct s2sp_crl_file *file);
/* Revoked certificates in all its lists. */
size_t s2sp_crl_file_entries(const struct s2sp_crl_file *file);
/* Memory that it takes, about, in bytes. */
size_t s2sp_crl_file_size(const struct s2sp_crl_file *file);
/*
 * The first nextUpdate among its lists, and the thisUpdate of that list: seconds since the epoch. False when no list says when there will be
 * another.
 */
bool s2sp_crl_file_next_update(const struct s2sp_crl_file *file, int64_t *this_update, int64_t *next_update);

/* When the next of its lists begins that is not valid yet at `now`; seconds since the epoch, 0: none. */
int64_t s2sp_crl_file_begins(const struct s2sp_crl_file *file, int64_t now);

/*
 * Whether `next` may take the place of `before`. A list of `before` that is current at `now` and that the key of a chain was found to have signed
 * must have a successor in `next`: of the same issuer and scope, not older, valid by now, signed with the same key. Nobody else can make such a one;
 * without it a forged or an old list would set a revoked certificate free. OK, INVALID (`message` says which list and why; *again is when the answer
 * may be another, 0: never), or NO_MEMORY.
 */
enum s2sp_status s2sp_crl_file_follows(const struct s2sp_crl_file *next, const struct s2sp_crl_file *before, int64_t now,
									   char *message, size_t size, int64_t *again);

/* Whether both hold the same lists, byte for byte, in the same order. */
bool s2sp_crl_file_same(const struct s2sp_crl_file *one, const struct s2sp_crl_file *other);

/*
 * Whether a list of the file mentions one of `links`, which is the `links` of a certificate's report: a quick look that verifies nothing. What
 * it does not mention it does not revoke.
 */
bool s2sp_crl_file_mentions(const struct s2sp_crl_file *file, struct s2sp_text links);

#endif
