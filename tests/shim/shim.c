/* A shim between a process and the files of one folder, loaded with LD_PRELOAD.
 *
 * Recorder: every call that changes a file or a name below the root is appended to
 * a log, in the order in which it took effect, so that `tests.power` can rebuild
 * what a disk might hold at any moment. Stores through a shared mapping are no
 * calls: they are found by comparing the mapped file with its last known content,
 * before every recorded call on that file and at every mark.
 *
 * Injector: the n-th call of a class fails, once or for good, is short, or does half
 * its work and then fails. A capacity makes the folder a disk of that size.
 *
 * Both are worked from Python with ctypes (tests/shim/__init__.py). One mutex holds
 * calls in order; a sync alone runs outside it, with its begin and its end in the log,
 * since writes that come meanwhile are not covered by it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---------------------------------------------------------------- what the log says */

enum kind { FILE_ = 1, WRITE, TRUNCATE, EXTEND, ZERO, SYNC_BEGIN, SYNC_END, LINK, UNLINK, RENAME, MARK, INJECTED };

struct record { uint32_t kind, file; uint64_t a, b; uint32_t length, thread; };

enum class { C_WRITE = 1, C_SYNC = 2, C_RENAME = 4, C_TRUNCATE = 8, C_CREATE = 16, C_FALLOCATE = 32, C_UNLINK = 64, C_MAP = 128 };
#define CLASS_COUNT 8

enum mode { ONCE = 0, FOR_GOOD = 1, SHORT = 2, TORN = 3 };

/* ------------------------------------------------------------------ what it remembers */

struct file {
    dev_t dev; ino_t ino;
    uint32_t id; int is_dir;
    char *path;                 /* as it was first seen, for filters */
    unsigned char *view;        /* our own mapping of a file that is mapped for writing */
    size_t view_length;
    unsigned char *known;       /* its content as the log has it */
    struct file *next;
};

struct mapping { char *start; size_t length; off_t offset; struct file *file; struct mapping *next; };

#define BUCKETS 4096
static struct file *files[BUCKETS];
static struct mapping *mappings;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static int log_fd = -1;
static uint32_t next_id = 1;
static uint64_t next_sync = 1;
static long sync_delay_us = -1;

static long counts[CLASS_COUNT];
static struct { int mask; long n, seen, fired; int error, mode; char filter[128]; } armed;
static long long capacity = -1, used = 0;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static void lock(void) { pthread_mutex_lock(&mutex); }
static void unlock(void) { int kept = errno; pthread_mutex_unlock(&mutex); errno = kept; }

static void put(uint32_t kind, uint32_t file, uint64_t a, uint64_t b, const void *data, size_t length) {
    if (log_fd < 0) return;
    struct record head = {kind, file, a, b, (uint32_t)length, (uint32_t)syscall(SYS_gettid)};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, length}};
    ssize_t wanted = (ssize_t)(sizeof head + length);
    if (syscall(SYS_writev, log_fd, parts, 2) != wanted) {
        static const char told[] = "shim: the log cannot be written\n";
        syscall(SYS_write, 2, told, sizeof told - 1);
        _exit(97);
    }
}

static struct file **bucket(ino_t ino) { return &files[ino % BUCKETS]; }

static struct file *find(const struct stat *st) {
    for (struct file *f = *bucket(st->st_ino); f; f = f->next)
        if (f->ino == st->st_ino && f->dev == st->st_dev) return f;
    return NULL;
}

static void forget(struct file *f) {
    struct file **at = bucket(f->ino);
    while (*at && *at != f) at = &(*at)->next;
    if (*at) *at = f->next;     /* the entry itself stays: a mapping may name it */
}

static struct file *add(const struct stat *st, const char *path, int fresh) {
    struct file *old = find(st);
    if (old && !fresh) return old;
    if (old) forget(old);       /* an inode number used again */
    struct file *f = calloc(1, sizeof *f);
    f->dev = st->st_dev; f->ino = st->st_ino; f->id = next_id++;
    f->is_dir = S_ISDIR(st->st_mode); f->path = strdup(path);
    f->next = *bucket(f->ino); *bucket(f->ino) = f;
    put(FILE_, f->id, f->is_dir, fresh, path, strlen(path));
    return f;
}

