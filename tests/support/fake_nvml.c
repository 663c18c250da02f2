/* A libnvidia-ml.so.1 without a GPU: it answers what the file $FAKE_NVML says, and measures nothing.
 *
 * Each line has tab-separated words: function, device (or *), argument (or *), then answers. The first line that
 * matches counts; a function without a line is not supported. One call takes one answer, and the last one repeats. The
 * answers after "@2.5" hold from 2.5 s after the first call on. An answer is a text, a number, "5+300/s" (5, and 300
 * more each second), "!15" (error 15), or a list of process ids, in which "ours" stands for those that the file
 * $FAKE_NVML.pids has for the device, a line "device id" each, and that are alive. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, MOST_LINES = 256, MOST_SEGMENTS = 16, SIZE = 1024 };
enum { ANY = -1 };

typedef unsigned long long number;
typedef struct { unsigned pid; number memory; unsigned gpu_instance, compute_instance; } process;
typedef struct { uint32_t field, scope; int64_t timestamp, latency; int type, code; number value; } field;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { number reference, violation; } violation;

static int calls[MOST_LINES][MOST_SEGMENTS];
static double begin;
static char present[SIZE]; /* the file that the answers are from; another one starts again */

static double clock_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double now(void) { return clock_seconds() - begin; }

static FILE *open_answers(void) {
    const char *path = getenv("FAKE_NVML") ? getenv("FAKE_NVML") : "";
    if (strcmp(path, present)) {
        snprintf(present, SIZE, "%s", path);
        memset(calls, 0, sizeof calls);
        begin = clock_seconds();
    }
    return fopen(path, "r");
}

static int matches(const char *word, long wanted) {
    return word && (!strcmp(word, "*") || (wanted != ANY && strtol(word, NULL, 0) == wanted));
}

/* Choose one of the answers that `rest` still has, for line `line` of the file. */
static void choose(int line, char *rest, char *chosen) {
    char *word, *given[64];
    int count = 0, segment = 0, seen = 0;
    while ((word = strsep(&rest, "\t"))) {
        if (*word == '@') {
            seen++;
            if (atof(word + 1) > now()) break;
            segment = seen;
            count = 0;
        } else if (count < 64) given[count++] = word;
    }
    if (!count) { strcpy(chosen, "!3"); return; }
    int call = calls[line][segment]++;
    snprintf(chosen, SIZE, "%s", given[call < count ? call : count - 1]);
}

static int find(const char *function, long device, long argument, char *chosen) {
    char *text = NULL;
    size_t size = 0;
    int line = 0, found = 0;
    FILE *file = open_answers();
    if (!file) return NOT_SUPPORTED;
    for (; !found && line < MOST_LINES && getline(&text, &size, file) > 0; line++) {
        text[strcspn(text, "\n")] = 0;
        char *rest = text, *name = strsep(&rest, "\t"), *where = strsep(&rest, "\t"), *what = strsep(&rest, "\t");
        if (!rest || strcmp(name, function) || !matches(where, device) || !matches(what, argument)) continue;
        choose(line, rest, chosen);
        found = 1;
    }
    free(text);
    fclose(file);
    if (!found) return NOT_SUPPORTED;
    return chosen[0] == '!' ? atoi(chosen + 1) : 0;
}

static int read_number(const char *function, long device, long argument, number *value) {
    char chosen[SIZE], *end;
    int code = find(function, device, argument, chosen);
    if (code) return code;
    double base = strtod(chosen, &end);
    *value = *end == '+' ? (number)(base + strtod(end + 1, NULL) * now()) : strtoull(chosen, NULL, 0);
    return 0;
}

static int read_unsigned(const char *function, long device, long argument, unsigned *value) {
    number wide;
    int code = read_number(function, device, argument, &wide);
    if (!code) *value = (unsigned)wide;
    return code;
}

static int read_text(const char *function, long device, long argument, char *text, unsigned size) {
    char chosen[SIZE];
    int code = find(function, device, argument, chosen);
    if (!code) snprintf(text, size, "%s", chosen);
    return code;
}

static long index_of(void *handle) { return (long)(intptr_t)handle - 1; }

static int add_ours(long device, process *list, int count, int most) {
    char path[SIZE + 8];
    unsigned pid;
    long where;
    snprintf(path, sizeof path, "%s.pids", present);
    FILE *file = fopen(path, "r");
    while (file && fscanf(file, "%ld %u", &where, &pid) == 2)
        if (where == device && !kill(pid, 0) && count < most) list[count++] = (process){.pid = pid};
    if (file) fclose(file);
    return count;
}

