# The proof of the column buffer, compiled as Caffe compiles its own tools: make -f column_buffer.mk column-buffer OUT=FILE
include Makefile

.PHONY: column-buffer
column-buffer:
	$(CXX) /context/column_buffer.cpp -o $(OUT) $(filter-out -MMD -MP,$(CXXFLAGS)) $(LINKFLAGS) -l$(LIBRARY_NAME) $(LDFLAGS) \
		-Wl,-rpath,$(ORIGIN)/../lib
