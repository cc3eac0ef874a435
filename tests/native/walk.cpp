// Walks whole grids of the CUDA kernels' thread bodies on the host: the same bits as the CPU
// backend, every element written once, and index arithmetic beyond 2^31. To be built with
// -fsanitize=...
#include <algorithm>
#include <unordered_map>

#include "core/moments.h"
#include "core/quantile.h"
#include "cuda/draw_thread.h"
#include "cuda/pass_thread.h"
#include "cuda/plan.h"
#include "random_pass.h"

/// Counts how often each address is written.
struct Counting {
  static inline std::unordered_map<const void*, int> writes;

  template <class M, int E>
  static void load(const M* from, int n, bool whole, cuda::Run<M, E>& to) {
    cuda::Memory::load<M, E>(from, n, whole, to);
  }
  template <class M, int E>
  static void store(const cuda::Run<M, E>& from, int n, bool whole, M* to) {
    cuda::Memory::store<M, E>(from, n, whole, to);
    for (int i = 0; i < n; ++i) ++writes[to + i];
  }
};

/// Touches nothing, remembers what would have been read and written.
struct Addresses {
  static inline const void* read = nullptr;
  static inline const void* written = nullptr;

  template <class M, int E>
  static void load(const M* from, int, bool, cuda::Run<M, E>& to) {
    to = {};
    read = from;
  }
  template <class M, int E>
  static void store(const cuda::Run<M, E>&, int, bool, M* to) {
    written = to;
  }
};

template <class T>
static const Row<T>& row_of(const StepArgs& args, int64_t sample) {
  return static_cast<const Row<T>*>(args.rows)[args.row[sample]];
}

template <class T>
static void fill_threshold(const StepArgs& args, const cuda::StepPlan& plan, int64_t sample) {
  const Row<T>& row = row_of<T>(args, sample);
  if (row.live == 0 || !(row.dynamic > 0) || args.numel == 0) return;
  const Use use = use_of(row);
  std::vector<T> magnitude;
  for (int64_t i = 0; i < args.numel; ++i) {
    cuda::ThreadTile<T, 1, cuda::Memory> tile(args, plan, row, use, sample, args.row[sample], i);
    magnitude.push_back(tile.magnitudes().v[0]);
  }
  std::sort(magnitude.begin(), magnitude.end());
  const Rank rank = rank_of(row.dynamic, args.numel);
  const T above = magnitude[rank.fraction > 0 ? rank.below + 1 : rank.below];
  static_cast<T*>(args.threshold)[sample] =
      threshold_between(row, magnitude[rank.below], above, rank.fraction);
}

template <class T>
static bool written_once(const StepArgs& args) {
  for (int64_t b = 0; b < args.batch; ++b) {
    const Row<T>& row = row_of<T>(args, b);
    const int expected = row.live != 0;
    for (int64_t i = b * args.numel; i < (b + 1) * args.numel; ++i) {
      if (Counting::writes[static_cast<T*>(args.x) + i] != expected) return false;
    }
  }
  return std::all_of(Counting::writes.begin(), Counting::writes.end(),
                     [](const auto& entry) { return entry.second <= 1; });
}

template <class T>
static std::vector<std::vector<char>> walk(Case c, bool& once) {
  c.bind();
  const StepArgs& args = c.args;
  const cuda::StepPlan plan = cuda::plan_step(args);
  cuda::StepPlan narrow = plan;
  narrow.wide_state = narrow.wide_output = false;
  for (int64_t b = 0; b < args.batch; ++b) fill_threshold<T>(args, narrow, b);
  Counting::writes.clear();
  for (int64_t block = args.batch * plan.blocks_per_sample; block-- > 0;) {  // any order
    const int64_t sample = block / plan.blocks_per_sample;
    const Row<T>& row = row_of<T>(args, sample);
    if (row.live == 0) continue;
    const Use use = use_of(row);
    for (int thread = 0; thread < plan.threads; ++thread) {
      cuda::step_thread<T, Counting>(args, plan, row, use, args.row[sample], block, thread);
    }
  }
  once = written_once<T>(args);
  for (int64_t b = 0; b < args.batch; ++b) {
    const Row<T>& row = row_of<T>(args, b);
    if (row.live != 0) cuda::advance_sample(args, row, b);
  }
  return written(c);
}

