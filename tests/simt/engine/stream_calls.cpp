// Streams, events, capture and graphs of the emulated runtime.
#include <cuda_runtime_api.h>
#include <algorithm>
#include <set>
#include "runtime.hpp"

namespace simt {
namespace {

std::set<Event*> events;
std::set<Graph*> graphs;
std::set<Executable*> executables;

template <class T, class Handle> T* as(std::set<T*> const& all, Handle handle) {
  T* const p = reinterpret_cast<T*>(handle);
  return all.contains(p) ? p : nullptr;
}
cudaError_t create_stream(cudaStream_t* s, bool blocking) {
  auto const stream = new Stream;
  stream->blocking = blocking;
  streams().push_back(stream);
  *s = reinterpret_cast<cudaStream_t>(stream);
  return cudaSuccess;
}
void join_capture(Stream& s, std::shared_ptr<Capture> const& capture, std::vector<int> const& nodes) {
  if (!s.capture) {
    s.capture = capture;
    s.captured_tail.clear();
    capture->streams.push_back(&s);
  }
  for (int n : nodes)
    if (std::find(s.captured_tail.begin(), s.captured_tail.end(), n) == s.captured_tail.end()) s.captured_tail.push_back(n);
}
// Does every captured node lead to one that the origin has seen?
bool joined_up(Capture const& c) {
  std::vector<bool> reached(c.graph.nodes.size());
  std::vector<int> todo = c.origin->captured_tail;
  while (!todo.empty()) {
    int const n = todo.back();
    todo.pop_back();
    if (reached[static_cast<std::size_t>(n)]) continue;
    reached[static_cast<std::size_t>(n)] = true;
    GraphNode const& node = c.graph.nodes[static_cast<std::size_t>(n)];
    todo.insert(todo.end(), node.follows.begin(), node.follows.end());
    if (node.primary >= 0) todo.push_back(node.primary);
  }
  return std::all_of(reached.begin(), reached.end(), [](bool r) { return r; });
}

}

Live live() {
  return {.allocations = allocation_count(), .pinned = pinned_count(), .streams = static_cast<int>(streams().size()),
          .events = static_cast<int>(events.size()),
          .graphs = static_cast<int>(graphs.size()), .executables = static_cast<int>(executables.size())};
}

}

