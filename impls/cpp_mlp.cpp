// The network in C++: each thread does the whole step on its rows of the minibatch, OpenBLAS computes the products.

#include <cblas.h>

#include <algorithm>
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>

namespace {

// Elements of a block of the hidden layer: 128 KiB, so that a block and its gradient fit into a core's second-level
// cache. With less than a block per thread, waiting for another thread costs more than it saves.
constexpr long BLOCK = 32'768;

constexpr auto PLAIN = CblasNoTrans, TRANSPOSED = CblasTrans;

// c = alpha * a @ b + beta * c, where c is (rows, columns); row i of a matrix begins at i times its stride.
void gemm(CBLAS_TRANSPOSE of_a, CBLAS_TRANSPOSE of_b, long rows, long columns, long depth, float alpha, const float* a,
          long a_stride, const float* b, long b_stride, float beta, float* c, long c_stride) {
    scipy_cblas_sgemm(CblasRowMajor, of_a, of_b, rows, columns, depth, alpha, a, a_stride, b, b_stride, beta, c,
                      c_stride);
}

// tanh(z), off by 2.6e-7 at most, as z P(z²) / Q(z²) up to |z| = 7.9 and constant beyond. The coefficients are those of
// Eigen (MathFunctionsImpl.h), which XLA has too. g++ makes vector operations of it; of std::tanh it does so only with
// -ffast-math and glibc 2.35 or later, and these take twice as long.
float tanh_of(float z) {
    z = std::clamp(z, -7.90531110763549805f, 7.90531110763549805f);
    const float square = z * z;
    float p = -2.76076847742355e-16f, q = 1.19825839466702e-06f;
    for (float coefficient : {2.00018790482477e-13f, -8.60467152213735e-11f, 5.12229709037114e-08f,
                              1.48572235717979e-05f, 6.37261928875436e-04f, 4.89352455891786e-03f})
        p = p * square + coefficient;
    for (float coefficient : {1.18534705686654e-04f, 2.26843463243900e-03f, 4.89352518554385e-03f})
        q = q * square + coefficient;
    return z * p / q;
}

struct Sizes {
    long inputs, hidden, classes, batch_size, batches;
};

struct Params {
    float *w1, *b1, *w2, *b2;
};

// What one of the threads works on: its rows of each minibatch, its rows of w1, and the sums over its rows.
struct alignas(64) Share {
    long index, count;
    std::vector<float> d_b1, d_w2, d_b2;
    float loss;

    long begin(long size) const { return index * size / count; }
    long end(long size) const { return (index + 1) * size / count; }

    // This thread's part of weights -= gradient.
    void subtract(float* weights, const std::vector<float>& gradient) const {
        for (long i = begin(gradient.size()); i < end(gradient.size()); ++i) weights[i] -= gradient[i];
    }
};

class Trainer {
public:
    Trainer(const Sizes& sizes, float learning_rate, const float* images, const int* labels, long threads)
        : sizes(sizes), rate(learning_rate / sizes.batch_size), images(images), labels(labels),
          hidden(sizes.batch_size * sizes.hidden), d_hidden(sizes.batch_size * sizes.hidden),
          logits(sizes.batch_size * sizes.classes), barrier(threads) {
        for (long index = 0; index < threads; ++index)
            shares.push_back({index, threads, std::vector<float>(sizes.hidden),
                              std::vector<float>(sizes.hidden * sizes.classes), std::vector<float>(sizes.classes), 0});
        for (long index = 1; index < threads; ++index) helpers.emplace_back([this, index] { help(shares[index]); });
    }

    ~Trainer() {
        steps = 0;
        barrier.arrive_and_wait();  // the helpers return
    }

    void run(const Params& weights, long count, long start, float* results) {
        params = weights, steps = count, first = start, losses = results;
        if (steps == 0) return;
        barrier.arrive_and_wait();  // the helpers begin
        train(shares[0]);
    }

private:
    const Sizes sizes;
    const float rate;
    const float* const images;
    const int* const labels;
    std::vector<float> hidden, d_hidden, logits;
    std::vector<Share> shares;
    Params params;
    long steps, first;
    float* losses;
    std::barrier<> barrier;
    std::vector<std::jthread> helpers;  // the last member: they end before any other member does

    void help(Share& share) {
        for (;;) {
            barrier.arrive_and_wait();  // until there is a run
            if (steps == 0) return;
            train(share);
        }
    }

