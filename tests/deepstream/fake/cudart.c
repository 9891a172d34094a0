/* The CUDA runtime's calls that copying uses, on the host: copies are done when their stream is waited for,
 * never before, so that a missing wait shows. The return values are the runtime's error codes. */
#include <stdlib.h>
#include <string.h>

#define MOST 4096
#define BAD_VALUE 1
#define BAD_DEVICE 101

static struct {
    void *target;
    const void *source;
    size_t size;
} queued[MOST];
static int waiting, device = -1, devices = 2;
static long copies, waits, allocations, frees, bytes;
static int fail_copy_at = -1;

int cudaSetDevice(int number) {
    if (number < 0 || number >= devices) return BAD_DEVICE;
    device = number;
    return 0;
}

int cudaStreamCreateWithFlags(void **stream, unsigned int flags) {
    if (flags != 1) return BAD_VALUE; /* non-blocking: the legacy stream waits for everybody */
    *stream = &queued;
    return 0;
}

int cudaHostAlloc(void **address, size_t size, unsigned int flags) {
    (void)flags;
    ++allocations;
    *address = malloc(size);
    return *address ? 0 : 2;
}

int cudaFreeHost(void *address) {
    ++frees;
    free(address);
    return 0;
}

int cudaMemcpyAsync(void *target, const void *source, size_t size, int kind, void *stream) {
    if (stream != &queued || kind != 2 || waiting == MOST || device < 0) return BAD_VALUE;
    if (copies == fail_copy_at) return 700;
    queued[waiting].target = target;
    queued[waiting].source = source;
    queued[waiting++].size = size;
    ++copies;
    bytes += size;
    return 0;
}

int cudaStreamSynchronize(void *stream) {
    if (stream != &queued) return BAD_VALUE;
    ++waits;
    for (int i = 0; i < waiting; ++i) memcpy(queued[i].target, queued[i].source, queued[i].size);
    waiting = 0;
    return 0;
}

/* For the tests. */
long fake_copies(void) { return copies; }
long fake_waits(void) { return waits; }
long fake_bytes(void) { return bytes; }
long fake_allocations(void) { return allocations; }
long fake_frees(void) { return frees; }
int fake_device(void) { return device; }
void fake_fail_copy_at(int number) { fail_copy_at = number; }
