// Streams, events and graphs of the emulated runtime.
#pragma once
#include <memory>
#include <vector>
#include "engine.hpp"

namespace simt {

struct Capture;
using Ops = std::vector<std::shared_ptr<Op>>;

struct Stream {
  bool blocking = true;                          // waits for the legacy default stream, and that one for it
  Ops tail;                                      // what the next operation follows
  std::shared_ptr<Capture> capture;
  std::vector<int> captured_tail;
};
struct Event {
  Ops after;
  std::shared_ptr<Capture> capture;
  std::vector<int> captured;
};
struct GraphNode {
  std::shared_ptr<Work const> work;
  std::vector<int> follows;
  int primary = -1;
};
struct Graph { std::vector<GraphNode> nodes; };
struct Capture {
  Graph graph;
  Stream* origin = nullptr;
  bool broken = false;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::vector<Stream*> streams;
};
struct Executable {
  Graph graph;
  Ops last;                                      // of its latest launch: launches of one executable follow each other
};

Stream& stream_of(cudaStream_t);
bool is_stream(cudaStream_t);
std::shared_ptr<Op> enqueue(Stream&, std::shared_ptr<Work const>, bool programmatic);
void launch_graph(Executable&, Stream&);
Ops everything(Stream const&);                   // a host that waits for it waits for these
void wait_for(Ops const&);                       // by the host
bool all_over(Ops const&);
void forget_stream(Stream&);
Stream& legacy_stream();
std::vector<Stream*>& streams();
bool capturing_globally();                       // somebody captures, and forbids calls that are not safe then
void break_captures();
void after_enqueue();                            // queued work may begin
void host_waits_for_everything();

// runtime.cpp
cudaError_t device_error();
void set_device_error(cudaError_t);
void clear_device_error();
struct RunsFibers {                              // while it lives, memory hooks of this OS thread are the running fiber's
  RunsFibers();
  ~RunsFibers();
  RunsFibers(RunsFibers const&) = delete;
  RunsFibers& operator=(RunsFibers const&) = delete;
};
bool this_thread_runs_fibers();
void note_sync(Sync&);
void block_triggers(Block&);

}
