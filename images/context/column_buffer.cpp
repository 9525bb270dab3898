// The proof that Caffe's convolutions give the right scores and gradients
// however the column buffer is shared.
//
// Every mode compares nets with a reference that ran alone in one thread:
//   threads   N threads at once, each with a net of its own
//   handover  forward in one thread and backward in another, two nets in turn
//   devices   one thread that switches between devices (-1 is the CPU)
//   memory    whether layers share: the growth of memory against what their
//             buffers would take together
// One line of JSON says what was wrong. Exit code 0: nothing; 1: something.
// Link with caffe, glog, protobuf, boost_thread, boost_system (and cudart).
// C++98 like Caffe itself, for the compilers of old CUDA releases.

#include <boost/bind/bind.hpp>
#include <boost/ref.hpp>
#include <boost/shared_ptr.hpp>
#include <boost/thread.hpp>
#include <glog/logging.h>
#include <google/protobuf/text_format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "caffe/caffe.hpp"

using caffe::Blob;
using caffe::Caffe;
using std::string;
using std::vector;

typedef caffe::Net<float> Net;
typedef vector<vector<float> > Numbers;

// What the layer's own column buffer would take; 0: it needs none
// (column_bytes.cpp).
double ColumnBytes(caffe::Layer<float>* layer);

struct Options {
  Options() : threads(2), passes(40), device(-1), tolerance(1e-3) {}
  string mode, net;
  int threads, passes, device;
  vector<int> devices;
  double tolerance;
};

// ---- nets -----------------------------------------------------------------

// An input of zeros (filled later: constants are not drawn again), and a loss.
string Input(const string& name, const string& shape) {
  return "layer { name: '" + name + "' type: 'DummyData' top: '" + name +
      "' dummy_data_param { shape { " + shape + " } } }\n";
}

string Conv(const string& bottom, const string& top, const string& param,
            const string& type = "Convolution") {
  return "layer { name: '" + top + "' type: '" + type + "' bottom: '" + bottom +
      "' top: '" + top + "' convolution_param { " + param +
      " weight_filler { type: 'gaussian' std: 0.1 }"
      " bias_filler { type: 'gaussian' std: 0.1 } } }\n";
}

string Loss(const string& bottom) {
  return "layer { name: 'loss_" + bottom + "' type: 'Reduction' bottom: '" +
      bottom + "' top: 'loss_" + bottom + "' loss_weight: 0.01"
      " reduction_param { operation: SUMSQ } }\n";
}

// Shapes that differ from layer to layer: plain, dilated, in groups, 1x1,
// 2-D as N-D, deconvolution, and 3-D.
string MixedNet() {
  return "name: 'mixed' force_backward: true\n" +
      Input("data", "dim: 2 dim: 6 dim: 45 dim: 39") +
      Conv("data", "plain", "num_output: 12 kernel_size: 3 pad: 1") +
      Conv("plain", "dilated", "num_output: 8 kernel_size: 3 dilation: 2") +
      Conv("dilated", "grouped",
           "num_output: 12 kernel_size: 5 stride: 2 group: 2") +
      Conv("grouped", "pointwise", "num_output: 9 kernel_size: 1") +
      Conv("pointwise", "as_nd",
           "num_output: 7 kernel_size: 3 pad: 1 force_nd_im2col: true") +
      Conv("as_nd", "up", "num_output: 5 kernel_size: 4 stride: 2",
           "Deconvolution") +
      Loss("up") +
      Input("volume", "dim: 2 dim: 2 dim: 9 dim: 11 dim: 10") +
      Conv("volume", "solid", "num_output: 4 kernel_size: 3 pad: 1") +
      Conv("solid", "solid_up", "num_output: 3 kernel_size: 2 stride: 2",
           "Deconvolution") +
      Loss("solid_up");
}

// Another, larger at the start and with other channels.
string OtherNet() {
  return "name: 'other' force_backward: true\n" +
      Input("data", "dim: 1 dim: 3 dim: 61 dim: 70") +
      Conv("data", "first", "num_output: 20 kernel_size: 7 stride: 2 pad: 3") +
      Conv("first", "second", "num_output: 10 kernel_size: 3") + Loss("second");
}