using namespace simt;
extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* s) { return runtime_call("cudaStreamCreate", [&] { return create_stream(s, true); }); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags) {
  return runtime_call("cudaStreamCreateWithFlags", [&] { return create_stream(s, !(flags & cudaStreamNonBlocking)); });
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned flags, int) {
  return runtime_call("cudaStreamCreateWithPriority", [&] { return create_stream(s, !(flags & cudaStreamNonBlocking)); });
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  return release_call("cudaStreamDestroy", [&]() -> cudaError_t {
    if (!is_stream(s) || &stream_of(s) == &legacy_stream()) return cudaErrorInvalidResourceHandle;
    drain();                                     // its work goes on; so does what must not follow it
    forget_stream(stream_of(s));
    delete &stream_of(s);
    return cudaSuccess;
  });
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  return stream_call("cudaStreamSynchronize", s, [&]() -> cudaError_t {
    if (stream_of(s).capture || capturing_globally()) {
      break_captures();
      return cudaErrorStreamCaptureUnsupported;
    }
    wait_for(everything(stream_of(s)));
    return device_error();
  });
}
cudaError_t cudaStreamQuery(cudaStream_t s) {
  return stream_call("cudaStreamQuery", s, [&]() -> cudaError_t {
    Ops const ops = everything(stream_of(s));
    run_device([turns = 20]() mutable { return turns-- == 0; });
    if (!all_over(ops)) return cudaErrorNotReady;
    wait_for(ops);
    return device_error();
  });
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status) {
  return stream_call("cudaStreamIsCapturing", s, [&] {
    auto const& capture = stream_of(s).capture;
    *status = !capture ? cudaStreamCaptureStatusNone : capture->broken ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  return stream_call("cudaStreamWaitEvent", s, [&]() -> cudaError_t {
    Event* const event = as(events, e);
    if (!event) return cudaErrorInvalidResourceHandle;
    Stream& stream = stream_of(s);
    if (event->capture) {
      join_capture(stream, event->capture, event->captured);
      return cudaSuccess;
    }
    if (stream.capture) return cudaErrorStreamCaptureIsolation;
    for (auto const& op : event->after) stream.tail.push_back(op);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  return runtime_call("cudaEventCreateWithFlags", [&] {
    auto const event = new Event;
    events.insert(event);
    *e = reinterpret_cast<cudaEvent_t>(event);
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  return release_call("cudaEventDestroy", [&]() -> cudaError_t {
    Event* const event = as(events, e);
    if (!event) return cudaErrorInvalidResourceHandle;
    events.erase(event);
    delete event;
    return cudaSuccess;
  });
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  return stream_call("cudaEventRecord", s, [&]() -> cudaError_t {
    Event* const event = as(events, e);
    if (!event) return cudaErrorInvalidResourceHandle;
    Stream const& stream = stream_of(s);
    event->capture = stream.capture;
    event->captured = stream.captured_tail;
    event->after = stream.capture ? Ops{} : everything(stream);
    return cudaSuccess;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  return unsafe_in_capture("cudaEventSynchronize", [&]() -> cudaError_t {
    Event* const event = as(events, e);
    if (!event) return cudaErrorInvalidResourceHandle;
    wait_for(event->after);
    return device_error();
  });
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  return runtime_call("cudaEventQuery", [&]() -> cudaError_t {
    Event* const event = as(events, e);
    if (!event) return cudaErrorInvalidResourceHandle;
    run_device([turns = 20]() mutable { return turns-- == 0; });
    if (!all_over(event->after)) return cudaErrorNotReady;
    wait_for(event->after);
    return device_error();
  });
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  return runtime_call("cudaEventElapsedTime", [&]() -> cudaError_t {
    *milliseconds = 1;                           // there is no clock here; never zero, which would divide badly
    return as(events, from) && as(events, to) ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode) {
  return stream_call("cudaStreamBeginCapture", s, [&]() -> cudaError_t {
    Stream& stream = stream_of(s);
    if (&stream == &legacy_stream()) return cudaErrorStreamCaptureUnsupported;
    if (stream.capture) return cudaErrorIllegalState;
    auto const capture = std::make_shared<Capture>();
    capture->origin = &stream;
    capture->mode = mode;
    join_capture(stream, capture, {});
    return cudaSuccess;
  });
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
  return stream_call("cudaStreamEndCapture", s, [&]() -> cudaError_t {
    Stream& stream = stream_of(s);
    if (graph) *graph = nullptr;
    if (!stream.capture) return cudaErrorIllegalState;
    auto const capture = stream.capture;
    if (capture->origin != &stream) return cudaErrorStreamCaptureUnmatched;
    bool const complete = joined_up(*capture);
    for (Stream* member : capture->streams) member->capture.reset(), member->captured_tail.clear();
    if (capture->broken) return cudaErrorStreamCaptureInvalidated;
    if (!complete) return cudaErrorStreamCaptureUnjoined;
    auto const made = new Graph(capture->graph);
    graphs.insert(made);
    *graph = reinterpret_cast<cudaGraph_t>(made);
    return cudaSuccess;
  });
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long) {
  return runtime_call("cudaGraphInstantiate", [&]() -> cudaError_t {
    Graph* const graph = as(graphs, g);
    if (!graph) return cudaErrorInvalidValue;
    auto const made = new Executable{*graph, {}};
    executables.insert(made);
    *e = reinterpret_cast<cudaGraphExec_t>(made);
    return cudaSuccess;
  });
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long flags) { return cudaGraphInstantiate(e, g, flags); }
cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t*, std::size_t* count) {                         // the count only
  return runtime_call("cudaGraphGetNodes", [&]() -> cudaError_t {
    Graph* const graph = as(graphs, g);
    if (!graph) return cudaErrorInvalidValue;
    *count = graph->nodes.size();
    return cudaSuccess;
  });
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
  return stream_call("cudaGraphLaunch", s, [&]() -> cudaError_t {
    Executable* const executable = as(executables, e);
    if (!executable) return cudaErrorInvalidValue;
    if (stream_of(s).capture) return cudaErrorStreamCaptureUnsupported;
    launch_graph(*executable, stream_of(s));
    after_enqueue();
    return cudaSuccess;
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  return release_call("cudaGraphDestroy", [&]() -> cudaError_t {
    Graph* const graph = as(graphs, g);
    if (!graph) return cudaErrorInvalidValue;
    graphs.erase(graph);
    delete graph;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) {
  return release_call("cudaGraphExecDestroy", [&]() -> cudaError_t {
    Executable* const executable = as(executables, e);
    if (!executable) return cudaErrorInvalidValue;
    executables.erase(executable);
    delete executable;
    return cudaSuccess;
  });
}

}