static int is_below(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The canonical path of what a call names, or 0 if it is not ours. The last part need not exist. */
static int resolve(int dirfd, const char *path, char *out) {
    char joined[PATH_MAX * 2], head[PATH_MAX * 2];
    if (!root_length || !path || !*path) return 0;
    if (path[0] == '/') snprintf(joined, sizeof joined, "%s", path);
    else if (dirfd == AT_FDCWD) { if (!getcwd(head, PATH_MAX)) return 0; snprintf(joined, sizeof joined, "%.4095s/%.4095s", head, path); }
    else {
        char proc[64];
        snprintf(proc, sizeof proc, "/proc/self/fd/%d", dirfd);
        ssize_t length = readlink(proc, head, PATH_MAX - 1);
        if (length < 0) return 0;
        head[length] = 0;
        snprintf(joined, sizeof joined, "%.4095s/%.4095s", head, path);
    }
    size_t length = strlen(joined);
    while (length > 1 && joined[length - 1] == '/') joined[--length] = 0;
    char *slash = strrchr(joined, '/');
    if (!slash) return 0;
    char name[NAME_MAX + 1];
    snprintf(name, sizeof name, "%s", slash + 1);
    if (slash == joined) slash++;
    *slash = 0;
    char real[PATH_MAX];
    if (!realpath(joined, real)) return 0;
    if (snprintf(out, PATH_MAX, "%s/%s", real, name) >= PATH_MAX) return 0;
    return is_below(out);
}

static struct file *folder_of(const char *path) {
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = 0;
    struct stat st;
    return stat(parent, &st) ? NULL : add(&st, parent, 0);
}

static const char *name_of(const char *path) { return strrchr(path, '/') + 1; }

static struct file *of_fd(int fd) {
    struct stat st;
    if (!root_length || fstat(fd, &st) || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) return NULL;
    return find(&st);
}

static int is_synced_write(int fd) { int flags = fcntl(fd, F_GETFL); return flags >= 0 && (flags & O_DSYNC); }

/* ------------------------------------------------------------------- mapped stores */

static void diff(struct file *f) {
    if (!f->view || log_fd < 0) return;
    size_t at = 0;
    while (at < f->view_length) {
        size_t page = f->view_length - at < 4096 ? f->view_length - at : 4096;
        if (!memcmp(f->view + at, f->known + at, page)) { at += page; continue; }
        size_t first = at, end = at + page;
        while (first < end && !memcmp(f->view + first, f->known + first, end - first < 512 ? end - first : 512)) first += 512;
        if (first >= end) { at = end; continue; }
        size_t last = first;
        while (last < f->view_length) {        /* on to the first sector that is unchanged */
            size_t sector = f->view_length - last < 512 ? f->view_length - last : 512;
            if (!memcmp(f->view + last, f->known + last, sector)) break;
            memcpy(f->known + last, f->view + last, sector);
            last += sector;
        }
        if (last > first) put(WRITE, f->id, first, 1, f->known + first, last - first);
        at = last > first ? last : end;
        at -= at % 512;
    }
}

static void diff_all(void) {
    for (int i = 0; i < BUCKETS; i++)
        for (struct file *f = files[i]; f; f = f->next) diff(f);
}

/* The file changed by a call that the log has: take it over into what is known. */
static void learn(struct file *f, off_t offset, size_t length) {
    if (!f->view || (size_t)offset >= f->view_length) return;
    if (offset + length > f->view_length) length = f->view_length - offset;
    memcpy(f->known + offset, f->view + offset, length);
}

static void shrink_view(struct file *f, off_t size) {
    if (f->view && (size_t)size < f->view_length) f->view_length = size;
}

static void watch(struct file *f, int fd) {
    struct stat st;
    if (log_fd < 0 || fstat(fd, &st) || !st.st_size) return;
    if (f->view && f->view_length >= (size_t)st.st_size) return;
    diff(f);
    REAL(void *, mmap, void *, size_t, int, int, int, off_t);
    void *view = real(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (view == MAP_FAILED) return;
    f->view = view; f->view_length = st.st_size;      /* an older view is left: it is small */
    f->known = malloc(st.st_size);
    memcpy(f->known, f->view, st.st_size);
}

/* ------------------------------------------------------------------------ injecting */

/* Whether this call shall fail: its errno, or 0. `mode` tells how. Called with the mutex held. */
static int injected(int class, const struct file *f, const char *path, int *mode) {
    for (int i = 0; i < CLASS_COUNT; i++) if (class == 1 << i) counts[i]++;
    const char *name = path ? path : f ? f->path : "";
    if (!(armed.mask & class) || (armed.filter[0] && !strstr(name, armed.filter))) return 0;
    armed.seen++;
    if (armed.seen < armed.n || (armed.mode != FOR_GOOD && armed.seen > armed.n)) return 0;
    armed.fired++;
    *mode = armed.mode;
    put(INJECTED, f ? f->id : 0, class, armed.error, name, strlen(name));
    return armed.error;
}

/* What a write of `length` at `offset` would add to the disk, against the capacity. */
static int is_over_capacity(int fd, off_t offset, size_t length) {
    struct stat st;
    if (capacity < 0 || fstat(fd, &st) || offset + (off_t)length <= st.st_size) return 0;
    long long more = offset + (off_t)length - st.st_size;
    if (used + more > capacity) return 1;
    used += more;
    return 0;
}

static void gave_back(long long bytes) { if (capacity >= 0) used -= bytes; }

/* ------------------------------------------------------------ worked from the outside */

void shim_record(const char *folder, const char *log) {
    lock();
    if (!folder || !realpath(folder, root)) root[0] = 0;
    root_length = strlen(root);
    if (log_fd >= 0) close(log_fd);
    log_fd = -1;
    if (log && *log) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0) { perror("shim: log"); _exit(97); }
        log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 500);      /* out of the way of descriptors that a test counts */
        if (log_fd < 0) log_fd = fd; else close(fd);
    }
    struct stat st;
    if (root_length && !stat(root, &st)) add(&st, root, 0);
    unlock();
}