// Layers whose buffers are far larger than what they compute.
string DeepNet() {
  string text = "name: 'deep' force_backward: true\n" +
      Input("data", "dim: 1 dim: 8 dim: 200 dim: 200");
  string last = "data";
  for (int i = 1; i <= 8; ++i) {
    std::ostringstream name;
    name << "conv" << i;
    text += Conv(last, name.str(), "num_output: 8 kernel_size: 5 pad: 2");
    last = name.str();
  }
  return text + Loss(last);
}

// ---- one net in one thread ------------------------------------------------

void Use(int device) {
#ifndef CPU_ONLY
  if (device >= 0) {
    Caffe::SetDevice(device);
    Caffe::set_mode(Caffe::GPU);
    return;
  }
#endif
  Caffe::set_mode(Caffe::CPU);
}

boost::shared_ptr<Net> Build(const string& text) {
  caffe::NetParameter param;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &param)) << text;
  param.mutable_state()->set_phase(caffe::TRAIN);
  return boost::shared_ptr<Net>(new Net(param));
}

// The same numbers in every net: they follow from the place alone.
void FillBlob(Blob<float>* blob, float scale) {
  float* data = blob->mutable_cpu_data();
  for (int i = 0; i < blob->count(); ++i) {
    data[i] = scale * std::sin(0.7 * i + 0.3 * (i % 11));
  }
}

void Fill(Net* net) {
  for (size_t i = 0; i < net->layers().size(); ++i) {
    if (string(net->layers()[i]->type()) == "DummyData") {
      FillBlob(net->top_vecs()[i][0], 1);
    }
  }
  for (size_t i = 0; i < net->params().size(); ++i) {
    FillBlob(net->params()[i].get(), 0.2);
  }
}

void Take(const Blob<float>& blob, bool gradient, Numbers* numbers) {
  const float* data = gradient ? blob.cpu_diff() : blob.cpu_data();
  numbers->push_back(vector<float>(data, data + blob.count()));
}

Numbers Scores(const Net& net) {
  Numbers numbers;
  for (size_t i = 0; i < net.blobs().size(); ++i) {
    Take(*net.blobs()[i], false, &numbers);
  }
  return numbers;
}

// Of the parameters, and of the inputs.
Numbers Gradients(const Net& net) {
  Numbers numbers;
  for (size_t i = 0; i < net.params().size(); ++i) {
    Take(*net.params()[i], true, &numbers);
  }
  for (size_t i = 0; i < net.layers().size(); ++i) {
    if (string(net.layers()[i]->type()) == "DummyData") {
      Take(*net.top_vecs()[i][0], true, &numbers);
    }
  }
  return numbers;
}

void Forward(Net* net) { net->ForwardFromTo(0, net->layers().size() - 1); }

void Backward(Net* net) {
  for (size_t i = 0; i < net->params().size(); ++i) {
    Blob<float>* blob = net->params()[i].get();
    caffe::caffe_set(blob->count(), 0.f, blob->mutable_cpu_diff());
  }
  net->Backward();
}

struct Reference {
  explicit Reference(const string& text, int device) : text(text) {
    Use(device);
    boost::shared_ptr<Net> net = Build(text);
    Fill(net.get());
    Forward(net.get());
    Backward(net.get());
    scores = Scores(*net);
    gradients = Gradients(*net);
  }
  string text;
  Numbers scores, gradients;
};

// Whether some number is off by more than the tolerance times the largest.
// Written so that NaN is wrong.
bool Differs(const Numbers& found, const Numbers& wanted, double tolerance) {
  for (size_t i = 0; i < wanted.size(); ++i) {
    double largest = 0;
    for (size_t j = 0; j < wanted[i].size(); ++j) {
      largest = std::max(largest, std::fabs(double(wanted[i][j])));
    }
    for (size_t j = 0; j < wanted[i].size(); ++j) {
      if (!(std::fabs(double(found[i][j]) - wanted[i][j])
            <= tolerance * largest)) {
        return true;
      }
    }
  }
  return false;
}

