// examples/describe_checkpoint.cpp, run as a program: what it prints, what it refuses and in which words.
#include <cstdlib>

#include <fcntl.h>
#include <sys/wait.h>

#include <doctest/doctest.h>

#include "copy.hpp"

namespace {
#define main describe_checkpoint
#include "../../examples/describe_checkpoint.cpp"
#undef main
}

using namespace copies;

namespace {

struct Run { int status; std::string out, error; };
Run run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "describe_checkpoint");
  fs::path const base = fs::temp_directory_path() / ("coterie_describe_" + std::to_string(::getpid()));
  std::string const out = base.string() + ".out", error = base.string() + ".error";
  std::fflush(nullptr);
  ::pid_t const child = ::fork();
  if (child == 0) {
    ::dup2(::open(out.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), 1);
    ::dup2(::open(error.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), 2);
    std::vector<char*> pointers;
    for (std::string& a : arguments) pointers.push_back(a.data());
    int const status = describe_checkpoint(static_cast<int>(pointers.size()), pointers.data());
    std::fflush(nullptr);
    ::_exit(status);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  Run const r{WIFEXITED(status) ? WEXITSTATUS(status) : -1, bytes_of(out), bytes_of(error)};
  fs::remove(out), fs::remove(error);
  return r;
}
void refuses(std::vector<std::string> const& arguments, std::vector<std::string> const& words) {
  Run const r = run(arguments);
  CHECK(r.status == 1);
  CHECK(r.out.empty());                                                        // nothing that could be compiled
  for (std::string const& word : words) CHECK_MESSAGE(r.error.find(word) != std::string::npos, r.error, " lacks ", word);
}
std::string golden(char const* name) { return (goldens() / name).string(); }

}

TEST_CASE("describe_checkpoint: the Config as source, on standard output alone") {
  Run const r = run({golden("mixtral")});
  CHECK(r.status == 0);
  CHECK(r.out == "#pragma once\n#include <coterie/config.hpp>\ninline constexpr coterie::Config layer_config{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256};\n"
                 "inline constexpr int layer_number = 0;\n");
  CHECK(r.error == "mixtral, layer 0 of 1: 8 experts, top-2, hidden 128, ffn 256, bf16 (bf16 weights)\n");
  CHECK(run({golden("deepseek_v3")}).out.ends_with("layer_number = 1;\n"));    // the first that is a mixture
  CHECK(run({golden("deepseek_v3"), "1"}).out == run({golden("deepseek_v3")}).out);
  CHECK(run({}).status == 2);
  CHECK(run({"a", "1", "2"}).status == 2);
}

TEST_CASE("describe_checkpoint: a layer that is no number, that is not there, that is dense") {
  refuses({golden("mixtral"), "abc"}, {"LAYER: got 'abc', want a number of 0 to 0"});
  refuses({golden("deepseek_v3"), "1x"}, {"got '1x', want a number of 0 to 1"});
  refuses({golden("mixtral"), ""}, {"got '', want a number"});
  refuses({golden("mixtral"), "99999999999"}, {"got '99999999999', want a number"});
  refuses({golden("deepseek_v3"), "-1"}, {"layer out of range: got -1, want 0 to 1"});
  refuses({golden("deepseek_v3"), "2"}, {"layer out of range: got 2, want 0 to 1"});
  refuses({golden("deepseek_v3"), "0"}, {"layer 0 is not an MoE layer", "MoE layers: 1"});
}

TEST_CASE("describe_checkpoint: quantised experts as source; what is of no known kind is refused with the tensor, its file and its type") {
  Run const r = run({golden("gpt_oss_mxfp4")});
  CHECK(r.status == 0);
  CHECK(r.out.find(".weights = coterie::DType::mxfp4") != r.out.npos);
  Copy fp8("deepseek_v3"), bytes_only("deepseek_v3");
  fp8.store([](TensorInfo& t, std::string& bytes) { if (t.name.ends_with("_proj.weight")) as_zeros(t, bytes, Stored::f8_e4m3); });
  refuses({fp8.path()}, {"model.safetensors': tensor 'model.layers.1.mlp.experts.0.up_proj.weight' is stored as F8_E4M3 and has no scales beside it"});
  bytes_only.store([](TensorInfo& t, std::string& bytes) { if (t.name.find("shared_experts") != t.name.npos) as_zeros(t, bytes, Stored::u8); });
  refuses({bytes_only.path()}, {"model.safetensors': tensor 'model.layers.1.mlp.shared_experts.gate_proj.weight' is stored as U8, which is not supported yet"});
  refuses({"/nowhere"}, {"/nowhere/config.json", "cannot be opened"});
}
