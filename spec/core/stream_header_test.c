/* Headers that are plain, and everything that only looks like one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "stream_header.h"

#define NAMESPACES "xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"
#define PLAIN "<stream:stream " NAMESPACES " from='fabrikam.test' to='contoso.test' version='1.0'>"

/* Read from memory of its own, so that a sanitizer sees every byte too far. */
static bool reads(const char *bytes, size_t length, struct s2sp_stream_header *header) {
	char *copy = malloc(length > 0 ? length : 1);
	assert_non_null(copy);
	memcpy(copy, bytes, length);
	bool plain = s2sp_stream_header_read((struct s2sp_text){ copy, length }, header);
	if (plain) {
		assert_true(header->from.bytes >= copy && header->from.bytes + header->from.length <= copy + length);
		assert_true(header->to.bytes >= copy && header->to.bytes + header->to.length <= copy + length);
		assert_true(header->from.length > 0 && header->to.length > 0);
		/* Seen again by the caller, from bytes that stay. */
		header->from.bytes = bytes + (header->from.bytes - copy);
		header->to.bytes = bytes + (header->to.bytes - copy);
	}
	free(copy);
	return plain;
}

static const char *plain[] = {
	PLAIN,
	"<?xml version='1.0'?>" PLAIN,
	"<?xml version=\"1.0\" ?>\r\n" PLAIN,
	PLAIN "<db:result/>",
	"<stream:stream to=\"contoso.test\"\n\tfrom = 'fabrikam.test' version='1.0' " NAMESPACES " >",
	"<stream:stream " NAMESPACES
	" xmlns:db='jabber:server:dialback' xml:lang='en' id='1 >' from='fabrikam.test' to='contoso.test' version='1.0'>",
};

static void test_plain(void **state) {
	(void)state;
	for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
		struct s2sp_stream_header header;
		if (!reads(plain[i], strlen(plain[i]), &header))
			fail_msg("not read: %s", plain[i]);
		assert_true(s2sp_text_equal(header.from, S2SP_TEXT("fabrikam.test")));
		assert_true(s2sp_text_equal(header.to, S2SP_TEXT("contoso.test")));
	}
}

static void test_not_whole(void **state) {
	(void)state;
	for (size_t length = 0; length < strlen(PLAIN); length++) {
		struct s2sp_stream_header header;
		assert_false(reads(PLAIN, length, &header));
	}
}

#define WITH(from, to, more) "<stream:stream " NAMESPACES " version='1.0' from='" from "' to='" to "'" more ">"
#define LABEL "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg" /* 63 */

static const char *other[] = {
	" " PLAIN,
	"\xEF\xBB\xBF" PLAIN,
	"<?xml version='1.1'?>" PLAIN,
	"<?xml version='1.0' encoding='utf-16'?>" PLAIN,
	"<?xml?>" PLAIN,
	"<?xml version='1.0'>" PLAIN,
	"<!-- -->" PLAIN,
	"<!DOCTYPE a []>" PLAIN,
	"<?x?>" PLAIN,
	/* the addresses */
	WITH("", "contoso.test", ""),
	WITH("fabrikam.test", "", ""),
	WITH("Fabrikam.test", "contoso.test", ""),
	WITH("fabrikam.test.", "contoso.test", ""),
	WITH(".fabrikam.test", "contoso.test", ""),
	WITH("fabrikam..test", "contoso.test", ""),
	WITH("fabrikam.test/a", "contoso.test", ""),
	WITH("a@fabrikam.test", "contoso.test", ""),
	WITH("fabrikam&#46;test", "contoso.test", ""),
	WITH("fabrik\xC3\xA4m.test", "contoso.test", ""),
	WITH("fabrikam.test ", "contoso.test", ""),
	WITH("fabri\tkam.test", "contoso.test", ""),
	WITH("fabri_kam.test", "contoso.test", ""),
	WITH("fabrikam.test", "contoso.test/", ""),
	WITH("[::1]", "contoso.test", ""),
	WITH("a" LABEL ".test", "contoso.test", ""),
	WITH(LABEL "." LABEL "." LABEL "." LABEL, "contoso.test", ""),
	/* attributes */
	WITH("fabrikam.test", "contoso.test", " from='evil.test'"),
	WITH("fabrikam.test", "contoso.test", " a='b'"),
	WITH("fabrikam.test", "contoso.test", " stream:from='evil.test'"),
	WITH("fabrikam.test", "contoso.test", " xmlns:a='b'"),
	WITH("fabrikam.test", "contoso.test", "id='1'"),
	WITH("fabrikam.test", "contoso.test", " id=1"),
	WITH("fabrikam.test", "contoso.test", " id='<'"),
	WITH("fabrikam.test", "contoso.test", " id='1"),
	WITH("fabrikam.test", "contoso.test", " id"),
	WITH("fabrikam.test", "contoso.test", " xmlns:db='a'"),
	WITH("fabrikam.test", "contoso.test", "/"),
	WITH("fabrikam.test", "contoso.test", " /"),
	WITH("fabrikam.test", "contoso.test", "\v"),
	"<stream:stream " NAMESPACES " from='fabrikam.test' to='contoso.test'>",
	"<stream:stream " NAMESPACES " from='fabrikam.test' to='contoso.test' version='0.9'>",
	"<stream:stream " NAMESPACES " from='fabrikam.test' version='1.0'>",
	"<stream:stream " NAMESPACES " to='contoso.test' version='1.0'>",
	"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='fabrikam.test' to='contoso.test' version='1.0'>",
	"<stream:stream xmlns='jabber:server' xmlns:stream='streams' from='fabrikam.test' to='contoso.test' version='1.0'>",
	"<stream:stream xmlns='jabber:server' from='fabrikam.test' to='contoso.test' version='1.0'>",
	"<a:stream xmlns='jabber:server' xmlns:a='http://etherx.jabber.org/streams' from='fabrikam.test' to='contoso.test' version='1.0'>",
	"<stream:streams " NAMESPACES " from='fabrikam.test' to='contoso.test' version='1.0'>",
	"<stream:stream>",
};

static void test_left_to_others(void **state) {
	(void)state;
	for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
		struct s2sp_stream_header header;
		if (reads(other[i], strlen(other[i]), &header))
			fail_msg("read: %s", other[i]);
	}
	struct s2sp_stream_header header;
	assert_false(s2sp_stream_header_read((struct s2sp_text){ NULL, 0 }, &header));
	assert_true(reads(WITH(LABEL ".test", "contoso.test", ""), strlen(WITH(LABEL ".test", "contoso.test", "")), &header));
}

/* One byte changed anywhere never makes another domain of an address but by standing in it. */
static void test_one_byte(void **state) {
	(void)state;
	char changed[] = PLAIN;
	for (size_t at = 0; at < sizeof changed - 1; at++) {
		for (int byte = 0; byte < 256; byte++) {
			struct s2sp_stream_header header;
			changed[at] = (char)byte;
			if (reads(changed, sizeof changed - 1, &header)) {
				size_t from = (size_t)(header.from.bytes - changed), to = (size_t)(header.to.bytes - changed);
				assert_true((at >= from && at < from + header.from.length) ||
							s2sp_text_equal(header.from, S2SP_TEXT("fabrikam.test")));
				assert_true((at >= to && at < to + header.to.length) || s2sp_text_equal(header.to, S2SP_TEXT("contoso.test")));
			}
		}
		changed[at] = PLAIN[at];
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_not_whole),
		cmocka_unit_test(test_left_to_others),
		cmocka_unit_test(test_one_byte),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
