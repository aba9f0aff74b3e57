/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gloo's all-reduce of f32 sums over TCP on this host, measured as dml-perf measures:
 * blocks of calls on buffers of their own that are rewritten before each block, the
 * slowest rank counts, medians over the blocks, results checked. perf/never-worse
 * starts one process for each rank.
 *
 * usage: peer_gloo RANK RANKS FOLDER MIN MAX FACTOR BUDGET_S
 * FOLDER is empty at first; the ranks find each other there. Rank 0 writes one JSON
 * object a line.
 */
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>
#include <memory>
#include <vector>

namespace
{

constexpr int most_blocks = 15, fewest_blocks = 3;

double now_s()
{
    using clock = std::chrono::steady_clock;
    return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
}

struct run {
    std::shared_ptr<gloo::rendezvous::Context> context;
    int rank, nranks;
    size_t count, sets;
    std::vector<float> in, out;
    size_t iteration = 0, wrong = 0;
};

template <typename T>
using reduce_fn = void (*)(void *, const void *, const void *, size_t);

template <typename T>
void allreduce(run &r, T *in, T *out, size_t count, reduce_fn<T> reduce)
{
    gloo::AllreduceOptions options(r.context);
    options.setInput(in, count);
    options.setOutput(out, count);
    options.setReduceFunction(reduce);
    gloo::allreduce(options);
}

double slowest(run &r, double own)
{
    double most = 0;
    allreduce<double>(r, &own, &most, 1, gloo::max<double>);
    return most;
}

void barrier(run &r)
{
    gloo::BarrierOptions options(r.context);
    gloo::barrier(options);
}

/* Sums are small whole numbers, hence exact. */
float value(int rank, size_t i, size_t iteration)
{
    return static_cast<float>((i + 3 * static_cast<size_t>(rank) + iteration) % 5);
}

void fill(run &r)
{
    for (size_t k = 0; k < r.sets; k++)
        for (size_t i = 0; i < r.count; i++) {
            r.in[k * r.count + i] = value(r.rank, i, r.iteration + k);
            r.out[k * r.count + i] = -1;
        }
}

void check(run &r)
{
    for (size_t k = 0; k < r.sets; k++) {
        float want[5];
        for (size_t i = 0; i < 5; i++) {
            want[i] = 0;
            for (int p = 0; p < r.nranks; p++)
                want[i] += value(p, i, r.iteration + k);
        }
        for (size_t i = 0; i < r.count; i++)
            r.wrong += r.out[k * r.count + i] != want[i % 5];
    }
}

double block(run &r)
{
    r.iteration += r.sets;
    fill(r);
    barrier(r);
    double begin_s = now_s();
    for (size_t k = 0; k < r.sets; k++)
        allreduce<float>(r, &r.in[k * r.count], &r.out[k * r.count], r.count,
                         gloo::sum<float>);
    double s = slowest(r, (now_s() - begin_s) / static_cast<double>(r.sets));
    check(r);
    return s;
}

void resize(run &r, size_t sets)
{
    r.sets = sets;
    r.in.assign(sets * r.count, 0);
    r.out.assign(sets * r.count, 0);
}

void measure(run &r, size_t bytes, double budget_s)
{
    r.count = bytes / sizeof(float);
    size_t most = bytes <= 65536     ? 64
                  : bytes <= 1 << 20 ? 16
                  : bytes <= 1 << 24 ? 4
                                     : 2;
    resize(r, 1);
    block(r);
    double begin_s = now_s();
    block(r);
    double round_s = slowest(r, now_s() - begin_s);
    double fit = std::max(1.0, budget_s / most_blocks / round_s);
    size_t sets = std::min(most, static_cast<size_t>(fit));
    double blocks_fit = budget_s / (round_s * static_cast<double>(sets));
    int blocks = static_cast<int>(
        std::min<double>(most_blocks, std::max<double>(fewest_blocks, blocks_fit)));
    resize(r, sets);
    block(r);
    std::vector<double> times;
    for (int b = 0; b < blocks; b++)
        times.push_back(block(r));
    double wrong = slowest(r, static_cast<double>(r.wrong));
    std::sort(times.begin(), times.end());
    if (r.rank == 0) {
        std::printf("{\"peer\":\"gloo\",\"collective\":\"allreduce\",\"dtype\":\"f32\","
                    "\"nranks\":%d,\"bytes\":%zu,\"time_us\":%.6g,\"time_min_us\":%.6g,"
                    "\"time_max_us\":%.6g,\"blocks\":%d,\"wrong\":%.0f}\n",
                    r.nranks, bytes, times[times.size() / 2] * 1e6, times.front() * 1e6,
                    times.back() * 1e6, blocks, wrong);
        std::fflush(stdout);
    }
}

} // namespace

int main(int argc, char **argv)
try {
    if (argc != 8) {
        std::fprintf(stderr, "usage: peer_gloo RANK RANKS FOLDER MIN MAX FACTOR "
                             "BUDGET_S\n");
        return 2;
    }
    run r;
    r.rank = std::atoi(argv[1]);
    r.nranks = std::atoi(argv[2]);
    gloo::transport::tcp::attr attr("127.0.0.1");
    auto device = gloo::transport::tcp::CreateDevice(attr);
    gloo::rendezvous::FileStore store(argv[3]);
    r.context = std::make_shared<gloo::rendezvous::Context>(r.rank, r.nranks);
    r.context->connectFullMesh(store, device);
    size_t most = std::strtoull(argv[5], nullptr, 10);
    size_t factor = std::strtoull(argv[6], nullptr, 10);
    for (size_t bytes = std::strtoull(argv[4], nullptr, 10); bytes <= most;
         bytes *= factor)
        measure(r, bytes, std::atof(argv[7]));
    return r.wrong > 0 ? 1 : 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "peer_gloo: %s\n", error.what());
    return 1;
}
