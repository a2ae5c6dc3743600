/*
 * Loaded into the command by LD_PRELOAD: the n-th call of a kind (FAULT_CALL: fsync, rename, write; FAULT_AT) on what lies in
 * FAULT_FOLDER fails with FAULT_CODE (EIO, ENOSPC), or is a short write (short). Without FAULT_AT it counts the calls, and says
 * how many there were of each. Heartbeats are written with an offset, by another call: they come when their time has come.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int fsyncs, renames, writes;

static const char *setting(const char *name) {
  const char *value = getenv(name);
  return value == NULL ? "" : value;
}

static int is_inside(const char *path) {
  const char *folder = setting("FAULT_FOLDER");
  return *folder != 0 && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_inside_file(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_inside(path);
}

/* Whether this call is the one that fails. */
static int is_due(const char *call, atomic_int *count) {
  int number = atomic_fetch_add(count, 1) + 1;
  return strcmp(setting("FAULT_CALL"), call) == 0 && atoi(setting("FAULT_AT")) == number;
}

static int is_short(void) { return strcmp(setting("FAULT_CODE"), "short") == 0; }

static int fail(void) {
  errno = strcmp(setting("FAULT_CODE"), "ENOSPC") == 0 ? ENOSPC : EIO;
  return -1;
}

#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int fsync(int fd) {
  NEXT(fsync);
  return is_inside_file(fd) && is_due("fsync", &fsyncs) ? fail() : next(fd);
}

int rename(const char *from, const char *to) {
  NEXT(rename);
  char path[4096];
  /* Paths are from the working folder, which FAULT_FOLDER lies in. */
  const char *found = *to == '/' ? to : realpath(from, path);
  return found != NULL && is_inside(found) && is_due("rename", &renames) ? fail() : next(from, to);
}

ssize_t write(int fd, const void *bytes, size_t length) {
  NEXT(write);
  if (!is_inside_file(fd) || !is_due("write", &writes)) return next(fd, bytes, length);
  return is_short() && length > 1 ? next(fd, bytes, length / 2) : fail();
}

__attribute__((destructor)) static void tell(void) {
  if (*setting("FAULT_FOLDER") == 0 || *setting("FAULT_AT") != 0) return;
  fprintf(stderr, "calls {\"fsync\":%d,\"rename\":%d,\"write\":%d}\n", fsyncs, renames, writes);
}
