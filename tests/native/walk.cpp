// Walks whole grids of the CUDA kernels' thread bodies on the host: the same bits as the CPU
// backend, every element written once, and index arithmetic beyond 2^31. To be built with
// -fsanitize=...
#include <algorithm>

#include "cuda/draw_thread.h"
#include "cuda/moment_thread.h"
#include "cuda/pass_thread.h"
#include "cuda/plan.h"
#include "cuda/threshold.h"
#include "random_pass.h"
#include "watched_memory.h"

constexpr cuda::Team kAlone = {0, 1};  // a block of one thread does all that a team does

template <class T>
static bool written_once(const StepArgs& args) {
  for (int64_t b = 0; b < args.batch; ++b) {
    const int expected = cuda::row_at<T>(args, args.row[b])->live != 0;
    for (int64_t i = b * args.numel; i < (b + 1) * args.numel; ++i) {
      const void* const to = static_cast<char*>(args.x_out) + i * bytes_of(args.next);
      if (Counting::writes[to] != expected) return false;
    }
  }
  return std::all_of(Counting::writes.begin(), Counting::writes.end(),
                     [](const auto& entry) { return entry.second <= 1; });
}

/// What happened to the samples of a grid.
struct Seen {
  int wide = 0, small = 0, several = 0, common = 0;  // grids of each kind

  void count(const cuda::StepPlan& plan) {
    wide += plan.wide_state, common += plan.common;
    small += plan.samples_per_block > 1, several += plan.runs > 1;
  }
};

/// What small_step_kernel does, thread after thread.
template <class T, class Bound>
static void walk_small_block(const StepArgs& args, const cuda::StepPlan& plan, int64_t block) {
  for (int thread = 0; thread < plan.threads; ++thread) {
    const cuda::Share<T> share = cuda::share_of<T>(args, plan, block, thread);
    cuda::small_step_thread<T, Bound, Counting>(args, plan, share);
  }
  std::vector<cuda::Share<T>> shares;  // of before any counter moves, as a block has them
  for (int thread = 0; thread < plan.threads; ++thread) {
    shares.push_back(cuda::share_of<T>(args, plan, block, thread));
  }
  for (const cuda::Share<T>& share : shares) cuda::finish_share(args, share);
}

/// What step_kernel does, thread after thread.
template <class T, class Bound>
static void walk_block(const StepArgs& args, const cuda::StepPlan& plan, int64_t block,
                       int32_t* tickets) {
  cuda::SharedRow<T> shared;
  const int64_t sample = block / plan.blocks_per_sample;
  cuda::load_row(kAlone, args, sample, shared);
  if (!shared.live) return;
  for (int thread = 0; thread < plan.threads; ++thread) {
    cuda::step_thread<T, Bound, Counting>(args, plan, shared, block, thread);
  }
  cuda::finish_block(args, plan, shared.row, sample, tickets);
}

template <class T, class Bound>
static void walk_grid(const StepArgs& args, const cuda::StepPlan& plan, int32_t* tickets) {
  if (args.numel == 0) {
    for (int64_t sample = 0; sample < 128; ++sample) cuda::advance_thread<T>(args, sample);
  }
  for (int64_t block = plan.blocks; block-- > 0;) {  // any order
    plan.samples_per_block > 1 ? walk_small_block<T, Bound>(args, plan, block)
                               : walk_block<T, Bound>(args, plan, block, tickets);
  }
}

template <class T>
static std::vector<std::vector<char>> walk(Case c, bool& once, Seen& seen) {
  c.bind();
  StepArgs& args = c.args;
  const cuda::StepPlan plan = cuda::plan_step(args, pick(0, 3));
  seen.count(plan);
  for (int64_t b = 0; args.threshold && b < args.batch; ++b) {
    cuda::SharedRow<T> shared;
    static cuda::Selection<T> scratch;
    cuda::load_row(kAlone, args, b, shared);
    if (args.numel > 0) {
      cuda::fill_threshold(kAlone, args, cuda::one_by_one(plan), shared, b, scratch);
    }
  }
  Counting::writes.clear();
  const std::vector<int64_t> before = c.row;
  std::vector<int32_t> tickets(args.batch);
  plan.common ? walk_grid<T, cuda::Common>(args, plan, tickets.data())
              : walk_grid<T, cuda::Everything>(args, plan, tickets.data());
  const auto after = c.row;
  c.row = before;  // the rows that were executed
  once = written_once<T>(args) && tickets == std::vector<int32_t>(args.batch);
  c.row = after;
  return written(c);
}

