# Caffe's Makefile with one program more, the proof of the column buffer, compiled as Caffe compiles its own tools; and
# pycaffe's module compiled first and linked then, as ccache keeps nothing that is done at once: half a minute each time.
include Makefile

PYCAFFE := $(BUILD_DIR)/python/_$(PROJECT).o
$(PYCAFFE): $(PY$(PROJECT)_SRC) $(PY$(PROJECT)_HXX) | $(PROTO_GEN_HEADER)
	@ mkdir -p $(@D)
	$(CXX) $< $(LINKFLAGS) -c -o $@
$(PY$(PROJECT)_SO): $(PYCAFFE)
# what the Makefile's own recipe links
PY$(PROJECT)_SRC := $(PYCAFFE)

PROOF := $(BUILD_DIR)/proof/column-buffer

.PHONY: proof
proof: $(PROOF)

$(BUILD_DIR)/proof/%.o: /context/%.cpp $(PROTO_GEN_HEADER)
	@ mkdir -p $(@D)
	$(CXX) $< $(CXXFLAGS) -c -o $@

$(PROOF): $(BUILD_DIR)/proof/column_buffer.o $(BUILD_DIR)/proof/column_bytes.o | $(DYNAMIC_NAME)
	$(CXX) $^ -o $@ $(LINKFLAGS) -l$(LIBRARY_NAME) $(LDFLAGS) -Wl,-rpath,$(ORIGIN)/../lib