void shim_mark(const char *tag) { lock(); diff_all(); put(MARK, 0, 0, 0, tag, strlen(tag)); unlock(); }
void shim_sync_delay(long us) { sync_delay_us = us; }

void shim_arm(int mask, long n, int error, int mode, const char *filter) {
    lock();
    armed.mask = mask; armed.n = n; armed.seen = armed.fired = 0; armed.error = error; armed.mode = mode;
    snprintf(armed.filter, sizeof armed.filter, "%s", filter ? filter : "");
    unlock();
}

void shim_disarm(void) { lock(); armed.mask = 0; unlock(); }
long shim_fired(void) { return armed.fired; }

long shim_count(int class) {
    for (int i = 0; i < CLASS_COUNT; i++) if (class == 1 << i) return counts[i];
    return -1;
}

void shim_reset(void) { lock(); memset(counts, 0, sizeof counts); unlock(); }
void shim_capacity(long long bytes, long long used_bytes) { lock(); capacity = bytes; used = used_bytes; unlock(); }
long long shim_used(void) { return used; }

static void in_child(void) {        /* a fork records nothing: the log is the parent's */
    pthread_mutex_init(&mutex, NULL);
    log_fd = -1; root_length = 0; armed.mask = 0;
}

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("NSQLITE_SHIM_ROOT"), *log = getenv("NSQLITE_SHIM_LOG");
    pthread_atfork(NULL, NULL, in_child);
    if (folder) shim_record(folder, log);
}

/* -------------------------------------------------------------------------- opening */

static int opened(int (*call)(int, const char *, int, mode_t), int dirfd, const char *path, int flags, mode_t mode_bits) {
    char full[PATH_MAX];
    if (!root_length || !resolve(dirfd, path, full)) return call(dirfd, path, flags, mode_bits);
    lock();
    struct stat before, after;
    int is_new = (flags & O_CREAT) && lstat(full, &before) && errno == ENOENT, mode = 0, error;
    if (is_new && (error = injected(C_CREATE, NULL, full, &mode))) { unlock(); errno = error; return -1; }
    if (is_new && capacity >= 0 && used >= capacity) { unlock(); errno = ENOSPC; return -1; }
    int truncates = !is_new && (flags & O_TRUNC) && !lstat(full, &before) && before.st_size;
    struct file *f = NULL;
    if (truncates) { f = add(&before, full, 0); diff(f); }
    int fd = call(dirfd, path, flags, mode_bits);
    int kept = errno;
    if (fd >= 0 && !fstat(fd, &after) && (S_ISREG(after.st_mode) || S_ISDIR(after.st_mode))) {
        struct file *folder = folder_of(full);
        f = add(&after, full, is_new);
        if (is_new && folder) put(LINK, folder->id, f->id, 0, name_of(full), strlen(name_of(full)));
        if (truncates) { put(TRUNCATE, f->id, 0, 0, "", 0); shrink_view(f, 0); gave_back(before.st_size); }
    }
    errno = kept;
    unlock();
    return fd;
}

static int call_openat(int dirfd, const char *path, int flags, mode_t mode) {
    REAL(int, openat64, int, const char *, int, ...);
    return real(dirfd, path, flags, mode);
}

