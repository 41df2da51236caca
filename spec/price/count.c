/*
 * A plugin of QEMU's user emulation: counts the instructions that a program runs, in a file of eight bytes that anybody may read while
 * it runs. The count is exact for a program of one thread; two threads at once may lose some of each other's.
 *
 *     qemu-x86_64 -plugin count.so,into=FILE PROGRAM ...
 *
 * QEMU 7.2 has no header for plugins in its package; this is what of its interface (version 1) is needed, and what later ones still have.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_info;
typedef uint64_t plugin_id;
enum { INLINE_ADD_U64 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int operation, void *counter, uint64_t by);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv);

static uint64_t *counter;

static void translated(plugin_id id, struct qemu_plugin_tb *tb) {
	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, counter, qemu_plugin_tb_n_insns(tb));
}

int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv) {
	(void)info;
	const char *path = argc == 1 && strncmp(argv[0], "into=", 5) == 0 ? argv[0] + 5 : NULL;
	int file = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0 || ftruncate(file, sizeof(*counter)) != 0) {
		fprintf(stderr, "count: into=FILE must name a file that can be written\n");
		return -1;
	}
	void *page = mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (page == MAP_FAILED)
		return -1;
	counter = page;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
