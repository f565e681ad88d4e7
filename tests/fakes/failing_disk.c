/* Preloaded into a node: while the file $FAIL_FLAG exists, writing and syncing below $FAIL_DIR fails.
 * The file says how: an errno in digits, and "reads" if reading is to fail as well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failure(int fd, int is_read) {
    const char *flag = getenv("FAIL_FLAG"), *dir = getenv("FAIL_DIR");
    char link[64], path[4096], said[32] = "";
    if (!flag || !dir) return 0;
    int from = (int)syscall(SYS_openat, AT_FDCWD, flag, O_RDONLY | O_CLOEXEC);
    if (from < 0) return 0;
    ssize_t length = syscall(SYS_read, from, said, sizeof said - 1);
    syscall(SYS_close, from);
    if (length <= 0 || (is_read && !strstr(said, "reads"))) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, dir, strlen(dir)) ? 0 : atoi(said);
}

#define FAILS(type, name, is_read, parameters, arguments)        \
    type name parameters {                                       \
        static type(*real) parameters;                           \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        int code = failure(fd, is_read);                         \
        if (code) { errno = code; return -1; }                   \
        return real arguments;                                   \
    }

FAILS(ssize_t, write, 0, (int fd, const void *b, size_t n), (fd, b, n))
FAILS(ssize_t, pwrite, 0, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o))
FAILS(ssize_t, pwrite64, 0, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o))
FAILS(ssize_t, pread, 1, (int fd, void *b, size_t n, off_t o), (fd, b, n, o))
FAILS(ssize_t, pread64, 1, (int fd, void *b, size_t n, off64_t o), (fd, b, n, o))
FAILS(int, ftruncate, 0, (int fd, off_t n), (fd, n))
FAILS(int, ftruncate64, 0, (int fd, off64_t n), (fd, n))
FAILS(int, fsync, 0, (int fd), (fd))
FAILS(int, fdatasync, 0, (int fd), (fd))