#define MODE_OF(flags) mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { MODE_OF(flags) return opened(call_openat, AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return opened(call_openat, AT_FDCWD, path, flags, mode); }
int openat(int dirfd, const char *path, int flags, ...) { MODE_OF(flags) return opened(call_openat, dirfd, path, flags, mode); }
int openat64(int dirfd, const char *path, int flags, ...) { MODE_OF(flags) return opened(call_openat, dirfd, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(call_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return opened(call_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* -------------------------------------------------------------------------- writing */

/* All writes come through here. An offset of -1 means the descriptor's own. */
static ssize_t written(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    struct file *f = of_fd(fd);
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    if (f) lock();
    off_t at = offset;
    if (f && (at < 0)) {
        struct stat st;
        at = (fcntl(fd, F_GETFL) & O_APPEND) && !fstat(fd, &st) ? st.st_size : lseek(fd, 0, SEEK_CUR);
    }
    struct iovec *taken = NULL, half;
    int mode = 0, error = 0;
    if (f) {
        diff(f);
        error = injected(C_WRITE, f, NULL, &mode);
        if (!error && is_over_capacity(fd, at, length)) error = ENOSPC;
        if (error && mode != SHORT && mode != TORN) { unlock(); errno = error; return -1; }
        if (error && count) {       /* short or torn: half of the first part */
            half.iov_base = parts[0].iov_base;
            half.iov_len = count > 1 ? parts[0].iov_len : parts[0].iov_len / 2;
            taken = &half; parts = taken; count = 1;
        }
    }
    ssize_t done = offset < 0
        ? syscall(SYS_writev, fd, parts, count)
        : syscall(SYS_pwritev2, fd, parts, count, (unsigned long)offset, (unsigned long)0, flags);
    if (!f) return done;
    int kept = errno;
    if (done > 0 && log_fd >= 0) {
        char *whole = malloc(done);
        size_t filled = 0;
        for (int i = 0; i < count && filled < (size_t)done; i++) {
            size_t part = parts[i].iov_len < done - filled ? parts[i].iov_len : done - filled;
            memcpy(whole + filled, parts[i].iov_base, part);
            filled += part;
        }
        put(WRITE, f->id, at, 0, whole, done);
        free(whole);
        learn(f, at, done);
        if (is_synced_write(fd) || (flags & (RWF_DSYNC | RWF_SYNC))) {
            uint64_t span[2] = {(uint64_t)at, (uint64_t)done}, n = next_sync++;
            put(SYNC_BEGIN, f->id, n, 1, span, sizeof span);
            put(SYNC_END, f->id, n, 0, "", 0);
        }
    }
    unlock();
    errno = kept;
    if (error && mode == TORN) { errno = error; return -1; }
    return done;
}

#define ONE struct iovec one = {(void *)data, length}
ssize_t write(int fd, const void *data, size_t length) { ONE; return written(fd, &one, 1, -1, 0); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { ONE; return written(fd, &one, 1, at, 0); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t at) { ONE; return written(fd, &one, 1, at, 0); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return written(fd, parts, count, -1, 0); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return written(fd, parts, count, at, 0); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) { return written(fd, parts, count, at, 0); }
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) { return written(fd, parts, count, at, flags); }
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t at, int flags) { return written(fd, parts, count, at, flags); }

/* Copies inside the kernel: done through a buffer, so that they are writes like all others. */
static ssize_t copied(int out, int in, off_t *from, size_t length, off_t *to) {
    char buffer[65536];
    size_t done = 0;
    while (done < length) {
        size_t part = length - done < sizeof buffer ? length - done : sizeof buffer;
        ssize_t got = from ? pread(in, buffer, part, *from) : read(in, buffer, part);
        if (got <= 0) return done ? (ssize_t)done : got;
        ssize_t put_ = to ? pwrite64(out, buffer, got, *to) : write(out, buffer, got);
        if (put_ <= 0) return done ? (ssize_t)done : put_;
        if (from) *from += put_;
        if (to) *to += put_;
        done += put_;
        if (put_ < got) break;
    }
    return done;
}

ssize_t sendfile64(int out, int in, off_t *from, size_t length) {
    REAL(ssize_t, sendfile64, int, int, off_t *, size_t);
    if (!of_fd(out)) return real(out, in, from, length);
    return copied(out, in, from, length < 1 << 20 ? length : 1 << 20, NULL);
}

ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t length, unsigned flags) {
    REAL(ssize_t, copy_file_range, int, off_t *, int, off_t *, size_t, unsigned);
    if (!of_fd(out)) return real(in, from, out, to, length, flags);
    return copied(out, in, from, length < 1 << 20 ? length : 1 << 20, to);
}

/* ----------------------------------------------------------------------------- sizes */

int ftruncate64(int fd, off_t size) {
    struct file *f = of_fd(fd);
    struct stat st;
    if (!f) return (int)syscall(SYS_ftruncate, fd, size);
    lock();
    int mode = 0, error = injected(C_TRUNCATE, f, NULL, &mode);
    if (error) { unlock(); errno = error; return -1; }
    diff(f);
    fstat(fd, &st);
    int done = (int)syscall(SYS_ftruncate, fd, size);
    if (!done) { put(TRUNCATE, f->id, size, 0, "", 0); shrink_view(f, size); if (size < st.st_size) gave_back(st.st_size - size); }
    unlock();
    return done;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int truncate64(const char *path, off_t size) {
    int fd = open64(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int done = ftruncate64(fd, size), kept = errno;
    close(fd);
    errno = kept;
    return done;
}
int truncate(const char *path, off_t size) { return truncate64(path, size); }

int fallocate64(int fd, int how, off_t offset, off_t length) {
    struct file *f = of_fd(fd);
    if (!f) return (int)syscall(SYS_fallocate, fd, how, offset, length);
    lock();
    int mode = 0, error = injected(C_FALLOCATE, f, NULL, &mode);
    if (!error && is_over_capacity(fd, offset, length)) error = ENOSPC;
    if (error) { unlock(); errno = error; return -1; }
    diff(f);
    int done = (int)syscall(SYS_fallocate, fd, how, offset, length);
    if (!done && (how & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))) { put(ZERO, f->id, offset, length, "", 0); learn(f, offset, length); }
    if (!done && !(how & FALLOC_FL_KEEP_SIZE)) put(EXTEND, f->id, offset + length, 0, "", 0);
    unlock();
    return done;
}
int fallocate(int fd, int how, off_t offset, off_t length) { return fallocate64(fd, how, offset, length); }
int posix_fallocate64(int fd, off_t offset, off_t length) {
    REAL(int, posix_fallocate64, int, off_t, off_t);
    if (!of_fd(fd)) return real(fd, offset, length);
    return fallocate64(fd, 0, offset, length) ? errno : 0;
}
int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }

/* --------------------------------------------------------------------------- syncing */

static int synced(struct file *f, long call, long x, long y, long z, const uint64_t *span) {
    lock();
    int mode = 0, error = injected(C_SYNC, f, NULL, &mode);
    diff(f);
    uint64_t n = next_sync++;
    put(SYNC_BEGIN, f->id, n, span != NULL, span, span ? 16 : 0);
    unlock();
    int done = 0;
    if (error) { done = -1; errno = error; }
    else if (sync_delay_us < 0) done = (int)syscall(call, x, y, z);
    else if (sync_delay_us > 0) usleep(sync_delay_us);
    int kept = errno;
    lock();
    put(SYNC_END, f->id, n, done ? kept : 0, "", 0);
    unlock();
    errno = kept;
    return done;
}

int fsync(int fd) {
    struct file *f = of_fd(fd);
    return f ? synced(f, SYS_fsync, fd, 0, 0, NULL) : (int)syscall(SYS_fsync, fd);
}
int fdatasync(int fd) {
    struct file *f = of_fd(fd);
    return f ? synced(f, SYS_fdatasync, fd, 0, 0, NULL) : (int)syscall(SYS_fdatasync, fd);
}

/* ------------------------------------------------------------------------- mappings */

void *mmap64(void *start, size_t length, int protection, int flags, int fd, off_t offset) {
    REAL(void *, mmap, void *, size_t, int, int, int, off_t);
    struct file *f = fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE) ? of_fd(fd) : NULL;
    if (!f) return real(start, length, protection, flags, fd, offset);
    lock();
    int mode = 0, error = injected(C_MAP, f, NULL, &mode);
    if (error) { unlock(); errno = error; return MAP_FAILED; }
    watch(f, fd);
    void *at = real(start, length, protection, flags, fd, offset);
    if (at != MAP_FAILED) {
        struct mapping *m = calloc(1, sizeof *m);
        m->start = at; m->length = length; m->offset = offset; m->file = f; m->next = mappings;
        mappings = m;
    }
    unlock();
    return at;
}
void *mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset) {
    return mmap64(start, length, protection, flags, fd, offset);
}