/// Order statistics with ties, infinities and a magnitude that kept the sign of zero.
template <class T>
static bool ranks_agree() {
  const T given[] = {T(0), -T(0), T(1), T(1), T(INFINITY), T(1e-40), T(2), T(0.5)};
  for (int64_t n = 1; n <= 300; n += 13) {
    std::vector<T> magnitude, sorted;
    for (int64_t i = 0; i < n; ++i)
      magnitude.push_back(pick(0, 1) ? given[pick(0, 7)] : std::abs(T(real())));
    for (const T value : magnitude) sorted.push_back(std::abs(value));
    std::sort(sorted.begin(), sorted.end());
    static cuda::Selection<T> scratch;
    const int64_t rank = pick(0, static_cast<int>(n - 1));
    const T found =
        cuda::select_rank<T>(kAlone, scratch, n, rank, [&](int64_t i) { return magnitude[i]; });
    if (memcmp(&found, &sorted[rank], sizeof(T)) != 0) return false;
  }
  return true;
}

/// The last run of the last sample of a state of 3 x (2^31 + 4) elements.
static bool huge_indices() {
  const int64_t numel = (int64_t{1} << 31) + 4;
  StepArgs args = {};
  Row<float> row = {};
  row.c.x = 1, row.slot = -1, row.live = 1, row.in_scale = 1;
  int64_t keys[6] = {};
  args.batch = 3, args.numel = numel, args.n_outputs = 2, args.keys = keys;
  args.out_dims = 1, args.view[0].stride[0] = args.view[1].stride[0] = 1;
  args.x = args.x_out = reinterpret_cast<void*>(uintptr_t{1} << 12);
  args.model_input = reinterpret_cast<void*>(uintptr_t{1} << 44);
  const cuda::StepPlan plan = cuda::plan_step(args);
  const int64_t last = numel / 4 - 1;
  const int64_t block = 2 * plan.blocks_per_sample + last / (plan.runs * plan.threads);
  const cuda::SharedRow<float> at = {row, use_of(args, row), 0, true};
  cuda::step_thread<float, cuda::Common, Addresses>(args, plan, at, block,
                                                    static_cast<int>(last % plan.threads));
  const int64_t element = 3 * numel - 4;
  const View view = {nullptr, 0, {1, 3}};
  if (!plan.common || plan.runs != cuda::kStepRuns) return false;
  args.out_dims = 2, args.out_size[0] = 3, args.out_size[1] = numel;
  return plan.wide_state && Addresses::read == static_cast<float*>(args.x) + element &&
         Addresses::written == static_cast<float*>(args.model_input) + 3 * numel + element &&
         cuda::place_of(args, view.stride, 2 * numel + numel - 1) == 2 + 3 * (numel - 1);
}

/// Whether so many elements were written, each once.
static bool each_once(int64_t elements) {
  return static_cast<int64_t>(Counting::writes.size()) == elements &&
         std::all_of(Counting::writes.begin(), Counting::writes.end(),
                     [](const auto& entry) { return entry.second == 1; });
}

/// The same of events, of a pass and of moments.
static bool huge_launches() {
  const int64_t numel = (int64_t{1} << 31) + 4, run = cuda::kRun<float>;
  int64_t keys[6] = {};
  float* const from = reinterpret_cast<float*>(uintptr_t{1} << 12);
  float* const to = reinterpret_cast<float*>(uintptr_t{1} << 44);

  const NormalArgs normal = {-1, 3, numel, DType::kFloat32, keys, to};
  const int64_t blocks = (numel + 128 * run - 1) / (128 * run), last = numel / run - 1;
  cuda::normal_thread<float, Addresses>(normal, blocks, true, 2 * blocks + last / 128,
                                        static_cast<int>(last % 128));
  if (Addresses::written != to + 3 * numel - run) return false;

  PassArgs pass = {};
  pass.formula = Formula::kMix, pass.batch = 3, pass.numel = numel;
  pass.in[0] = {from, DType::kFloat32, numel, false};
  pass.out[0] = {to, DType::kFloat32};
  const cuda::PassPlan plan = cuda::plan_pass(pass);
  cuda::Lanes<Mix, float> lanes = {};
  cuda::pass_thread<Mix, float, Addresses>(pass, plan, prepare<Mix, float>(pass, 2),
                                           3 * plan.chunks - 1, 0, lanes);
  if (Addresses::read != from + 3 * numel - run || Addresses::written != to + 3 * numel - run) {
    return false;
  }

  const MomentArgs moment = {-1, 3, numel, DType::kFloat32, from, to, numel, numel, nullptr};
  Moments sums[cuda::kMomentRun] = {};
  cuda::moment_thread<float, Addresses>(moment, true, 2, chunks_of(numel) - 1, 0, sums);
  const int64_t rows = cuda::kMomentRows<float> - 1;  // the last one asked for is empty
  return Addresses::read == to + 3 * numel - 4 + rows * kMomentLanes;
}

