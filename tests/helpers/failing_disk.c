/* Preloaded by crash_runs.py: log every change of files below a folder and every network message, and kill, stop or fail the
   process at the n-th one. Native libraries, such as those of safetensors and FFmpeg, are seen as well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WATCH, KILL_BEFORE, KILL_INSIDE, KILL_AFTER, FAIL, FAIL_FROM, STOP, FAIL_FOLDERS };

static char root[PATH_MAX];
static int log_file = -1, mode, code;
static long wanted;
static atomic_long count;

void disk_arm(const char *folder, const char *log, int new_mode, long at, int error) {
  snprintf(root, sizeof root, "%s/", folder);
  log_file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  mode = new_mode, wanted = at, code = error;
}

/* Write the absolute path of an argument to `path`, and return whether it is below the folder. */
static int watches(int folder, const char *name, char *path) {
  char link[64];
  ssize_t length = 0;
  if (log_file < 0) return 0;
  if (!name || name[0] != '/') {
    if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
  }
  if (name) snprintf(path + length, PATH_MAX - length, "%s%s", length ? "/" : "", name);
  return strncmp(path, root, strlen(root)) == 0;
}

/* Log a change. Return 0 to make it, -1 to fail, 1 to make half of it and then end, 2 to make it and then end. */
static int step(const char *kind, const char *path, const char *target) {
  char line[2 * PATH_MAX + 64];
  long number = ++count;
  int length = snprintf(line, sizeof line, "%ld\t%s\t%s\t%s\n", number, kind, path, target);
  syscall(SYS_write, log_file, line, length);
  if (mode == FAIL_FROM && number >= wanted && strcmp(kind, "unlink") && strcmp(kind, "send")) {
    if (number == wanted && !strcmp(kind, "write")) return 1; /* the disk gets full in the middle */
    errno = code;
    return -1;
  }
  if (number != wanted) return 0;
  if (mode == KILL_BEFORE) kill(getpid(), SIGKILL);
  if (mode == STOP) kill(getpid(), SIGSTOP);
  if (mode == FAIL) errno = code;
  return mode == FAIL ? -1 : mode == KILL_INSIDE ? 1 : mode == KILL_AFTER ? 2 : 0;
}

static void end(int decision) {
  if (decision > 0 && mode != FAIL_FROM) kill(getpid(), SIGKILL);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CHANGE(folder, name, kind, target, failed, call) \
  char path[PATH_MAX]; \
  if (!watches(folder, name, path)) return call; \
  int decision = step(kind, path, target); \
  if (decision < 0) return failed; \
  __auto_type result = call; \
  end(decision); \
  return result;
#define WRITE(descriptor, whole, half) \
  char path[PATH_MAX]; \
  if (!watches(descriptor, NULL, path)) return whole; \
  int decision = step("write", path, ""); \
  if (decision < 0) return -1; \
  ssize_t result = decision == 1 ? half : whole; \
  end(decision); \
  return result;
static FILE *open_stream(FILE *(*next)(const char *, const char *), const char *name, const char *how) {
  if (!strpbrk(how, "wa+")) return next(name, how);
  CHANGE(AT_FDCWD, name, "open", "", NULL, next(name, how))
}
FILE *fopen(const char *name, const char *how) { return open_stream(NEXT(fopen), name, how); }
FILE *fopen64(const char *name, const char *how) { return open_stream(NEXT(fopen64), name, how); }

static int open_file(int folder, const char *name, int flags, mode_t permissions) {
  if (!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))) return NEXT(openat)(folder, name, flags, permissions);
  CHANGE(folder, name, "open", "", -1, NEXT(openat)(folder, name, flags, permissions))
}
#define OPEN(signature, folder, extra) \
  int signature { \
    mode_t permissions = 0; \
    va_list rest; \
    va_start(rest, flags); \
    if (flags & (O_CREAT | __O_TMPFILE)) permissions = va_arg(rest, mode_t); \
    va_end(rest); \
    return open_file(folder, name, flags | extra, permissions); \
  }
OPEN(open(const char *name, int flags, ...), AT_FDCWD, 0)
OPEN(open64(const char *name, int flags, ...), AT_FDCWD, O_LARGEFILE)
OPEN(openat(int folder, const char *name, int flags, ...), folder, 0)
OPEN(openat64(int folder, const char *name, int flags, ...), folder, O_LARGEFILE)

ssize_t write(int file, const void *data, size_t size) {
  WRITE(file, NEXT(write)(file, data, size), NEXT(write)(file, data, (size + 1) / 2))
}
ssize_t pwrite(int file, const void *data, size_t size, off_t offset) {
  WRITE(file, NEXT(pwrite)(file, data, size, offset), NEXT(pwrite)(file, data, (size + 1) / 2, offset))
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) {
  WRITE(file, NEXT(pwrite64)(file, data, size, offset), NEXT(pwrite64)(file, data, (size + 1) / 2, offset))
}
ssize_t writev(int file, const struct iovec *parts, int number) {
  WRITE(file, NEXT(writev)(file, parts, number), NEXT(write)(file, parts->iov_base, (parts->iov_len + 1) / 2))
}
ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
  WRITE(out, NEXT(sendfile)(out, in, offset, size), NEXT(sendfile)(out, in, offset, size > 64 ? 64 : size))
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
  WRITE(out, NEXT(sendfile64)(out, in, offset, size), NEXT(sendfile64)(out, in, offset, size > 64 ? 64 : size))
}
int ftruncate(int file, off_t size) { CHANGE(file, NULL, "truncate", "", -1, NEXT(ftruncate)(file, size)) }
int ftruncate64(int file, off64_t size) { CHANGE(file, NULL, "truncate", "", -1, NEXT(ftruncate64)(file, size)) }
int fsync(int file) {
  struct stat status;
  if (mode == FAIL_FOLDERS && !fstat(file, &status) && S_ISDIR(status.st_mode)) { /* as on SMB */
    errno = code;
    return -1;
  }
  CHANGE(file, NULL, "fsync", "", -1, NEXT(fsync)(file))
}

static int move(int from, const char *name, int to, const char *other) {
  char target[PATH_MAX] = "";
  watches(to, other, target);
  CHANGE(from, name, "rename", target, -1, NEXT(renameat)(from, name, to, other))
}
int rename(const char *name, const char *other) { return move(AT_FDCWD, name, AT_FDCWD, other); }
int renameat(int from, const char *name, int to, const char *other) { return move(from, name, to, other); }

static int delete(int folder, const char *name, int flags) {
  CHANGE(folder, name, "unlink", "", -1, NEXT(unlinkat)(folder, name, flags))
}
int unlink(const char *name) { return delete(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return delete(AT_FDCWD, name, AT_REMOVEDIR); }
int unlinkat(int folder, const char *name, int flags) { return delete(folder, name, flags); }
int mkdirat(int folder, const char *name, mode_t permissions) {
  CHANGE(folder, name, "mkdir", "", -1, NEXT(mkdirat)(folder, name, permissions))
}
int mkdir(const char *name, mode_t permissions) { return mkdirat(AT_FDCWD, name, permissions); }

ssize_t send(int socket, const void *data, size_t size, int flags) {
  if (log_file < 0) return NEXT(send)(socket, data, size, flags);
  int decision = step("send", "network", "");
  if (decision < 0) return -1;
  ssize_t result = NEXT(send)(socket, data, decision == 1 ? (size + 1) / 2 : size, flags);
  end(decision);
  return result;
}
