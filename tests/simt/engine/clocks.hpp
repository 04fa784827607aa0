// Vector clocks. Inside a block an agent is a thread or something asynchronous; an access at time t of an agent is ordered before
// everything of a thread that knows the agent's clock to be at least t.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

namespace simt {

struct Thread;
struct Block;

using Clock = std::vector<std::uint32_t>;        // by agent: the block's threads, then the asynchronous ones
using View = std::shared_ptr<Clock const>;
// Clocks of several blocks, by serial number of the block: what passes between blocks through fences and atomics.
using Published = std::shared_ptr<std::map<std::uint32_t, Clock> const>;

// Asynchronous agents follow the threads: TMA loads by mbarrier, products by warp, TMA stores (reading, then writing) by thread, and
// one that stands for the kernels before, known once grid_dependency_wait() returned.
inline constexpr unsigned load_agents = 32, product_agents = 32, store_agents = 8;
inline constexpr unsigned first_load = 0, first_product = load_agents, first_store_read = first_product + product_agents,
                          first_store_write = first_store_read + store_agents, dependency = first_store_write + store_agents,
                              async_agents = dependency + 1;

void join(Clock& into, Clock const& from);
View joined(View const& a, View const& b);
Published joined(Published const& a, Published const& b);
inline std::uint32_t known(Thread const&, unsigned agent);                 // engine.hpp
void learn(Thread&, unsigned agent, std::uint32_t time);
// Everything these threads did or know is known to all of them afterwards. whole: they are all threads of the block that run.
void order(Block&, Thread* const* threads, std::size_t count, bool whole, Clock const* more = nullptr);
// Adds what the thread did and knows to `into`; what it does next is later.
void release(Thread&, Clock& into);
void acquire(Thread&, View const&);

}