struct Count {
  Count() : passes(0), forward(0), gradient(0) {}
  void Add(const Net& net, const Reference& reference, double tolerance) {
    const bool bad_scores = Differs(Scores(net), reference.scores, tolerance);
    const bool bad_gradients =
        Differs(Gradients(net), reference.gradients, tolerance);
    boost::mutex::scoped_lock lock(mutex);
    ++passes;
    forward += bad_scores;
    gradient += bad_gradients;
  }
  int Report(const Options& options, int threads) {
    std::printf("{\"mode\": \"%s\", \"device\": %d, \"threads\": %d, "
                "\"passes\": %d, \"wrong_forward\": %d, "
                "\"wrong_gradient\": %d}\n", options.mode.c_str(),
                options.device, threads, passes, forward, gradient);
    return forward || gradient ? 1 : 0;
  }
  int passes, forward, gradient;
  boost::mutex mutex;
};

// ---- modes ----------------------------------------------------------------

void RunPasses(const Reference& reference, const Options& options,
               boost::barrier* together, Count* count) {
  Use(options.device);
  boost::shared_ptr<Net> net = Build(reference.text);
  Fill(net.get());
  together->wait();
  for (int i = 0; i < options.passes; ++i) {
    Forward(net.get());
    Backward(net.get());
    count->Add(*net, reference, options.tolerance);
  }
}

int Threads(const Options& options) {
  const Reference reference(MixedNet(), options.device);
  Count count;
  boost::barrier together(options.threads);
  boost::thread_group group;
  for (int i = 0; i < options.threads; ++i) {
    group.create_thread(boost::bind(&RunPasses, boost::cref(reference),
        boost::cref(options), &together, &count));
  }
  group.join_all();
  return count.Report(options, options.threads);
}

void BothForward(int device, Net* first, Net* second) {
  Use(device);
  Forward(first);
  Forward(second);
}

void BothBackward(int device, Net* first, Net* second) {
  Use(device);
  Backward(first);
  Backward(second);
}

int Handover(const Options& options) {
  const Reference mixed(MixedNet(), options.device);
  const Reference other(OtherNet(), options.device);
  boost::shared_ptr<Net> one = Build(mixed.text), two = Build(other.text);
  Fill(one.get());
  Fill(two.get());
  Count count;
  for (int i = 0; i < options.passes; ++i) {
    boost::thread(boost::bind(&BothForward, options.device, one.get(),
        two.get())).join();
    boost::thread(boost::bind(&BothBackward, options.device,
        i % 2 ? one.get() : two.get(), i % 2 ? two.get() : one.get())).join();
    count.Add(*one, mixed, options.tolerance);
    count.Add(*two, other, options.tolerance);
  }
  return count.Report(options, 2);
}

int Devices(const Options& options) {
  const Reference reference(MixedNet(), options.devices[0]);
  vector<boost::shared_ptr<Net> > nets;
  for (size_t i = 0; i < options.devices.size(); ++i) {
    Use(options.devices[i]);
    nets.push_back(Build(reference.text));
    Fill(nets.back().get());
  }
  Count count;
  for (int pass = 0; pass < options.passes; ++pass) {
    for (size_t i = 0; i < nets.size(); ++i) {
      Use(options.devices[i]);
      Forward(nets[i].get());
    }
    for (size_t i = 0; i < nets.size(); ++i) {
      Use(options.devices[i]);
      Backward(nets[i].get());
      count.Add(*nets[i], reference, options.tolerance);
    }
  }
  // the nets' own memory goes back where it came from
  for (size_t i = 0; i < nets.size(); ++i) {
    Use(options.devices[i]);
    nets[i].reset();
  }
  return count.Report(options, 1);
}

// Bytes in use: of the device, or the process's peak.
double MemoryInUse(int device) {
#ifndef CPU_ONLY
  if (device >= 0) {
    size_t free = 0, total = 0;
    CUDA_CHECK(cudaMemGetInfo(&free, &total));
    return total - free;
  }
#endif
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024.;
}

string ReadFile(const string& path) {
  std::ifstream stream(path.c_str());
  CHECK(stream) << path << " cannot be read";
  return string(std::istreambuf_iterator<char>(stream),
                std::istreambuf_iterator<char>());
}