static struct mapping *mapping_of(char *start) {
    for (struct mapping *m = mappings; m; m = m->next)
        if (start >= m->start && start < m->start + m->length) return m;
    return NULL;
}

int munmap(void *start, size_t length) {
    if (mappings) {
        lock();
        struct mapping *m = mapping_of(start);
        if (m && m->start == start) {
            diff(m->file);
            struct mapping **at = &mappings;
            while (*at != m) at = &(*at)->next;
            *at = m->next;
            free(m);
        }
        unlock();
    }
    return (int)syscall(SYS_munmap, start, length);
}

int msync(void *start, size_t length, int flags) {
    struct mapping *m = NULL;
    uint64_t span[2] = {0, length};
    struct file *f = NULL;
    if (mappings && (flags & MS_SYNC)) {
        lock();
        m = mapping_of(start);
        if (m) { f = m->file; span[0] = m->offset + ((char *)start - m->start); }
        unlock();
    }
    return f ? synced(f, SYS_msync, (long)start, (long)length, flags, span) : (int)syscall(SYS_msync, start, length, flags);
}

/* ----------------------------------------------------------------------------- names */

int mkdirat(int dirfd, const char *path, mode_t bits) {
    char full[PATH_MAX];
    struct stat st;
    if (!resolve(dirfd, path, full)) return (int)syscall(SYS_mkdirat, dirfd, path, bits);
    lock();
    int mode = 0, error = injected(C_CREATE, NULL, full, &mode);
    if (error) { unlock(); errno = error; return -1; }
    int done = (int)syscall(SYS_mkdirat, dirfd, path, bits);
    if (!done && !stat(full, &st)) {
        struct file *folder = folder_of(full), *f = add(&st, full, 1);
        if (folder) put(LINK, folder->id, f->id, 0, name_of(full), strlen(name_of(full)));
    }
    unlock();
    return done;
}
int mkdir(const char *path, mode_t bits) { return mkdirat(AT_FDCWD, path, bits); }

