// Memory nodes, on a machine that need not have any: found in a tree made for the test, weights shared out among them, and
// a pool whose threads serve their own node first and the others when they have nothing left.
#include <coterie/host/pool.hpp>
#include <doctest/doctest.h>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
namespace {
using namespace coterie;
using host::Nodes;
namespace fs = std::filesystem;

std::string numbers(std::string const& text) {
  std::string all;
  bool const whole = host::parse_list(text, [&](int n) { all += std::to_string(n) + " "; });
  return whole ? all : all + "refused";
}

host::Processors set_of(std::initializer_list<int> processors) {
  host::Processors set;
  CPU_ZERO(&set);
  for (int const p : processors) CPU_SET(static_cast<unsigned>(p), &set);
  return set;
}
host::Processors first_processors(int n) {
  host::Processors set;
  CPU_ZERO(&set);
  for (int p = 0; p < n; ++p) CPU_SET(static_cast<unsigned>(p), &set);
  return set;
}

// A tree like the kernel's.
class Tree {
 public:
  Tree(std::string const& online, std::vector<std::pair<int, std::string>> const& nodes) {
    root_ = fs::temp_directory_path() / ("coterie_nodes_" + std::to_string(::getpid()));
    fs::remove_all(root_), fs::create_directories(root_);
    std::ofstream(root_ / "online") << online;
    for (auto const& [id, list] : nodes) {
      fs::create_directories(root_ / ("node" + std::to_string(id)));
      std::ofstream(root_ / ("node" + std::to_string(id)) / "cpulist") << list;
    }
  }
  Tree(Tree const&) = delete;
  Tree& operator=(Tree const&) = delete;
  ~Tree() { fs::remove_all(root_); }
  Nodes nodes(host::Processors const& allowed) const { return host::nodes(allowed, root_.string()); }

 private:
  fs::path root_;
};

// Nodes of so many processors each, all of which are this machine's.
Nodes made_of(std::initializer_list<int> processors) {
  Nodes nodes;
  nodes.count = 0;
  for (int const n : processors) {
    nodes.before[nodes.count + 1] = nodes.before[nodes.count] + n;
    sched_getaffinity(0, sizeof(host::Processors), &nodes.processors[nodes.count]);
    ++nodes.count;
  }
  return nodes;
}
}