int Memory(const Options& options) {
  Use(options.device);
  boost::shared_ptr<Net> net =
      Build(options.net.empty() ? DeepNet() : ReadFile(options.net));
  double sum = 0, largest = 0;
  int layers = 0;
  for (size_t i = 0; i < net->layers().size(); ++i) {
    const double bytes = ColumnBytes(net->layers()[i].get());
    sum += bytes;
    largest = std::max(largest, bytes);
    layers += bytes > 0;
  }
  // Everything else that a pass needs is touched before the first reading.
  for (size_t i = 0; i < net->blobs().size() + net->params().size(); ++i) {
    Blob<float>* blob = i < net->blobs().size() ? net->blobs()[i].get()
        : net->params()[i - net->blobs().size()].get();
    if (options.device < 0) {
      caffe::caffe_set(blob->count(), 0.f, blob->mutable_cpu_data());
      caffe::caffe_set(blob->count(), 0.f, blob->mutable_cpu_diff());
    } else {
      blob->mutable_gpu_data();
      blob->mutable_gpu_diff();
    }
  }
  const double before = MemoryInUse(options.device);
  Forward(net.get());
  net->Backward();
  const double growth = MemoryInUse(options.device) - before;
  const bool shared = growth < (sum + largest) / 2;
  std::printf("{\"mode\": \"memory\", \"device\": %d, \"layers\": %d, "
              "\"sum_bytes\": %.0f, \"largest_bytes\": %.0f, "
              "\"growth_bytes\": %.0f, \"peak_rss_bytes\": %.0f, "
              "\"shared\": %s}\n", options.device, layers, sum, largest, growth,
              MemoryInUse(-1), shared ? "true" : "false");
  return shared ? 0 : 1;
}

// ---- command line -----------------------------------------------------------

int Usage() {
  std::cerr <<
      "usage: column_buffer threads|handover|devices|memory\n"
      "  --threads N      threads at once (2)\n"
      "  --passes M       forward and backward passes of each (40)\n"
      "  --device D       a GPU's number, or -1 for the CPU (-1)\n"
      "  --devices A,B    for `devices`: which to switch between (all, and -1)\n"
      "  --net FILE       for `memory`: the net to measure\n"
      "  --tolerance T    of the largest number of a blob (1e-3)\n";
  return 2;
}

vector<int> AllDevices() {
  vector<int> devices(1, -1);
#ifndef CPU_ONLY
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) {
    for (int i = 0; i < count; ++i) {
      devices.push_back(i);
    }
  }
#endif
  return devices;
}

vector<int> Listed(const string& text) {
  std::istringstream stream(text);
  vector<int> numbers;
  for (string one; std::getline(stream, one, ',');) {
    numbers.push_back(std::atoi(one.c_str()));
  }
  return numbers;
}

bool Parse(int argc, char** argv, Options* options) {
  if (argc < 2 || argc % 2) {
    return false;
  }
  options->mode = argv[1];
  options->devices = AllDevices();
  for (int i = 2; i < argc; i += 2) {
    const string name = argv[i], value = argv[i + 1];
    if (name == "--threads") {
      options->threads = std::atoi(value.c_str());
    } else if (name == "--passes") {
      options->passes = std::atoi(value.c_str());
    } else if (name == "--device") {
      options->device = std::atoi(value.c_str());
    } else if (name == "--devices") {
      options->devices = Listed(value);
    } else if (name == "--tolerance") {
      options->tolerance = std::atof(value.c_str());
    } else if (name == "--net") {
      options->net = value;
    } else {
      return false;
    }
  }
  return options->threads > 0 && options->passes > 0 &&
      !options->devices.empty();
}

int main(int argc, char** argv) {
  // Threads of the BLAS library would only be in the way of ours. It reads
  // this when it is loaded.
  if (!std::getenv("OPENBLAS_NUM_THREADS")) {
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    execv("/proc/self/exe", argv);
  }
  FLAGS_minloglevel = google::GLOG_ERROR;
  google::InitGoogleLogging(argv[0]);
  std::map<string, int (*)(const Options&)> modes;
  modes["threads"] = &Threads;
  modes["handover"] = &Handover;
  modes["devices"] = &Devices;
  modes["memory"] = &Memory;
  Options options;
  if (!Parse(argc, argv, &options) || !modes.count(options.mode)) {
    return Usage();
  }
  return modes[options.mode](options);
}