/// The last run of the last sample of a state of 3 x (2^31 + 4) elements.
static bool huge_indices() {
  const int64_t numel = (int64_t{1} << 31) + 4;
  StepArgs args = {};
  Row<float> row = {};
  row.c.x = 1, row.slot = -1, row.live = 1, row.in_scale = 1;
  int64_t keys[6] = {};
  args.batch = 3, args.numel = numel, args.n_outputs = 2, args.keys = keys;
  args.x = reinterpret_cast<void*>(uintptr_t{1} << 12);
  args.model_input = reinterpret_cast<void*>(uintptr_t{1} << 44);
  const cuda::StepPlan plan = cuda::plan_step(args);
  const int64_t runs = numel / 4, last = runs - 1;
  const int64_t block = 2 * plan.blocks_per_sample + last / plan.threads;
  cuda::step_thread<float, Addresses>(args, plan, row, use_of(row), 0, block,
                                      static_cast<int>(last % plan.threads));
  const int64_t element = 3 * numel - 4;
  const OutputView view = {nullptr, 0, {1, 3}};
  args.out_dims = 2, args.out_size[0] = 3, args.out_size[1] = numel;
  return plan.wide_state && Addresses::read == static_cast<float*>(args.x) + element &&
         Addresses::written == static_cast<float*>(args.model_input) + 3 * numel + element &&
         cuda::place_of(args, view.stride, 2 * numel + numel - 1) == 2 + 3 * (numel - 1);
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
    for (int64_t block = 0; block < events * blocks; ++block) {
      for (int thread = 0; thread < 128; ++thread) {
        cuda::normal_thread<T, cuda::Memory>(args, blocks, numel % cuda::kRun<T> == 0, block,
                                             thread);
      }
    }
    if (memcmp(expected.data(), got.data(), expected.size() * sizeof(T)) != 0) return false;
  }
  return true;
}

static bool moments_agree(const Backend& backend) {
  for (int64_t numel : {0, 1, 127, 4096, 10000}) {
    std::vector<char> a = random_buffer(DType::kFloat32, numel),
                      b = random_buffer(DType::kFloat32, numel);
    Moments expected, got = {};
    const float *pa = reinterpret_cast<float*>(a.data()), *pb = reinterpret_cast<float*>(b.data());
    const MomentArgs args = {-1, 1, numel, DType::kFloat32, pa, pb, numel, numel, &expected.a};
    backend.moments(args, 0, 1);
    for (int64_t chunk = 0; chunk < chunks_of(numel); ++chunk) {
      Moments lanes[kMomentLanes];
      for (int lane = 0; lane < kMomentLanes; ++lane) {
        lanes[lane] = lane_moments(pa, pb, numel, chunk, lane);
      }
      add(got, fold(lanes));
    }
    if (memcmp(&expected, &got, sizeof(got)) != 0) return false;
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
      const double sum = fold(shared[k], plan.threads * cuda::kRun<T>);
      store_sum(args, block / plan.chunks, block % plan.chunks, F::kSums, k, prepared.factor * sum);
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
    size_t elements = 0;
    for (const Output& out : c.args.out) elements += out.data ? c.args.batch * c.args.numel : 0;
    once = Counting::writes.size() == elements &&
           std::all_of(Counting::writes.begin(), Counting::writes.end(),
                       [](const auto& entry) { return entry.second == 1; });
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
  int wide = 0;
  for (int i = 0; i < 2000; ++i) {
    const Case c = random_case();
    bool once = true;
    const auto expected = run(cpu, c);
    const auto got = c.args.state == DType::kFloat32 ? walk<float>(c, once) : walk<double>(c, once);
    if (got != expected) return fail("the grid and the CPU differ", i);
    if (!once) return fail("an element was not written exactly once", i);
    wide += cuda::plan_step(c.args).wide_state;
  }
  if (wide < 100) return fail("wide accesses were hardly exercised", wide);
  if (!huge_indices()) return fail("indices beyond 2^31", 0);
  if (!normals_agree<float>(cpu) || !normals_agree<double>(cpu)) return fail("normals", 0);
  if (!moments_agree(cpu)) return fail("moments", 0);
  std::printf("2000 grids agree, %d with wide accesses\n", wide);
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
