// cuda-check [run]: the libraries that this program found when it started, as one line of JSON. With `run` it also
// uses each of them on every GPU: a kernel of its own, cuBLAS, cuDNN, and a sum over all GPUs by NCCL.
// Plain enough for the compilers of CUDA 8 (gcc 4.8, C++98).
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
#ifdef USE_CUDNN
#include <cudnn.h>
#endif
#ifdef USE_NCCL
#include <nccl.h>
#endif

static void need(bool good, const char* what, const char* why) {
  if (good) return;
  std::fprintf(stderr, "cuda-check: %s: %s\n", what, why);
  std::exit(1);
}

static void cuda(cudaError_t code, const char* what) { need(code == cudaSuccess, what, cudaGetErrorString(code)); }

static int cublas_part(libraryPropertyType part) {
  int value = 0;
  need(cublasGetProperty(part, &value) == CUBLAS_STATUS_SUCCESS, "cublasGetProperty", "failed");
  return value;
}

static void versions() {
  int runtime = 0;  // without a driver it does not answer: then the version of the headers
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = CUDART_VERSION;
  std::printf("{\"cuda\": \"%d.%d\"", runtime / 1000, runtime % 1000 / 10);
  std::printf(", \"cublas\": \"%d.%d\"", cublas_part(MAJOR_VERSION), cublas_part(MINOR_VERSION));
#ifdef USE_CUDNN
  const int cudnn = static_cast<int>(cudnnGetVersion());
  const int unit = cudnn >= 90000 ? 10000 : 1000;  // from 9 on a major is 10000
  std::printf(", \"cudnn\": \"%d.%d\"", cudnn / unit, cudnn % unit / 100);
#endif
#ifdef USE_NCCL
#if NCCL_MAJOR > 2 || (NCCL_MAJOR == 2 && NCCL_MINOR >= 4)
  int nccl = 0;
  need(ncclGetVersion(&nccl) == ncclSuccess, "ncclGetVersion", "failed");
  const int thousand = nccl >= 10000 ? 10000 : 1000;  // from 2.9 on a major is 10000
  std::printf(", \"nccl\": \"%d.%d\"", nccl / thousand, nccl % thousand / 100);
#else  // older ones cannot be asked: that it starts proves that one is there
  need(std::strlen(ncclGetErrorString(ncclSuccess)) > 0, "ncclGetErrorString", "failed");
  std::printf(", \"nccl\": \"%d.%d\"", NCCL_MAJOR, NCCL_MINOR);
#endif
#endif
}

static __global__ void fill(float* values, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) values[i] = 1.0f;
}

const int kCount = 1 << 20;

// A vector of ones on the GPU, made by our kernel; its sum by cuBLAS must be its length.
static float* ones(int device) {
  float *values = NULL, sum = 0;
  cuda(cudaSetDevice(device), "cudaSetDevice");
  cuda(cudaMalloc(reinterpret_cast<void**>(&values), kCount * sizeof(float)), "cudaMalloc");
  fill<<<kCount / 256, 256>>>(values, kCount);
  cuda(cudaGetLastError(), "kernel (is there code for this GPU?)");
  cublasHandle_t handle;
  need(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS, "cublasCreate", "failed");
  need(cublasSasum(handle, kCount, values, 1, &sum) == CUBLAS_STATUS_SUCCESS, "cublasSasum", "failed");
  need(sum == kCount, "cublasSasum", "wrong sum");
  cublasDestroy(handle);
  return values;
}

#ifdef USE_CUDNN
// softmax over the vector, by code that cuDNN has for this very GPU
static void use_cudnn(float* values) {
  cudnnHandle_t handle;
  const cudnnStatus_t made = cudnnCreate(&handle);
  need(made == CUDNN_STATUS_SUCCESS, "cudnnCreate", cudnnGetErrorString(made));
  cudnnTensorDescriptor_t shape;
  cudnnCreateTensorDescriptor(&shape);
  cudnnSetTensor4dDescriptor(shape, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 1, 1, 1024, kCount / 1024);
  const float one = 1, zero = 0;
  const cudnnStatus_t done =
      cudnnSoftmaxForward(handle, CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_MODE_INSTANCE, &one, shape, values, &zero, shape, values);
  need(done == CUDNN_STATUS_SUCCESS, "cudnnSoftmaxForward", cudnnGetErrorString(done));
  float first = 0;
  cuda(cudaMemcpy(&first, values, sizeof first, cudaMemcpyDeviceToHost), "cudaMemcpy");
  need(first * kCount > 0.99f && first * kCount < 1.01f, "cudnnSoftmaxForward", "wrong value");
  cudnnDestroyTensorDescriptor(shape);
  cudnnDestroy(handle);
}
#endif

#ifdef USE_NCCL
static void use_nccl(const std::vector<float*>& values) {
  const int count = static_cast<int>(values.size());
  std::vector<ncclComm_t> comms(count);
  ncclResult_t said = ncclCommInitAll(&comms[0], count, NULL);
  need(said == ncclSuccess, "ncclCommInitAll", ncclGetErrorString(said));
  ncclGroupStart();
  for (int i = 0; i < count; ++i) {
    cuda(cudaSetDevice(i), "cudaSetDevice");
    said = ncclAllReduce(values[i], values[i], kCount, ncclFloat, ncclSum, comms[i], NULL);
    need(said == ncclSuccess, "ncclAllReduce", ncclGetErrorString(said));
  }
  said = ncclGroupEnd();
  need(said == ncclSuccess, "ncclGroupEnd", ncclGetErrorString(said));
  for (int i = 0; i < count; ++i) {
    float first = 0;
    cuda(cudaSetDevice(i), "cudaSetDevice");
    cuda(cudaMemcpy(&first, values[i], sizeof first, cudaMemcpyDeviceToHost), "cudaMemcpy");
    need(first == static_cast<float>(count), "ncclAllReduce", "wrong sum");
    ncclCommDestroy(comms[i]);
  }
}
#endif

static void run() {
  int count = 0;
  cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  need(count > 0, "cudaGetDeviceCount", "no GPU");
  std::vector<float*> values;
  for (int i = 0; i < count; ++i) values.push_back(ones(i));
#ifdef USE_NCCL
  use_nccl(values);
#endif
#ifdef USE_CUDNN
  for (int i = 0; i < count; ++i) {
    cuda(cudaSetDevice(i), "cudaSetDevice");
    use_cudnn(values[i]);
  }
#endif
  std::printf(", \"gpus\": %d", count);
}

int main(int count, char** words) {
  versions();
  if (count > 1 && std::strcmp(words[1], "run") == 0) run();
  std::printf("}\n");
  return 0;
}