template <class T>
static bool normals_agree(const Backend& backend) {
  for (int64_t numel : {1, 3, 4, 7, 64, 513, 2000}) {
    const int64_t events = 3;
    std::vector<int64_t> keys = {5, 9, -3, 1LL << 40, 77, -1};
    std::vector<T> expected(events * numel), got(events * numel);
    NormalArgs args = {-1,          events,
                       numel,       sizeof(T) == 8 ? DType::kFloat64 : DType::kFloat32,
                       keys.data(), expected.data()};
    backend.normal(args, 0, events * tiles_of(numel));
    args.out = got.data();
    const int64_t blocks = (numel + 128 * cuda::kRun<T> - 1) / (128 * cuda::kRun<T>);
    Counting::writes.clear();
    for (int64_t block = 0; block < events * blocks; ++block) {
      for (int thread = 0; thread < 128; ++thread) {
        cuda::normal_thread<T, Counting>(args, blocks, numel % cuda::kRun<T> == 0, block, thread);
      }
    }
    if (!each_once(events * numel)) return false;
    if (memcmp(expected.data(), got.data(), expected.size() * sizeof(T)) != 0) return false;
  }
  return true;
}

/// What moment_kernel does with a chunk.
template <class M>
static Moments walk_chunk(const MomentArgs& args, bool wide, int64_t sample, int64_t chunk) {
  Moments all[kMomentLanes] = {};
  for (int thread = 0; thread < cuda::kMomentThreads; ++thread) {
    Moments lanes[cuda::kMomentRun] = {};
    cuda::moment_thread<M, cuda::Memory>(args, wide, sample, chunk, thread, lanes);
    std::copy_n(lanes, cuda::kMomentRun, all + cuda::kMomentRun * thread);
  }
  return fold(all, kMomentLanes);
}

static bool moments_agree(const Backend& backend, int64_t gap, int& wide) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16, DType::kFloat16}) {
    for (int64_t numel : {0, 1, 3, 127, 4096, 4100, 10001, 40 * 4096 + 12}) {
      const int64_t batch = 3, stride = numel + gap, chunks = chunks_of(numel);
      std::vector<char> a = random_buffer(dtype, batch * stride),
                        b = random_buffer(dtype, batch * numel);
      std::vector<double> expected(batch * kMoments), got;
      const MomentArgs args = {-1,       batch,  numel, dtype,          a.data(),
                               b.data(), stride, numel, expected.data()};
      backend.moments(args, 0, batch);
      wide += cuda::moments_wide(args) && numel > 0;
      for (int64_t sample = 0; sample < batch; ++sample) {
        std::vector<Moments> partial(chunks + 1);
        with_dtype(dtype, [&](auto tag) {
          using M = typename decltype(tag)::type;
          for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            partial[chunk] = walk_chunk<M>(args, cuda::moments_wide(args), sample, chunk);
          }
        });
        for (int k = 0; k < kMoments; ++k) {
          got.push_back(fold_partial(&partial[0].a, chunks, kMoments, k));
        }
      }
      if (memcmp(expected.data(), got.data(), got.size() * sizeof(double)) != 0) return false;
    }
  }
  return true;
}

/// What pass_kernel does, thread after thread.
template <class F, class T>
static void walk_pass(const PassArgs& args) {
  const cuda::PassPlan plan = cuda::plan_pass(args);
  for (int64_t block = args.batch * plan.chunks; block-- > 0;) {  // any order
    const Prepared<T> prepared = prepare<F, T>(args, block / plan.chunks);
    double shared[kMaxSums][kSumLanes] = {};
    for (int thread = 0; thread < plan.threads; ++thread) {
      cuda::Lanes<F, T> lanes = {};
      cuda::pass_thread<F, T, Counting>(args, plan, prepared, block, thread, lanes);
      for (int k = 0; k < F::kSums; ++k) {
        std::copy_n(lanes[k], cuda::kRun<T>, shared[k] + cuda::kRun<T> * thread);
      }
    }
    for (int k = 0; k < F::kSums; ++k) {
      cuda::fold_lanes(kAlone, shared[k], plan.threads * cuda::kRun<T>);
      store_sum(args, block / plan.chunks, block % plan.chunks, F::kSums, k,
                prepared.factor * shared[k][0]);
    }
  }
}

