// What MLX calls for a product of float32 matrices, in the name of every BLAS. It calls what openblas_sgemm points to.
// If it were linked to OpenBLAS, all names of that would be global too, and some are also those of other libraries.

extern "C" {

typedef void sgemm(int order, int a_transposed, int b_transposed, int m, int n, int k, float alpha, const float* a,
                   int lda, const float* b, int ldb, float beta, float* c, int ldc);

sgemm* openblas_sgemm;

void cblas_sgemm(int order, int a_transposed, int b_transposed, int m, int n, int k, float alpha, const float* a,
                 int lda, const float* b, int ldb, float beta, float* c, int ldc) {
    openblas_sgemm(order, a_transposed, b_transposed, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
}
