/* Stands between SQLite and libc (LD_PRELOAD), for the tests of what a crash leaves behind.
 *
 * Of the files right under SHIM_FOLDER it writes every change to SHIM_LOG, in the order in which they happened, and
 * what the process writes to its standard output as marks between them. One lock is held around each call and its
 * line, so the order of the lines is that of the calls. With SHIM_KILL="point:n" the process kills itself when it is
 * at that point for the nth time. Memory-mapped files are not seen; SQLite maps only the -shm file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 1024
#define NAME 100

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *folder;
static int log_file = -1;
static char kill_point[32];
static long kill_after;
/* By descriptor: the name in the folder, "." for the folder itself, "" for what lies elsewhere; and a number. */
static char names[FILES][NAME];
static long numbers[FILES];
static long next_number = 1;

static ssize_t (*real_write)(int, const void *, size_t);

#define REAL(symbol) ((__typeof__(&symbol))dlsym(RTLD_NEXT, #symbol))
typedef int (*open_call)(const char *, int, ...);

static void begin(void) {
    real_write = REAL(write);
    folder = getenv("SHIM_FOLDER");
    const char *path = getenv("SHIM_LOG");
    if (path != NULL) {
        log_file = ((open_call)dlsym(RTLD_NEXT, "open"))(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_file < 0 || real_write(log_file, "P . 0 0\n", 8) != 8)
            abort();
    }
    const char *point = getenv("SHIM_KILL");
    if (point != NULL && sscanf(point, "%31[^:]:%ld", kill_point, &kill_after) != 2)
        abort();
}

static void enter(void) {
    pthread_once(&once, begin);
    pthread_mutex_lock(&lock);
}

static void leave(void) { pthread_mutex_unlock(&lock); }

static void put(const void *bytes, size_t length) {
    for (const char *at = bytes; length > 0;) {
        ssize_t done = real_write(log_file, at, length);
        if (done <= 0)
            abort();
        at += done;
        length -= (size_t)done;
    }
}

/* A line: what, a name, a file's number or an offset or a size; then a length, and so many bytes if there are any. */
static void tell(char what, const char *name, long number, long length, const void *bytes) {
    char line[NAME + 64];
    if (log_file < 0)
        return;
    put(line, (size_t)snprintf(line, sizeof line, "%c %s %ld %ld\n", what, name, number, length));
    if (bytes != NULL)
        put(bytes, (size_t)length);
}

/* The same of an open file, which is told by its number, because its name may be another's by now. */
static void tell_of(char what, int file, long number, long length, const void *bytes) {
    char text[32];
    snprintf(text, sizeof text, "%ld", numbers[file]);
    tell(what, text, number, length, bytes);
}

static const char *inside(const char *path) {
    size_t length = folder == NULL ? 0 : strlen(folder);
    if (length == 0 || path == NULL || strncmp(path, folder, length) != 0)
        return "";
    if (path[length] == 0 || strcmp(path + length, "/") == 0)
        return ".";
    if (path[length] != '/' || strchr(path + length + 1, '/') != NULL || strlen(path + length + 1) >= NAME)
        return "";
    return path + length + 1;
}

static const char *name_of(int file) { return file >= 0 && file < FILES ? names[file] : ""; }

static int is_file(int file) { return *name_of(file) != 0 && strcmp(name_of(file), ".") != 0; }

