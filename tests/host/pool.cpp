// The thread pool: every task once, whoever calls from wherever, and no thread left behind.
#include <coterie/backend.hpp>
#include <doctest/doctest.h>
#include <memory>
#include <sys/wait.h>
#include <thread>
#include <vector>

namespace {
using namespace coterie;
using host::Pool;

// How often each of `tasks` tasks ran, summed up as the number that did not run exactly once.
long missed(Pool& pool, std::int64_t tasks) {
  std::vector<std::atomic<int>> ran(static_cast<std::size_t>(tasks));
  pool.run(tasks, [&](std::int64_t i) { ran[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed); });
  long wrong = 0;
  for (auto const& n : ran) wrong += n.load() != 1;
  return wrong;
}
}

TEST_SUITE("host") {
  TEST_CASE("pool: all tasks run, each once, and are done when run returns") {
    for (int threads : {1, 2, 3, 5, 16}) {
      Pool pool{threads};
      CHECK(pool.size() == threads);
      for (std::int64_t tasks : {1, 2, 3, 7, 64, 1000, 20000}) CHECK(missed(pool, tasks) == 0);
    }
  }
  TEST_CASE("pool: plain writes of tasks are seen by the caller") {
    Pool pool{4};
    for (int round = 0; round < 300; ++round) {
      std::vector<int> values(50, -1);
      pool.run(50, [&](std::int64_t i) { values[static_cast<std::size_t>(i)] = round + static_cast<int>(i); });
      long wrong = 0;
      for (int i = 0; i < 50; ++i) wrong += values[static_cast<std::size_t>(i)] != round + i;
      REQUIRE(wrong == 0);
    }
  }
  TEST_CASE("pool: no tasks, no call") {
    Pool pool{3};
    int calls = 0;
    pool.run(0, [&](std::int64_t) { ++calls; });
    pool.run(-5, [&](std::int64_t) { ++calls; });
    CHECK(calls == 0);
  }
  TEST_CASE("pool: more threads than tasks, more tasks than 2^31 are counted in 64 bits") {
    Pool pool{8};
    CHECK(missed(pool, 2) == 0);
    Pool one{1};
    std::int64_t last = 0, sum = 0;
    one.run(100, [&](std::int64_t i) { last = i, sum += i; });           // on one thread: in order
    CHECK(last == 99);
    CHECK(sum == 4950);
    static_assert(std::is_same_v<decltype(last), std::int64_t>);
  }
  TEST_CASE("pool: concurrent callers all finish, each with its own tasks") {
    Pool pool{3};
    std::atomic<long> wrong{0};
    std::vector<std::thread> callers;
    for (int c = 0; c < 6; ++c)
      callers.emplace_back([&] {
        for (int round = 0; round < 50; ++round) wrong += missed(pool, 1 + round * 7);
      });
    for (auto& t : callers) t.join();
    CHECK(wrong == 0);
  }
  TEST_CASE("pool: a task may run the same pool, three deep") {
    Pool pool{4};
    std::atomic<int> leaves{0};
    pool.run(6, [&](std::int64_t) {
      pool.run(5, [&](std::int64_t) { pool.run(4, [&](std::int64_t) { ++leaves; }); });
    });
    CHECK(leaves == 6 * 5 * 4);
  }
  TEST_CASE("pool: tasks of one pool run another one") {
    Pool outer{3}, inner{3};
    std::atomic<int> leaves{0};
    outer.run(9, [&](std::int64_t) { inner.run(11, [&](std::int64_t) { ++leaves; }); });
    CHECK(leaves == 99);
  }
  TEST_CASE("pool: made and destroyed in any order, used or not, without a thread left waiting") {
    for (int round = 0; round < 40; ++round) {
      Pool unused{4}, used{3};
      CHECK(missed(used, 20) == 0);
    }
    std::vector<std::unique_ptr<Pool>> many;
    for (int i = 0; i < 12; ++i) many.push_back(std::make_unique<Pool>(1 + i % 4));
    for (auto& p : many) CHECK(missed(*p, 33) == 0);
    many.erase(many.begin(), many.begin() + 6);
    for (auto& p : many) CHECK(missed(*p, 33) == 0);
  }
  TEST_CASE("pool: workers that sleep wake up again") {
    Pool pool{3};
    for (int round = 0; round < 3; ++round) {
      CHECK(missed(pool, 100) == 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(3));         // longer than they spin
    }
  }
  TEST_CASE("Host: copies share one pool, which lives as long as the last of them") {
    std::unique_ptr<Host> first = std::make_unique<Host>(Host{.threads = 3});
    Host copy = *first, other{.threads = 2};
    CHECK(&*copy.pool == &*first->pool);
    CHECK(&*copy.pool != &*other.pool);
    first.reset();
    CHECK(missed(*copy.pool, 100) == 0);
    other = copy;
    CHECK(&*other.pool == &*copy.pool);
    Host const& self = other;
    other = self;
    CHECK(missed(*other.pool, 100) == 0);
    CHECK(other.pool->size() == 3);
  }
  TEST_CASE("Host: 0 threads are all processors, a negative number is refused") {
    CHECK(Host{}.pool->size() == host::processors());
    CHECK(host::processors() >= 1);
    CHECK_THROWS_WITH_AS((void)Host{.threads = -1}, doctest::Contains("threads must not be negative"), Error);
    CHECK_THROWS_WITH_AS((void)Pool{-7}, doctest::Contains("got -7"), Error);
  }
#if !defined(__SANITIZE_THREAD__)                  // which does not follow a fork of several threads
  TEST_CASE("pool: a forked child may use and destroy its copy of a Host") {
    auto on = std::make_unique<Host>(Host{.threads = 3});
    CHECK(missed(*on->pool, 100) == 0);
    pid_t const child = fork();
    if (child == 0) {
      alarm(20);                                                         // a hang ends in a signal, and the check below fails
      long const wrong = missed(*on->pool, 100);
      on.reset();
      _exit(wrong == 0 ? 0 : 1);
    }
    REQUIRE(child > 0);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(missed(*on->pool, 100) == 0);                                  // the parent's threads are untouched
  }
  TEST_CASE("pool: a child does not wait for what a parent's thread held at the fork") {
    Pool pool{8};
#if defined(__SANITIZE_ADDRESS__)                  // whose forks are slow
    constexpr int forks = 40;
#else
    constexpr int forks = 400;
#endif
    for (int i = 0; i < forks; ++i) {
      CHECK(missed(pool, 64) == 0);
      for (int spins = 0; spins < i * 16; ++spins) sched_yield();
      pid_t const child = fork();
      if (child == 0) {
        alarm(20);
        _exit(missed(pool, 64) == 0 ? 0 : 1);
      }
      REQUIRE(child > 0);
      int status = -1;
      REQUIRE(waitpid(child, &status, 0) == child);
      REQUIRE(WIFEXITED(status));
      REQUIRE(WEXITSTATUS(status) == 0);
    }
  }
#endif
}
