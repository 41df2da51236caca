/* Files that are read once: anchors and revocation lists. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certificate_openssl.h"

enum s2sp_status s2sp_read_file(const char *path, size_t most, const char *remedy, char **bytes, size_t *length, char *reason,
								size_t size) {
	*bytes = NULL;
	*length = 0;
	/* Not to wait for a writer at a pipe. */
	int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "rb");
	struct stat status;
	if (file == NULL || fstat(fileno(file), &status) != 0) {
		snprintf(reason, size, "cannot be read (%s); the path starts at the configuration file's directory", strerror(errno));
		if (file != NULL)
			fclose(file);
		else if (descriptor >= 0)
			close(descriptor);
		return S2SP_STATUS_INVALID;
	}
	enum s2sp_status result = S2SP_STATUS_INVALID;
	if (!S_ISREG(status.st_mode)) {
		snprintf(reason, size, "is not a file; %s", remedy);
	} else if (status.st_size < 0 || (uintmax_t)status.st_size > most) {
		snprintf(reason, size, "is larger than %zu MiB; %s", most >> 20, remedy);
	} else if ((*bytes = malloc((size_t)status.st_size + 1)) == NULL) {
		result = S2SP_STATUS_NO_MEMORY;
	} else {
		*length = fread(*bytes, 1, (size_t)status.st_size, file);
		if (!ferror(file))
			result = S2SP_STATUS_OK;
		else
			snprintf(reason, size, "cannot be read (input/output error)");
	}
	if (result != S2SP_STATUS_OK) {
		free(*bytes);
		*bytes = NULL;
	}
	fclose(file);
	return result;
}