static int ends_with(const char *name, const char *end) {
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

static int reached(const char *point) {
    return kill_after > 0 && strcmp(point, kill_point) == 0 && --kill_after == 0;
}

/* Points of a file begin with which it is. */
static int reached_with(int file, const char *what) {
    char point[32];
    const char *name = name_of(file);
    const char *kind = ends_with(name, "-wal") ? "wal" : ends_with(name, ".db") ? "db" : NULL;
    if (kind == NULL)
        return 0;
    snprintf(point, sizeof point, "%s-%s", kind, what);
    return reached(point);
}

static void end_here(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static int open_with(const char *symbol, const char *path, int flags, mode_t mode) {
    enter();
    const char *name = inside(path);
    int is_new = *name != 0 && access(path, F_OK) != 0;
    int file = ((open_call)dlsym(RTLD_NEXT, symbol))(path, flags, mode);
    if (file >= 0 && file < FILES) {
        strcpy(names[file], name);
        numbers[file] = next_number++;
        if (is_file(file))
            tell(is_new ? 'C' : 'O', name, numbers[file], 0, NULL);
        if (is_file(file) && !is_new && (flags & O_TRUNC) != 0)
            tell_of('T', file, 0, 0, NULL);
    }
    leave();
    return file;
}

#define OPEN(symbol)                                                                                                   \
    int symbol(const char *path, int flags, ...) {                                                                     \
        mode_t mode = 0;                                                                                               \
        if ((flags & O_CREAT) != 0) {                                                                                  \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode = va_arg(rest, mode_t);                                                                               \
            va_end(rest);                                                                                              \
        }                                                                                                              \
        return open_with(#symbol, path, flags, mode);                                                                  \
    }
OPEN(open)
OPEN(open64)

int close(int file) {
    enter();
    if (file >= 0 && file < FILES)
        names[file][0] = 0;
    int done = REAL(close)(file);
    leave();
    return done;
}

/* Dies before a write, or at the point "half" in the middle of it. Says how much is written. */
static size_t before_write(int file, size_t length, int *dies) {
    if (reached_with(file, "write"))
        end_here();
    *dies = reached_with(file, "half");
    return *dies ? length / 2 : length;
}

ssize_t write(int file, const void *bytes, size_t length) {
    enter();
    int dies;
    off_t at = is_file(file) ? lseek(file, 0, SEEK_CUR) : 0;
    ssize_t done = real_write(file, bytes, before_write(file, length, &dies));
    if (done > 0 && is_file(file))
        tell_of('W', file, (long)at, (long)done, bytes);
    if (dies)
        end_here();
    if (done > 0 && file == STDOUT_FILENO)
        tell('M', "out", 0, (long)done, bytes);
    leave();
    return done;
}

#define PWRITE(symbol)                                                                                                 \
    ssize_t symbol(int file, const void *bytes, size_t length, off_t at) {                                             \
        enter();                                                                                                       \
        int dies;                                                                                                      \
        ssize_t done = REAL(symbol)(file, bytes, before_write(file, length, &dies), at);                               \
        if (done > 0 && is_file(file))                                                                                 \
            tell_of('W', file, (long)at, (long)done, bytes);                                                           \
        if (dies)                                                                                                      \
            end_here();                                                                                                \
        leave();                                                                                                       \
        return done;                                                                                                   \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define TRUNCATE(symbol)                                                                                               \
    int symbol(int file, off_t size) {                                                                                 \
        enter();                                                                                                       \
        int done = REAL(symbol)(file, size);                                                                           \
        if (done == 0 && is_file(file))                                                                                \
            tell_of('T', file, (long)size, 0, NULL);                                                                   \
        leave();                                                                                                       \
        return done;                                                                                                   \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define SYNC(symbol)                                                                                                   \
    int symbol(int file) {                                                                                             \
        enter();                                                                                                       \
        if (reached_with(file, "sync"))                                                                                \
            end_here();                                                                                                \
        int done = REAL(symbol)(file);                                                                                 \
        if (done == 0 && is_file(file))                                                                                \
            tell_of('S', file, 0, 0, NULL);                                                                            \
        else if (done == 0 && *name_of(file) != 0)                                                                     \
            tell('D', ".", 0, 0, NULL);                                                                                \
        if (reached_with(file, "synced"))                                                                              \
            end_here();                                                                                                \
        leave();                                                                                                       \
        return done;                                                                                                   \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) {
    enter();
    int done = REAL(unlink)(path);
    if (done == 0 && *inside(path) != 0)
        tell('U', inside(path), 0, 0, NULL);
    leave();
    return done;
}

int rename(const char *from, const char *to) {
    enter();
    int done = REAL(rename)(from, to);
    if (done == 0 && (*inside(from) != 0 || *inside(to) != 0))
        tell('R', *inside(from) != 0 ? inside(from) : inside(to), 0, 0, NULL);
    leave();
    return done;
}

/* The lock that a writer holds from BEGIN IMMEDIATE to the end of COMMIT: sqlite.org/walformat.html. */
#define WRITE_LOCK 120

static int fcntl_with(const char *symbol, int file, int command, void *argument) {
    const struct flock *range = argument;
    enter();
    int is_lock = command == F_SETLK && ends_with(name_of(file), "-shm") && range->l_start == WRITE_LOCK;
    if (is_lock && reached(range->l_type == F_UNLCK ? "end" : "begin"))
        end_here();
    leave();
    return ((int (*)(int, int, ...))dlsym(RTLD_NEXT, symbol))(file, command, argument);
}

#define FCNTL(symbol)                                                                                                  \
    int symbol(int file, int command, ...) {                                                                           \
        va_list rest;                                                                                                  \
        va_start(rest, command);                                                                                       \
        void *argument = va_arg(rest, void *);                                                                         \
        va_end(rest);                                                                                                  \
        return fcntl_with(#symbol, file, command, argument);                                                           \
    }
FCNTL(fcntl)
FCNTL(fcntl64)
