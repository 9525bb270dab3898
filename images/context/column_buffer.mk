# Caffe's Makefile with one program more: the proof of the column buffer, compiled as Caffe compiles its own tools.
include Makefile

PROOF := $(BUILD_DIR)/proof/column-buffer

.PHONY: proof
proof: $(PROOF)

$(BUILD_DIR)/proof/%.o: /context/%.cpp $(PROTO_GEN_HEADER)
	@ mkdir -p $(@D)
	$(CXX) $< $(CXXFLAGS) -c -o $@

$(PROOF): $(BUILD_DIR)/proof/column_buffer.o $(BUILD_DIR)/proof/column_bytes.o | $(DYNAMIC_NAME)
	$(CXX) $^ -o $@ $(LINKFLAGS) -l$(LIBRARY_NAME) $(LDFLAGS) -Wl,-rpath,$(ORIGIN)/../lib
