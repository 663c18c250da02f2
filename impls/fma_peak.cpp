// Multiplies and adds float32 at the highest rate of one CPU: as many independent sums as hide an operation's latency.
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define SUMS 12  // two operations a cycle with a latency of up to six; all of them fit into registers

typedef float Vector __attribute__((vector_size(BYTES)));

extern "C" long operations_of_pass() { return 2L * SUMS * (BYTES / sizeof(float)); }

// The result is returned so that the compiler cannot leave the loop out; each sum stays below SUMS.
extern "C" float multiply_and_add(long passes, float factor, float addend) {
    Vector sums[SUMS] = {};
    for (int i = 0; i < SUMS; i++) sums[i] += float(i);  // equal ones would be computed once
    for (long pass = 0; pass < passes; pass++)
#pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++) sums[i] = sums[i] * factor + addend;
    float total = 0;
    for (int i = 0; i < SUMS; i++) total += sums[i][0];
    return total;
}
