// A language model that routes: the small model that main.cpp trained chooses the experts of a larger model's layers, four times as wide.
// Beside it, trained on the same text for as many steps: the larger model with a router of its own, and with experts by the byte's number.
//   examples/run.sh --train runs it after main.cpp;   train_lm_routes [CHECKPOINT [STEPS [--text FILE...]]]: the files that main.cpp was given
#include "../recorded.hpp"
#include "../stages.hpp"
#include "train.hpp"
#include <thread>

namespace {

using namespace lm;

constexpr ct::Config wide(ct::RouterInput from) {
  ct::Config c = layer(mixture.experts, mixture.top_k, 4 * mixture.ffn);
  c.router.input = from;
  return c;
}
constexpr ct::Config own_router = wide(ct::RouterInput::hidden), followed = wide(ct::RouterInput::given);

std::unique_ptr<Model> trained_model(ct::Host const& on, fs::path const& folder) {
  auto model = std::make_unique<Model>(1, [&](Parameters& to, int l) { return std::make_unique<Mixture<trained>>(on, to, l, tokens, Balancing::none); });
  ct::Safetensors const file{(folder / "model.safetensors").string()};
  for (Tensor const& t : model->parameters.tensors()) {
    auto const values = example::read<float>(file, t.name);
    ct::require(values.size() == t.size(), "train_lm_routes: a tensor's size (was the checkpoint made by another train_lm?)", std::int64_t(values.size()), std::int64_t(t.size()));
    std::copy(values.begin(), values.end(), model->parameters.value(t.first));
  }
  for (int l = 0; l < layers; ++l) model->ffn(l).refresh();
  return model;
}

// The larger layer with the small model as its router stage, for inference: token_ids in, its layer's choices out.
template <ct::Config C> struct LanguageRouter {
  Model* model;
  int layer;
  void operator()(ct::Host const&, ct::Inputs<C> const& in, ct::PackedView<C, ct::Host>, ct::Routing<C> const& routing, std::span<std::byte>) const {
    ct::require(in.x.rows == tokens, "LanguageRouter: tokens of a batch", in.x.rows, tokens);
    std::vector<std::uint8_t> const text(in.token_ids, in.token_ids + tokens);
    model->forward(text.data(), text.data());                                              // the loss is of no use here
    Choices const& of = model->ffn(layer).choices();
    std::copy(of.expert.begin(), of.expert.end(), routing.expert.data), std::copy(of.weight.begin(), of.weight.end(), routing.weight.data);
  }
};
template <ct::Config C> struct LanguageStages : ct::Stages<C, ct::Host> { LanguageRouter<C> router; };

// What that gives, against the same choices given: the same bits?
bool same_bits(ct::Host const& on, Model& router, Corpus const& corpus) {
  std::vector<std::uint8_t> input(tokens), target(tokens);
  for (int i = 0; i < sequences; ++i) corpus.held_out(i, sequences, context, input.data() + i * context, target.data() + i * context);
  std::vector<std::int32_t> const ids(input.begin(), input.end());
  auto const packed = example::random_layer<followed>(on, 5, [](int) {});
  auto const x = example::random_values<float>(on, std::int64_t{tokens} * hidden, 6, 1.f);
  std::vector<float> staged(x.size()), given(x.size());                                    // [T,H]
  ct::Layer<followed, ct::Host, LanguageStages<followed>> const with_stage{packed.view(), {{}, {&router, 1}}};
  ct::Layer<followed, ct::Host> const plain{packed.view()};
  std::vector<std::byte> workspace(std::max(with_stage.workspace_bytes(on, tokens), plain.workspace_bytes(on, tokens)));
  ct::Inputs<followed> in{.x = ct::rows<hidden>(x.data(), tokens), .token_ids = ids.data()};
  with_stage.forward(on, in, ct::rows<hidden>(staged.data(), tokens), workspace);
  Choices choices = router.ffn(1).choices();
  in.routing = {.expert = {choices.expert.data(), tokens}, .weight = {choices.weight.data(), tokens}};
  plain.forward(on, in, ct::rows<hidden>(given.data(), tokens), workspace);
  return staged == given;
}

struct Way { char const* name; ct::Config config; };
constexpr Way ways[] = {{"a router of its own, learned", own_router}, {"the trained language model", followed}, {"the byte's number (hash)", followed}};

Run train_by(ct::Host const& on, std::size_t way, fs::path const& folder, Corpus const& corpus, int steps) {
  auto const router = trained_model(on, folder);
  Choices by_byte[layers];
  for (Choices& c : by_byte) c.expert.resize(tokens * mixture.top_k), c.weight.assign(tokens * mixture.top_k, 0.5f);
  Model model{1, [&](Parameters& to, int l) -> std::unique_ptr<Ffn> {
    if (way == 0) return std::make_unique<Mixture<own_router>>(on, to, l, tokens, Balancing::auxiliary_loss);
    return std::make_unique<Mixture<followed>>(on, to, l, tokens, Balancing::none, way == 1 ? &router->ffn(l).choices() : &by_byte[l]);
  }};
  if (way == 1) model.before = [&](std::uint8_t const* input, std::uint8_t const* target) { router->forward(input, target); };
  if (way == 2)
    model.before = [&](std::uint8_t const* input, std::uint8_t const*) {
      for (Choices& c : by_byte)
        for (std::size_t t = 0; t < tokens; ++t) c.expert[2 * t] = input[t] % 16, c.expert[2 * t + 1] = (input[t] % 16 + 1 + input[t] / 16 % 15) % 16;
    };
  Plan const plan{.flops = cost(own_router).flops * tokens * steps, .points = 8};
  Variant const variant{ways[way].name, ways[way].config, Balancing::none};
  return train(model, variant, 1, plan, corpus, [](Run const&) {});
}

}

