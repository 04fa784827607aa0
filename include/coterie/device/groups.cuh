// Ragged groups of rows, and the tiles that cover them. Sizes live on the device: a grid is sized from a bound alone, and a
// block that finds no tile has nothing to do.
#pragma once
#include "ptx.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Rows [begin[g], begin[g + 1]) belong to group g of [first, first + count). begin null: one group of `rows` rows.
struct Groups {
  std::int32_t const* begin = nullptr;
  int first = 0, count = 1;
  std::int64_t rows = 0;                         // at most so many in all
  int all = 0;                                   // groups that share the rows, of which a shard multiplies `count`; 0: no others

  // What is chosen by rows a group counts these groups, so that a shard chooses what all of them would.
  constexpr std::int64_t sharing() const { return all ? all : count; }
  // At most so many tiles of `height` rows.
  constexpr std::int64_t tiles(std::int64_t height) const { return begin ? rows / height + (rows < count ? rows : count) : (rows + height - 1) / height; }
};

struct Tile {
  int group = -1;                                // -1: there are no more tiles
  int column = 0;                                // of the tile, in tiles
  std::int64_t first = 0, end = 0;               // its rows, up to the end of the group (which may be further than a tile)
};

// Finds tiles by their number: group by group, in a group column by column, in a column from the first row on, so that tiles
// of neighbouring numbers read the same weights. Numbers only grow, so all calls together look at every group once. A whole
// warp calls, and every lane gets the answer. (A list of tiles would have to be written behind dispatch, whose Batch has none, and for each
// height: a launch more, where this is a load and a prefix sum for 32 groups. Not yet measured on a GPU.)
class TileWalk {
 public:
  // Tiles of `height` rows; `columns` of them side by side.
  COTERIE_DEVICE TileWalk(Groups const& groups, int height, int columns) : groups_(groups), height_(height), columns_(columns) {}

  COTERIE_DEVICE Tile operator()(std::int64_t number) {
    if (!groups_.begin) return place(number, 0, 0, groups_.rows);
    int const lane = static_cast<int>(threadIdx.x % 32);
    for (; base_ < groups_.count; base_ += 32) {
      int const g = base_ + lane;
      std::int32_t from = 0, to = 0;
      if (g < groups_.count) from = groups_.begin[groups_.first + g], to = groups_.begin[groups_.first + g + 1];
      std::int64_t const mine = std::int64_t{high(from, to)} * columns_;
      std::int64_t sum = mine;                   // inclusive
      for (int by = 1; by < 32; by *= 2) {
        std::int64_t const below = __shfl_up_sync(~0u, sum, by);
        if (lane >= by) sum += below;
      }
      std::int64_t const all = __shfl_sync(~0u, sum, 31), at = number - before_;
      if (at >= all) {
        before_ += all;
        continue;
      }
      int const owner = __ffs(static_cast<int>(__ballot_sync(~0u, at < sum))) - 1;
      return place(at - __shfl_sync(~0u, sum - mine, owner), groups_.first + base_ + owner, __shfl_sync(~0u, from, owner), __shfl_sync(~0u, to, owner));
    }
    return {};
  }

 private:
  COTERIE_DEVICE int high(std::int64_t from, std::int64_t to) const { return static_cast<int>((to - from + height_ - 1) / height_); }
  // Tile `at` of the group with rows [from, to).
  COTERIE_DEVICE Tile place(std::int64_t at, int group, std::int64_t from, std::int64_t to) const {
    int const tall = high(from, to);
    if (at >= std::int64_t{tall} * columns_) return {};
    return {group, static_cast<int>(at / tall), from + at % tall * height_, to};
  }

  Groups groups_;
  int height_, columns_, base_ = 0;
  std::int64_t before_ = 0;                      // tiles of the groups before base_
};

}}}}
