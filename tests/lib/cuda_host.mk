# cuda_host: the CUDA kernels as host C++ against the execution layer of the tests
# (tests/lib/cuda_host.h), so that a machine without nvcc, CUDA or a card runs them.
# Included by the Makefile; needs only g++.

CXX = g++
CXXFLAGS_host = -std=c++17 -D_GNU_SOURCE -DTOKENFATE_CUDA_HOST -I. -Itests/lib -Wall -Wextra -Werror -Wvla \
  -Wno-unknown-pragmas $(OPT) $(if $(SAN),,-O3) -ffp-contract=off -fPIC -MMD -MP -pthread
CUDA_HOST = $(patsubst %,$(BUILD)/obj/cuda_host/%.o,tests/lib/cuda_host.cc tests/lib/cuda_host_products.cc \
  $(wildcard gpu/cuda/*.cu))

$(BUILD)/obj/cuda_host/%.o: %
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS_host) -c -o $@ -x c++ $<
	$(say)
$(BUILD)/tests/cuda_host: $(BUILD)/obj/cuda_host/tests/unit/cuda_host.cu.o \
  $(BUILD)/obj/cuda_host/tests/lib/cuda_host.cc.o
	@mkdir -p $(@D)
	$(CXX) $(LDFLAGS) -o $@ $^ -lcmocka
	$(say)
$(BUILD)/tests/cuda_products: $(BUILD)/obj/cuda_host/tests/unit/cuda_products.cu.o $(CUDA_HOST) \
  $(call archives,gpu)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(call libraries,gpu) -lstdc++ -lcmocka
	$(say)
$(BUILD)/tests/cuda_jobs: tests/lib/job_series.c
$(BUILD)/tests/cuda_%: tests/unit/cuda_%.c $(CUDA_HOST) $(call archives,gpu)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.o,$^) $(call archives,gpu) $(call libraries,gpu) \
	  -lstdc++ -lcmocka
	$(say)