TEST_SUITE("host") {
  TEST_CASE("nodes: the kernel's lists") {
    CHECK(numbers("0\n") == "0 ");
    CHECK(numbers("0-3,8,10-11\n") == "0 1 2 3 8 10 11 ");
    CHECK(numbers("7") == "7 ");
    CHECK(numbers("\n") == "");
    CHECK(numbers("") == "");
    for (char const* bad : {"x", "-1", "3-1", "1-", "1,x", "0 1", "99999999999999", "0-99999999"}) CHECK_MESSAGE(numbers(bad).ends_with("refused"), bad);
  }
  TEST_CASE("nodes: those with processors that the process may use") {
    {
      Tree const two{"0-1\n", {{0, "0-3,8-11\n"}, {1, "4-7,12-15\n"}}};
      Nodes const all = two.nodes(first_processors(16));
      CHECK(all.count == 2);
      CHECK(all.id[1] == 1);
      CHECK(all.before[1] == 8);
      CHECK(all.before[2] == 16);
      CHECK(all.with(0) == 0);
      CHECK(all.with(12) == 1);
      CHECK(all.with(999) == 0);
      CHECK(all.with(-1) == 0);
      Nodes const some = two.nodes(set_of({1, 2, 4}));                   // shares in proportion
      CHECK(some.count == 2);
      CHECK(some.before[2] == 3);
      CHECK(some.first(1, 9) == 6);
      CHECK(two.nodes(set_of({4, 5})).count == 1);                       // bound to one of them
      CHECK(two.nodes(set_of({900})).count == 1);
    }
    {
      Tree const sparse{"0,2,5\n", {{0, "\n"}, {2, "0-1\n"}, {5, "2-3\n"}}};                                  // node 0 has memory only
      Nodes const found = sparse.nodes(first_processors(4));
      CHECK(found.count == 2);
      CHECK(found.id[0] == 2);
      CHECK(found.id[1] == 5);
    }
    CHECK(Tree{"0\n", {{0, "0-1\n"}}}.nodes(first_processors(2)).count == 1);
    CHECK(Tree{"0-1\n", {{0, "0-1\n"}}}.nodes(first_processors(4)).count == 1);                               // half a tree
    CHECK(Tree{"0-1\n", {{0, "0-1\n"}, {1, "2-\n"}}}.nodes(first_processors(4)).count == 1);
    CHECK(Tree{"nodes\n", {{0, "0-1\n"}, {1, "2-3\n"}}}.nodes(first_processors(4)).count == 1);
    CHECK(host::nodes(first_processors(4), "/nowhere").count == 1);
    CHECK(host::nodes().count >= 1);
    CHECK(host::Pool{3}.nodes().count == (host::nodes().count > 1 ? 1 : host::nodes().count));              // two threads a node, or none is bound
  }
  TEST_CASE("nodes: shares are contiguous, complete and in proportion") {
    for (Nodes const& nodes : {made_of({1, 1}), made_of({3, 1}), made_of({8, 8, 8, 8}), made_of({5, 7, 2})})
      for (std::int64_t n : {std::int64_t{0}, std::int64_t{1}, std::int64_t{2}, std::int64_t{7}, std::int64_t{448}, std::int64_t{1} << 60}) {
        CHECK(nodes.first(0, n) == 0);
        CHECK(nodes.first(nodes.count, n) == n);
        for (int i = 0; i < nodes.count; ++i) {
          std::int64_t const first = nodes.first(i, n), end = nodes.first(i + 1, n);
          CHECK(first <= end);
          double const want = static_cast<double>(n) * (nodes.before[i + 1] - nodes.before[i]) / nodes.before[nodes.count];
          CHECK(std::abs(static_cast<double>(end - first) - want) <= 1 + want * 1e-15);
          if (first < end) CHECK(nodes.of(first, n) == i);
          if (first < end) CHECK(nodes.of(end - 1, n) == i);
        }
      }
  }
  TEST_CASE("nodes: every page of a matrix has one node, that of the task that reads most of it") {
    Nodes const nodes = made_of({2, 1, 1});
    for (std::size_t offset : {std::size_t{0}, std::size_t{64}, std::size_t{4096 + 192}})
      for (std::size_t bytes : {std::size_t{64}, std::size_t{4096}, std::size_t{100'000}, std::size_t{6} << 20, std::size_t{230} << 20})
        for (std::size_t task : {std::size_t{64}, std::size_t{32'768}, std::size_t{1} << 20}) {
          auto* const data = reinterpret_cast<std::byte*>((std::size_t{1} << 40) + offset);                  // never touched
          std::intptr_t at = -static_cast<std::intptr_t>(offset % 4096);
          auto const tasks = static_cast<std::int64_t>((bytes + task - 1) / task);
          for (int i = 0; i < nodes.count; ++i) {
            auto const [begin, end] = host::share(nodes, i, data, bytes, task, 4096);
            CHECK(begin == at);
            CHECK(begin <= end);
            CHECK((reinterpret_cast<std::uintptr_t>(data) + static_cast<std::uintptr_t>(begin)) % 4096 == 0);
            std::intptr_t const want = static_cast<std::intptr_t>(nodes.first(i, tasks)) * static_cast<std::intptr_t>(task), page = bytes >= 48u << 20 ? 2 << 20 : 4096;
            CHECK(std::abs(begin - want) < page);
            at = end;
          }
          CHECK(at == static_cast<std::intptr_t>(bytes));
        }
  }
  TEST_CASE("nodes: placing changes no byte, of pages that are there or not, aligned or not") {
    Nodes const nodes = made_of({1, 1});                                 // both are node 0, as far as the kernel is asked
    std::vector<std::byte> memory(std::size_t{5} << 20, std::byte{3});
    auto const before = memory;
    host::place(nodes, memory.data() + 100, memory.size() - 300, 32'768);
    CHECK(memory == before);
    std::memset(memory.data() + 100, 4, memory.size() - 300);
    host::settle(nodes, memory.data() + 100, memory.size() - 300);
    CHECK(memory[99] == std::byte{3});
    CHECK(memory[100] == std::byte{4});
    CHECK(memory[memory.size() - 200] == std::byte{3});
  }

  TEST_CASE("pool of nodes: every task once, whatever the numbers of threads, nodes, columns and groups") {
    for (Nodes const& nodes : {made_of({1, 1}), made_of({3, 1}), made_of({1, 2, 1, 5})})
      for (int threads : {1, 2, 4, 8, 11}) {
        host::Pool pool{threads, nodes};
        CHECK(pool.nodes().count == (threads >= 2 * nodes.count ? nodes.count : 1));
        for (std::int64_t columns : {0, 1, 2, 3, 28, 112})
          for (std::int64_t groups : {1, 2, 9}) {
            std::int64_t const tasks = columns ? groups * columns : groups * 17;
            std::vector<std::atomic<int>> ran(static_cast<std::size_t>(tasks));
            pool.run(tasks, [&](std::int64_t i) { ran[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed); }, columns);
            long wrong = 0;
            for (auto const& n : ran) wrong += n.load() != 1;
            CHECK(wrong == 0);
          }
      }
  }
  TEST_CASE("pool of nodes: a thread begins with its own node's columns, of every group, and then takes the others'") {
    // Four threads, of which 2 and 3 are node 1's. The first two tasks of each node wait for each other, so that each node's
    // are taken by its threads; then node 0's wait until all others have run: node 1's, and those stolen from node 0.
    host::Pool pool{4, made_of({2, 2})};
    constexpr std::int64_t columns = 6, groups = 4;
    std::atomic<int> inside{0}, ran_of_1{0}, stolen{0};
    std::mutex mutex;
    std::vector<std::pair<std::thread::id, std::int64_t>> order;
    pool.run(groups * columns, [&](std::int64_t i) {
      {
        std::lock_guard const lock{mutex};
        order.emplace_back(std::this_thread::get_id(), i);
      }
      bool const node_1 = i % columns >= 3;
      if (inside.fetch_add(1) < 4)
        while (inside.load() < 4) std::this_thread::yield();
      if (!node_1 && i < 2)
        while (ran_of_1.load() < groups * 3 || stolen.load() < groups * 3 - 2) std::this_thread::yield();
      else if (!node_1) ++stolen;
      if (node_1) ++ran_of_1;
    }, columns);
    REQUIRE(order.size() == groups * columns);
    std::vector<std::thread::id> of_1;                                   // threads that began with node 1
    for (int k = 0; k < 4; ++k)
      if (order[static_cast<std::size_t>(k)].second % columns >= 3) of_1.push_back(order[static_cast<std::size_t>(k)].first);
    CHECK(of_1.size() == 2);
    int by_others = 0;
    bool own_first = true, in_order = true;
    std::vector<std::int64_t> taken_from_0(2, 0), last(2, -1);
    for (auto const& [thread, i] : order) {
      bool const mine = thread == of_1[0] || thread == of_1[1], node_1 = i % columns >= 3;
      std::size_t const which = thread == of_1[1];
      by_others += node_1 && !mine;
      if (mine && !node_1) ++taken_from_0[which];
      if (mine && node_1) own_first = own_first && taken_from_0[which] == 0, in_order = in_order && i > last[which], last[which] = i;
    }
    CHECK(in_order);                                                     // group by group
    CHECK(own_first);
    CHECK(by_others == 0);                                               // node 0's threads had tasks of their own all along
    CHECK(taken_from_0[0] + taken_from_0[1] == groups * 3 - 2);
  }
  TEST_CASE("pool of nodes: nested and concurrent callers, and threads that sleep") {
    host::Pool pool{4, made_of({1, 1})};
    std::atomic<int> leaves{0};
    std::vector<std::thread> callers;
    for (int c = 0; c < 3; ++c)
      callers.emplace_back([&] {
        for (int round = 0; round < 20; ++round) pool.run(6, [&](std::int64_t) { pool.run(4, [&](std::int64_t) { ++leaves; }, 2); }, 3);
      });
    for (auto& t : callers) t.join();
    CHECK(leaves == 3 * 20 * 6 * 4);
    for (int round = 0; round < 3; ++round) {
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
      pool.run(40, [&](std::int64_t) { ++leaves; }, 10);
    }
    CHECK(leaves == 3 * 20 * 6 * 4 + 120);
  }
}
#endif