static int read_processes(const char *function, void *handle, unsigned *count, process *into) {
    char chosen[SIZE], *rest = chosen, *word;
    process list[64];
    int found = 0, code = 0;
    static char last[2][SIZE]; /* pynvml asks twice, for the number and for the list: one answer serves both */
    char *kept = last[strstr(function, "Graphics") != NULL];
    if (!into) {
        code = find(function, index_of(handle), ANY, chosen);
        if (code) return code;
        strcpy(kept, chosen);
    } else strcpy(chosen, kept);
    while ((word = strsep(&rest, ","))) {
        if (!strcmp(word, "ours")) found = add_ours(index_of(handle), list, found, 64);
        else if (*word && *word != '-' && found < 64) list[found++] = (process){.pid = (unsigned)atoi(word)};
    }
    if (!into) { *count = found; return found ? INSUFFICIENT_SIZE : 0; }
    if ((int)*count < found) return INSUFFICIENT_SIZE;
    memcpy(into, list, found * sizeof *list);
    *count = found;
    return 0;
}

int nvmlInitWithFlags(unsigned flags) {
    number unused;
    (void)flags;
    int code = read_number("Init", ANY, ANY, &unused);
    return code == NOT_SUPPORTED ? 0 : code;
}
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) {
    static char text[64];
    snprintf(text, sizeof text, "fake error %d", code);
    return text;
}
int nvmlSystemGetDriverVersion(char *text, unsigned size) { return read_text("DriverVersion", ANY, ANY, text, size); }
int nvmlSystemGetCudaDriverVersion(int *version) {
    return read_unsigned("CudaVersion", ANY, ANY, (unsigned *)version);
}
int nvmlSystemGetProcessName(unsigned pid, char *text, unsigned size) {
    return read_text("ProcessName", ANY, pid, text, size);
}
int nvmlDeviceGetCount_v2(unsigned *count) { return read_unsigned("Count", ANY, ANY, count); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    number unused;
    int code = read_number("Handle", index, ANY, &unused);
    *handle = (void *)(intptr_t)(index + 1);
    return code == NOT_SUPPORTED ? 0 : code;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    char found[SIZE];
    for (long index = 0; index < 8; index++)
        if (!read_text("UUID", index, ANY, found, SIZE) && !strcmp(found, uuid)) {
            *handle = (void *)(intptr_t)(index + 1);
            return 0;
        }
    return NOT_FOUND;
}

#define TEXT(function, name) \
    int function(void *handle, char *text, unsigned size) { return read_text(name, index_of(handle), ANY, text, size); }
#define UNSIGNED(function, name) \
    int function(void *handle, unsigned *value) { return read_unsigned(name, index_of(handle), ANY, value); }
#define OF_KIND(function, name) \
    int function(void *handle, unsigned kind, unsigned *value) { \
        return read_unsigned(name, index_of(handle), kind, value); \
    }
#define NUMBER(function, name) \
    int function(void *handle, number *value) { return read_number(name, index_of(handle), ANY, value); }

TEXT(nvmlDeviceGetName, "Name")
TEXT(nvmlDeviceGetUUID, "UUID")
UNSIGNED(nvmlDeviceGetComputeMode, "ComputeMode")
UNSIGNED(nvmlDeviceIsMigDeviceHandle, "IsMig")
UNSIGNED(nvmlDeviceGetNumGpuCores, "Cores")
UNSIGNED(nvmlDeviceGetMemoryBusWidth, "BusWidth")
UNSIGNED(nvmlDeviceGetPowerUsage, "Power")
OF_KIND(nvmlDeviceGetClockInfo, "Clock")
OF_KIND(nvmlDeviceGetMaxClockInfo, "MaxClock")
OF_KIND(nvmlDeviceGetTemperature, "Temperature")
NUMBER(nvmlDeviceGetTotalEnergyConsumption, "Energy")
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, "Reasons")
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, "ThrottleReasons")

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    *pending = 0;
    return read_unsigned("MigMode", index_of(handle), ANY, current);
}
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    unsigned both = 0;
    int code = read_unsigned("Capability", index_of(handle), ANY, &both);
    *major = both / 10;
    *minor = both % 10;
    return code;
}
int nvmlDeviceGetUtilizationRates(void *handle, utilization *rates) {
    rates->memory = 0;
    return read_unsigned("Utilization", index_of(handle), ANY, &rates->gpu);
}
int nvmlDeviceGetFieldValues(void *handle, int count, field *fields) {
    number unused;
    int refused = read_number("Fields", index_of(handle), ANY, &unused);
    if (refused && refused != NOT_SUPPORTED) return refused;
    for (int i = 0; i < count; i++) {
        fields[i].type = 3; /* an unsigned long long */
        fields[i].code = read_number("Field", index_of(handle), fields[i].field, &fields[i].value);
    }
    return 0;
}
int nvmlDeviceGetViolationStatus(void *handle, unsigned policy, violation *found) {
    found->reference = 0;
    return read_number("Violation", index_of(handle), policy, &found->violation);
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process *into) {
    return read_processes("Compute", handle, count, into);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, process *into) {
    return read_processes("Graphics", handle, count, into);
}
