// The part of the column buffer's proof that reads the shapes which convolutions
// keep to themselves. It is apart because it is compiled again with every change
// to the convolutions' header; the rest then comes from the compiler's cache.

#include <vector>

#include "caffe/layers/base_conv_layer.hpp"

struct Columns : public caffe::BaseConvolutionLayer<float> {
  static double Bytes(caffe::BaseConvolutionLayer<float>* layer) {
    if (layer->*(&Columns::is_1x1_)) {
      return 0;
    }
    const std::vector<int>& shape = layer->*(&Columns::col_buffer_shape_);
    double bytes = sizeof(float);
    for (size_t i = 0; i < shape.size(); ++i) {
      bytes *= shape[i];
    }
    return bytes;
  }
};

double ColumnBytes(caffe::Layer<float>* layer) {
  caffe::BaseConvolutionLayer<float>* convolution =
      dynamic_cast<caffe::BaseConvolutionLayer<float>*>(layer);
  return convolution ? Columns::Bytes(convolution) : 0;
}
