// A small pool of threads: one job at a time, its tasks handed out by one counter for each memory node.
#pragma once
#include <atomic>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#include "../error.hpp"
#include "numa.hpp"

namespace coterie { inline namespace v0 { namespace host {

// Processors this process may run on.
inline int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  long const n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? static_cast<int>(n) : 1;
}

// How many forks lie between the first process that had a pool and this one.
struct Forks {
  static inline unsigned count = 0;              // written where a child has one thread
  static void follow() { static int const registered = pthread_atfork(nullptr, nullptr, [] { ++count; }); (void)registered; }
};

class Pool {
 public:
  // Workers stay on their node where there are several, each with two threads at least; else the system places them.
  explicit Pool(int threads, Where at = Where::here()) : Pool(threads, host::nodes(), at) {}
  Pool(int threads, Nodes const& nodes, Where at = Where::here()) : size_(threads ? threads : processors()) {
    require(threads >= 0, "Host: threads must not be negative (0: all processors)", threads, 0, at);
    if (size_ >= 2 * nodes.count) nodes_ = nodes;
    next_ = new Counter[static_cast<std::size_t>(nodes_.count)];
    workers_ = new Worker[static_cast<std::size_t>(size_)];
    Forks::follow(), forks_ = Forks::count;
    Attributes const attributes;
    for (; started_ + 1 < size_; ++started_) {
      Worker& worker = workers_[started_];
      worker.pool = this, worker.node = nodes_.of(started_ + 1, size_);
      if (int const code = pthread_create(&worker.thread, &attributes.value, &Pool::work, &worker)) {
        stop();
        fail("Host: thread " + std::to_string(started_ + 1) + " of " + std::to_string(size_) + " could not be started: error " + std::to_string(code), at);
      }
#if defined(__linux__)
      if (nodes_.count > 1) pthread_setaffinity_np(worker.thread, sizeof(Processors), &nodes_.processors[worker.node]);       // a hint
#endif
    }
  }
  ~Pool() { stop(); }
  Pool(Pool const&) = delete;
  Pool& operator=(Pool const&) = delete;

  int size() const { return size_; }
  Nodes const& nodes() const { return nodes_; }

  // Runs task(i), or task(i, who) with who in [0, size()) for memory of a thread's own, for every i in [0, tasks), on the caller (0)
  // and the workers; returns when all are done. Tasks must not
  // throw, and what they compute must not depend on who runs them. While another caller's job holds the workers, a
  // caller works alone: nobody waits for anybody, so nested and concurrent calls cannot deadlock.
  // columns: tasks with the same i % columns read what stands on the same memory node, that of nodes().first(., columns), and
  // are handed to its threads first; who has nothing left takes from other nodes. tasks is a multiple of it; 0: all of them.
  template <class Task> void run(std::int64_t tasks, Task const& task, std::int64_t columns = 0) {
    if (tasks <= 0) return;
    // In a forked child there are no workers, and the mutex may be one's that was left behind.
    if (size_ == 1 || tasks == 1 || forks_ != Forks::count || busy_.exchange(true, std::memory_order_acquire)) {
      for (std::int64_t i = 0; i < tasks; ++i) call<Task>(&task, i, 0);
      return;
    }
    Job job{&call<Task>, &task, tasks, columns ? columns : tasks};
    for (int n = 0; n < nodes_.count; ++n) next_[n].value.store(0, std::memory_order_relaxed);             // nobody is inside
    pthread_mutex_lock(&mutex_);
    job_ = &job;
    generation_.fetch_add(1, std::memory_order_release);
    pthread_cond_broadcast(&wake_);
    pthread_mutex_unlock(&mutex_);
    drain(job, nodes_.count == 1 ? 0 : nodes_.with(processor()), 0);
    // No worker may still hold &job when it leaves this frame: close the door, then wait for those inside.
    pthread_mutex_lock(&mutex_);
    job_ = nullptr;
    pthread_mutex_unlock(&mutex_);
    for (int spins = 0; inside_.load(std::memory_order_acquire) != 0; ++spins)
      if (spins > spin_limit) sched_yield();
    busy_.store(false, std::memory_order_release);
  }

 private:
  struct Job {
    void (*call)(void const*, std::int64_t, int);
    void const* context;
    std::int64_t tasks, columns;
  };
  struct Worker {
    pthread_t thread;
    Pool* pool;
    int node;
  };
  // Stacks of a megabyte at least: kernels keep up to a quarter of one there.
  struct Attributes {
    pthread_attr_t value;
    Attributes() {
      pthread_attr_init(&value);
      std::size_t size = 0;
      if (pthread_attr_getstacksize(&value, &size) == 0 && size < least_stack) pthread_attr_setstacksize(&value, least_stack);
    }
    ~Attributes() { pthread_attr_destroy(&value); }
    static constexpr std::size_t least_stack = std::size_t{1} << 20;
  };
  struct alignas(64) Counter { std::atomic<std::int64_t> value{0}; };
  static constexpr int spin_limit = 4000;        // about 20 us: a layer's phases follow each other faster than that