int main(int count, char** arguments) try {
  fs::path const folder = count > 1 ? arguments[1] : "build/train_lm/checkpoint";
  int const steps = count > 2 ? std::atoi(arguments[2]) : 400;
  if (count > 3 && (std::string(arguments[3]) != "--text" || count == 4)) ct::fail(std::string("train_lm_routes: got ") + arguments[3] + ", want --text FILE...");
  if (!fs::exists(folder / "model.safetensors")) ct::fail("train_lm_routes: no checkpoint in " + folder.string() + "; examples/run.sh --train makes one");
  ct::Host const on{.threads = 1};
  Corpus const corpus = count > 3 ? Corpus::of_files({arguments + 4, arguments + count}) : Corpus::of_this_machine();
  for (std::string const& name : corpus.missing()) std::printf("%-10s is missing or too short; the run goes on without it\n", name.c_str());
  if (corpus.sources().empty()) ct::fail("train_lm_routes: no text found; give some with --text FILE...");
  auto const router = trained_model(on, folder);
  bool const same = same_bits(on, *router, corpus);
  std::printf("The trained model as the router stage of a layer: %s as with its choices given\n", same ? "the same bits" : "NOT the same bits");
  if (!same) return 1;
  std::printf("A model with experts of %d, four times as wide as the router's; %d steps each; loss on held-out text\n  %-30s", own_router.ffn, steps, "experts are chosen by");
  Run runs[std::size(ways)];
  std::string failed[std::size(ways)];
  std::vector<std::thread> threads;
  for (std::size_t w = 0; w < std::size(ways); ++w)
    threads.emplace_back([&, w] {
      try {
        runs[w] = train_by(on, w, folder, corpus, steps);
      } catch (std::exception const& e) {
        failed[w] = e.what();
      }
    });
  for (std::thread& t : threads) t.join();
  for (std::string const& why : failed)
    if (!why.empty()) ct::fail(why);
  for (Point const& p : runs[0].points) std::printf(" %6d", p.step);
  std::puts("   at the end   MaxVio   dead");
  for (Run const& r : runs) {
    std::printf("  %-30s", r.variant.name);
    for (Point const& p : r.points) std::printf(" %6.3f", p.held_out);
    std::printf("   %10.3f   %6.2f   %d of %d\n", r.final_loss, r.points.back().max_violation, r.points.back().dead, layers * own_router.experts);
  }
  std::printf("  the language model's routing costs %.2f MFLOP a byte, the larger model %.2f forwards, a linear router %.4f\n", cost(mixture).flops / 3e6, cost(own_router).flops / 3e6,
              2. * layers * hidden * own_router.experts / 1e6);
} catch (ct::Error const& e) {
  return std::fprintf(stderr, "%s\n", e.what()), 1;
}