    void train(Share& share) {
        const long count = steps;  // the next run may change it before this thread has seen that the last step is over
        for (long i = 0; i < count; ++i) step(share, (first + i) % sizes.batches, losses[i]);
    }

    void step(Share& share, long k, float& loss) {
        const auto [inputs, units, classes, batch_size, batches] = sizes;
        const auto [w1, b1, w2, b2] = params;
        const float* x = images + k * batch_size * inputs;
        const int* y = labels + k * batch_size;
        const long begin = share.begin(batch_size), end = share.end(batch_size), height = std::max(1L, BLOCK / units);
        share.loss = 0;
        for (auto* sums : {&share.d_b1, &share.d_w2, &share.d_b2}) std::ranges::fill(*sums, 0.0f);
        gemm(PLAIN, PLAIN, end - begin, units, inputs, 1, x + begin * inputs, inputs, w1, units, 0,
             &hidden[begin * units], units);
        for (long row = begin; row < end; row += height) block(share, y, row, std::min(height, end - row));

        barrier.arrive_and_wait();  // until d_hidden is complete, and no thread needs the old weights any more
        const long own = share.begin(inputs);
        gemm(TRANSPOSED, PLAIN, share.end(inputs) - own, units, batch_size, -1, x + own, inputs, d_hidden.data(), units,
             1, w1 + own * units, units);
        for (const Share& part : shares) {
            share.subtract(b1, part.d_b1);
            share.subtract(w2, part.d_w2);
            share.subtract(b2, part.d_b2);
        }
        if (share.index == 0) {
            loss = 0;
            for (const Share& part : shares) loss += part.loss / batch_size;
        }
        barrier.arrive_and_wait();  // until the new weights are complete
    }

    // Go on with some rows from their product with w1, and back to its gradient, while they are in the cache.
    void block(Share& share, const int* y, long row, long rows) {
        const auto [inputs, units, classes, batch_size, batches] = sizes;
        const auto [w1, b1, w2, b2] = params;
        float *h = &hidden[row * units], *d_h = &d_hidden[row * units], *z = &logits[row * classes];
        for (long i = 0; i < rows; ++i)
            for (long j = 0; j < units; ++j) h[i * units + j] = tanh_of(h[i * units + j] + b1[j]);
        gemm(PLAIN, PLAIN, rows, classes, units, 1, h, units, w2, classes, 0, z, classes);
        for (long i = 0; i < rows; ++i) share.loss += softmax(share, z + i * classes, y[row + i]);
        gemm(PLAIN, TRANSPOSED, rows, units, classes, 1, z, classes, w2, classes, 0, d_h, units);
        gemm(TRANSPOSED, PLAIN, units, classes, rows, 1, h, units, z, classes, 1, share.d_w2.data(), classes);
        float* d_b1 = share.d_b1.data();
        for (long i = 0; i < rows; ++i)
            for (long j = 0; j < units; ++j)
                d_b1[j] += d_h[i * units + j] *= 1 - h[i * units + j] * h[i * units + j];
    }

    // Replace a row of logits by its gradient times the rate, which scales all four updates; return the row's loss.
    float softmax(Share& share, float* z, int y) const {
        const long classes = sizes.classes;
        for (long j = 0; j < classes; ++j) z[j] += params.b2[j];
        const float peak = *std::max_element(z, z + classes), correct = z[y] - peak;
        float total = 0;
        for (long j = 0; j < classes; ++j) total += z[j] = std::exp(z[j] - peak);  // cannot overflow
        for (long j = 0; j < classes; ++j) share.d_b2[j] += z[j] = rate * (z[j] / total - (j == y));
        return std::log(total) - correct;
    }
};

}  // namespace

extern "C" {

Trainer* create(long inputs, long hidden, long classes, long batch_size, long batches, float learning_rate,
                const float* images, const int* labels, long cpus) {
    const long threads = std::clamp(batch_size * hidden / BLOCK, 1L, std::min(cpus, batch_size));
    scipy_openblas_set_num_threads(threads > 1 ? 1 : cpus);
    return new Trainer({inputs, hidden, classes, batch_size, batches}, learning_rate, images, labels, threads);
}

void run(Trainer* trainer, float* w1, float* b1, float* w2, float* b2, long steps, long first, float* losses) {
    trainer->run({w1, b1, w2, b2}, steps, first, losses);
}

void destroy(Trainer* trainer) { delete trainer; }
}