/// What categorical_kernel does, lane after lane.
template <class T>
static void walk_rows(const CategoricalArgs& rows) {
  const PassArgs& args = rows.pass;
  for (int64_t row = 0; row < args.batch * args.numel; ++row) {
    const int64_t sample = row / args.numel, i = row % args.numel;
    with_operand_dtype<T>(args.in[0].dtype, [&](auto tag) {
      using M = typename decltype(tag)::type;
      const M* logits = static_cast<const M*>(args.in[0].data) + row * rows.classes;
      T most[kRowLanes], sum[kRowLanes];
      for (int lane = 0; lane < kRowLanes; ++lane)
        most[lane] = lane_most<T>(logits, rows.classes, lane);
      const T top = *std::max_element(most, most + kRowLanes);
      for (int lane = 0; lane < kRowLanes; ++lane)
        sum[lane] = lane_sum(logits, rows.classes, lane, top);
      const RowSum<T> whole = {top, fold(sum, kRowLanes)};
      if (args.result.data) {
        static double lanes[kSumLanes];
        if (i == 0) std::fill(lanes, lanes + kSumLanes, 0.0);
        lanes[i % kSumLanes] +=
            static_cast<double>(whole.log_prob(to_float(logits[rows.level[row]])));
        if (i == args.numel - 1) store_sum(args, sample, 0, 1, 0, fold(lanes, kSumLanes));
        return;
      }
      const T g = static_cast<T>(number_of(args.number[0], sample));
      M* const out = static_cast<M*>(args.out[0].data) + row * rows.classes;
      for (int64_t k = 0; k < rows.classes; ++k) {
        from_float(whole.gradient(g, whole.term(to_float(logits[k])), k == rows.level[row]),
                   out[k]);
      }
    });
  }
}

static std::vector<std::vector<char>> walk(PassCase c, bool& once) {
  c.bind();
  Counting::writes.clear();
  const bool wide = c.args.compute == DType::kFloat64;
  if (c.classes) {
    wide ? walk_rows<double>(c.rows()) : walk_rows<float>(c.rows());
  } else {
    with_formula(c.args.formula, [&](auto tag) {
      using F = typename decltype(tag)::type;
      wide ? walk_pass<F, double>(c.args) : walk_pass<F, float>(c.args);
    });
    int64_t elements = 0;
    for (const Output& out : c.args.out) elements += out.data ? c.args.batch * c.args.numel : 0;
    once = each_once(elements);
  }
  fold_results(c.args);
  return written(c);
}

static bool reads_wide(const PassArgs& args) {
  const cuda::PassPlan plan = cuda::plan_pass(args);
  return args.in[0].data && plan.wide_in[0] && args.numel >= 4;
}

static int fail(const char* what, int i) {
  std::printf("%s (case %d)\n", what, i);
  return 1;
}

int main() {
  const Backend& cpu = cpu::backend();
  Seen seen;
  for (int i = 0; i < 2000; ++i) {
    const Case c = random_case();
    bool once = true;
    const auto expected = run(cpu, c);
    const auto got =
        c.args.state == DType::kFloat32 ? walk<float>(c, once, seen) : walk<double>(c, once, seen);
    if (got != expected) return fail("the grid and the CPU differ", i);
    if (!once) return fail("an element was not written exactly once", i);
  }
  std::printf("2000 grids agree: %d wide, %d of small samples, %d of several runs, %d common\n",
              seen.wide, seen.small, seen.several, seen.common);
  if (std::min({seen.wide, seen.small, seen.several, seen.common}) < 100) {
    return fail("a kind of grid was hardly exercised", 0);
  }
  if (!ranks_agree<float>() || !ranks_agree<double>()) return fail("order statistics", 0);
  if (!huge_indices() || !huge_launches()) return fail("indices beyond 2^31", 0);
  if (!normals_agree<float>(cpu) || !normals_agree<double>(cpu)) return fail("normals", 0);
  int wide = 0;
  if (!moments_agree(cpu, 0, wide) || !moments_agree(cpu, 5, wide)) return fail("moments", 0);
  if (wide < 8) return fail("wide accesses of moments were hardly exercised", wide);
  wide = 0;
  for (int i = 0; i < 2000; ++i) {
    const PassCase c = random_pass();
    bool once = true;
    if (walk(c, once) != run(cpu, c)) return fail("a pass and the CPU differ", i);
    if (!once) return fail("an element of a pass was not written exactly once", i);
    PassCase bound = c;
    bound.bind();
    wide += !c.classes && reads_wide(bound.args);
  }
  if (wide < 100) return fail("wide accesses of passes were hardly exercised", wide);
  std::printf("2000 passes agree, %d with wide accesses\n", wide);
}