  // One copy of every task's code: two could order a sum's operands differently, and a NaN's sign would tell.
  template <class Task> [[gnu::noinline]] static void call(void const* context, std::int64_t i, [[maybe_unused]] int who) {
    auto const& task = *static_cast<Task const*>(context);
    if constexpr (requires { task(i, who); }) task(i, who);
    else task(i);
  }
  void drain(Job const& job, int node, int who) {
    if (nodes_.count == 1) {
      for (std::int64_t i; (i = next_[0].value.fetch_add(1, std::memory_order_relaxed)) < job.tasks;) job.call(job.context, i, who);
      return;
    }
    std::int64_t const groups = job.tasks / job.columns;
    for (int k = 0; k < nodes_.count; ++k) {                             // its own node's tasks, then the others'
      int const n = (node + k) % nodes_.count;
      std::int64_t const first = nodes_.first(n, job.columns), wide = nodes_.first(n + 1, job.columns) - first;
      for (std::int64_t i; (i = next_[n].value.fetch_add(1, std::memory_order_relaxed)) < groups * wide;)
        job.call(job.context, i / wide * job.columns + first + i % wide, who);
    }
  }
  static void* work(void* self) {
    Worker const& worker = *static_cast<Worker const*>(self);
    worker.pool->loop(worker.node, static_cast<int>(&worker - worker.pool->workers_) + 1);
    return nullptr;
  }
  static int processor() {
#if defined(__linux__)
    return sched_getcpu();
#else
    return 0;
#endif
  }
  void loop(int node, int who) {
    unsigned seen = 0;
    for (;;) {
      for (int spins = 0; spins < spin_limit && generation_.load(std::memory_order_relaxed) == seen; ++spins) pause();
      pthread_mutex_lock(&mutex_);
      while (generation_.load(std::memory_order_relaxed) == seen) pthread_cond_wait(&wake_, &mutex_);
      seen = generation_.load(std::memory_order_relaxed);
      bool const over = over_;
      Job* const job = job_;
      if (job) inside_.fetch_add(1, std::memory_order_relaxed);          // under the mutex: the caller cannot miss it
      pthread_mutex_unlock(&mutex_);
      if (over) return;
      if (!job) continue;
      drain(*job, node, who);
      inside_.fetch_sub(1, std::memory_order_release);
    }
  }
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  void stop() {
    if (forks_ != Forks::count) return release();                        // the threads are the parent's
    pthread_mutex_lock(&mutex_);
    over_ = true;
    generation_.fetch_add(1, std::memory_order_release);
    pthread_cond_broadcast(&wake_);
    pthread_mutex_unlock(&mutex_);
    for (int i = 0; i < started_; ++i) pthread_join(workers_[i].thread, nullptr);
    release();
    pthread_mutex_destroy(&mutex_);
    pthread_cond_destroy(&wake_);
  }
  void release() { delete[] workers_, delete[] next_; }

  int size_ = 1, started_ = 0;
  unsigned forks_ = 0;
  Worker* workers_ = nullptr;
  Counter* next_ = nullptr;                      // of each node, the next of its tasks
  Nodes nodes_;
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake_ = PTHREAD_COND_INITIALIZER;
  std::atomic<unsigned> generation_{0};
  std::atomic<int> inside_{0};
  std::atomic<bool> busy_{false};
  Job* job_ = nullptr;
  bool over_ = false;
};

// A shared Pool: copies of a Host use the same threads. (std::shared_ptr would double the cost of the include.)
class PoolRef {
 public:
  explicit PoolRef(int threads, Where at = Where::here()) : shared_(new Shared{threads, at}) {}
  PoolRef(PoolRef const& other) : shared_(other.shared_) { shared_->users.fetch_add(1, std::memory_order_relaxed); }
  PoolRef& operator=(PoolRef const& other) {
    PoolRef copy{other};
    Shared* const mine = shared_;
    shared_ = copy.shared_;
    copy.shared_ = mine;
    return *this;
  }
  ~PoolRef() {
    if (shared_->users.fetch_sub(1, std::memory_order_acq_rel) == 1) delete shared_;
  }
  Pool& operator*() const { return shared_->pool; }
  Pool* operator->() const { return &shared_->pool; }

 private:
  struct Shared {
    Shared(int threads, Where at) : pool(threads, at) {}
    Pool pool;
    std::atomic<int> users{1};
  };
  Shared* shared_;
};

}}}
