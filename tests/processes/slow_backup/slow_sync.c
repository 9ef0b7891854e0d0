/* A disk that is slow: loaded before the C library (LD_PRELOAD), it makes each sync of a file below DIR take as many
   milliseconds as the file DIR.stalled says, or until that is gone. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* How long a sync below `dir` takes; -1 if nothing is said of it. */
static long said_of(const char *dir) {
    char name[4200];
    long ms = -1;
    snprintf(name, sizeof name, "%s.stalled", dir);
    FILE *file = fopen(name, "re");
    if (file == NULL) return -1;
    if (fscanf(file, "%ld", &ms) != 1) ms = -1;
    fclose(file);
    return ms;
}

static void wait_for_disk(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    for (;;) {
        long ms = said_of(path), since = now_ms();
        while (ms >= 0 && now_ms() - since < ms) {
            struct timespec nap = {0, 2000000};
            nanosleep(&nap, NULL);
            if (said_of(path) < 0) return;
        }
        char *last = strrchr(path, '/');
        if (last == NULL || last == path) return;
        *last = 0;
    }
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk(fd);
    return real(fd);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_for_disk(fd);
    return real(fd);
}
