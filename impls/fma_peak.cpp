// Multiplies and adds float32 at the highest rate of one CPU: as many independent sums as hide an operation's latency.
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#if BYTES == 64 || defined(__aarch64__)
#define SUMS 24  // of 32 registers; at a latency of four cycles up to six operations can begin in each
#else
#define SUMS 12  // of 16 registers
#endif

typedef float Vector __attribute__((vector_size(BYTES)));

extern "C" long operations_of_pass() { return 2L * SUMS * (BYTES / sizeof(float)); }

// All numbers differ and all are in the result, so that the compiler can leave none of them out.
extern "C" float multiply_and_add(long passes, float factor, float addend) {
    Vector sums[SUMS];
    const int width = BYTES / sizeof(float);
    for (int i = 0; i < SUMS * width; i++) sums[i / width][i % width] = i;
    for (long pass = 0; pass < passes; pass++)
#pragma GCC unroll 24
        for (int i = 0; i < SUMS; i++) sums[i] = sums[i] * factor + addend;
    float total = 0;
    for (int i = 0; i < SUMS * width; i++) total += sums[i / width][i % width];
    return total;
}
