/* Which functions does a program reach? A breakpoint stands on each; the first hit of each is noted and takes it away, so
 * that the program soon runs at its own speed.
 *
 *   cc -O1 -o reached link/reached.c
 *   reached ADDRESSES OUT -- PROGRAM ARGUMENT...
 *
 * ADDRESSES holds the functions' addresses in hexadecimal, one a line, as nm prints them for a position-independent
 * program. OUT gets those that were reached, in the same form; it is written every two seconds. Linux on x86-64. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

struct point { unsigned long address; unsigned char byte; char reached; };

static struct point *points;
static size_t count;
static volatile sig_atomic_t due;

static void on_alarm(int signal) { (void)signal; due = 1; }

static int by_address(const void *one, const void *other) {
    unsigned long a = ((const struct point *)one)->address, b = ((const struct point *)other)->address;
    return (a > b) - (a < b);
}

static void fail(const char *what) { perror(what); exit(1); }

static void read_addresses(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) fail(path);
    size_t room = 0;
    unsigned long address;
    while (fscanf(file, "%lx", &address) == 1) {
        if (count == room) points = realloc(points, (room = room * 2 + 1024) * sizeof *points);
        points[count++] = (struct point){.address = address};
    }
    fclose(file);
    qsort(points, count, sizeof *points, by_address);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!kept || points[kept - 1].address != points[i].address) points[kept++] = points[i];
    count = kept;
}

static void write_reached(const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) fail(path);
    for (size_t i = 0; i < count; i++)
        if (points[i].reached) fprintf(file, "%lx\n", points[i].address);
    fclose(file);
}

/* Where the program was loaded. */
static unsigned long base_of(pid_t process, const char *program) {
    char path[64], line[512], *name = realpath(program, NULL);
    snprintf(path, sizeof path, "/proc/%d/maps", process);
    FILE *maps = fopen(path, "r");
    if (!maps || !name) fail(program);
    unsigned long base = 0;
    while (!base && fgets(line, sizeof line, maps))
        if (strstr(line, name)) base = strtoul(line, NULL, 16);
    fclose(maps);
    return base;
}

static unsigned char swap(pid_t task, unsigned long at, unsigned char byte) {
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, task, at, 0);
    if (errno) fail("peek");
    ptrace(PTRACE_POKETEXT, task, at, (word & ~0xffL) | byte);
    return word & 0xff;
}

/* Takes the breakpoint away that a task stands behind. A child has its own copy of it. */
static int passes(pid_t task, unsigned long base) {
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, task, 0, &registers);
    struct point key = {.address = registers.rip - 1 - base};
    struct point *point = bsearch(&key, points, count, sizeof *points, by_address);
    if (!point) return 0;
    point->reached = 1;
    swap(task, base + point->address, point->byte);
    registers.rip -= 1;
    ptrace(PTRACE_SETREGS, task, 0, &registers);
    return 1;
}

int main(int arguments, char **argument) {
    if (arguments < 5) return fprintf(stderr, "usage: reached ADDRESSES OUT -- PROGRAM ARGUMENT...\n"), 2;
    read_addresses(argument[1]);
    pid_t program = fork();
    if (!program) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv(argument[4], argument + 4);
        _exit(127);
    }
    int status;
    waitpid(program, &status, 0);
    ptrace(PTRACE_SETOPTIONS, program, 0,
           PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    unsigned long base = base_of(program, argument[4]);
    for (size_t i = 0; i < count; i++) points[i].byte = swap(program, base + points[i].address, 0xcc);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
    alarm(2);
    ptrace(PTRACE_CONT, program, 0, 0);
    for (;;) {
        pid_t task = waitpid(-1, &status, __WALL);
        if (due) {
            due = 0;
            write_reached(argument[2]);
            alarm(2);
        }
        if (task < 0 && errno == EINTR) continue;
        if (task < 0 || (task == program && (WIFEXITED(status) || WIFSIGNALED(status)))) break;
        if (!WIFSTOPPED(status)) continue;
        int signal = WSTOPSIG(status), event = status >> 16;
        if (event == PTRACE_EVENT_EXEC && task != program) {
            ptrace(PTRACE_DETACH, task, 0, 0);
            continue;
        }
        if (signal == SIGTRAP && !event && passes(task, base)) signal = 0;
        ptrace(PTRACE_CONT, task, 0, signal == SIGTRAP || signal == SIGSTOP ? 0 : signal);
    }
    write_reached(argument[2]);
    return 0;
}