int unlinkat(int dirfd, const char *path, int flags) {
    char full[PATH_MAX];
    struct stat st;
    if (!resolve(dirfd, path, full)) return (int)syscall(SYS_unlinkat, dirfd, path, flags);
    lock();
    int mode = 0, error = injected(C_UNLINK, NULL, full, &mode);
    if (error) { unlock(); errno = error; return -1; }
    int known = !lstat(full, &st);
    struct file *folder = folder_of(full), *f = known ? find(&st) : NULL;
    if (f) diff(f);
    int done = (int)syscall(SYS_unlinkat, dirfd, path, flags);
    if (!done && folder) put(UNLINK, folder->id, 0, 0, name_of(full), strlen(name_of(full)));
    if (!done && known && S_ISREG(st.st_mode) && st.st_nlink == 1) gave_back(st.st_size);
    unlock();
    return done;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    char old[PATH_MAX], new[PATH_MAX], both[NAME_MAX * 2 + 3];
    struct stat st, lost;
    int ours = resolve(from_fd, from, old), theirs = resolve(to_fd, to, new);
    if (!ours && !theirs) return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    lock();
    int mode = 0, error = injected(C_RENAME, NULL, old, &mode);
    if (error) { unlock(); errno = error; return -1; }
    int replaces = !lstat(new, &lost) && S_ISREG(lost.st_mode) && lost.st_nlink == 1;
    int done = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    if (!done && ours && theirs && !lstat(new, &st)) {
        struct file *source = folder_of(old), *target = folder_of(new), *f = add(&st, new, 0);
        size_t length = strlen(name_of(old));
        strcpy(both, name_of(old));
        strcpy(both + length + 1, name_of(new));
        put(RENAME, source->id, target->id, f->id, both, length + 1 + strlen(name_of(new)));
        if (replaces) gave_back(lost.st_size);
    }
    unlock();
    return done;
}
int renameat(int from_fd, const char *from, int to_fd, const char *to) { return renameat2(from_fd, from, to_fd, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    char full[PATH_MAX];
    struct stat st;
    if (!resolve(to_fd, to, full)) return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
    lock();
    int mode = 0, error = injected(C_CREATE, NULL, full, &mode);
    if (error) { unlock(); errno = error; return -1; }
    int done = (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
    if (!done && !stat(full, &st)) {
        struct file *folder = folder_of(full), *f = add(&st, full, 0);
        if (folder) put(LINK, folder->id, f->id, 0, name_of(full), strlen(name_of(full)));
    }
    unlock();
    return done;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
