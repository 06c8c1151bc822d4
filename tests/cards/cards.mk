# cards: a made-up machine with GPUs (tests/cards/cards.h): a trainer beside the
# cuda backend on the execution layer of the tests, the driver and NVML. Included
# by the Makefile.

CARDS = $(addprefix $(BUILD)/tests/cards/,libcuda.so.1 libnvidia-ml.so.1 libcublasLt.so.99 libtokenfate-cuda.so tokenfate-trainer)

$(BUILD)/tests/cards/libcuda.so.1: tests/cards/driver.c tests/cards/cards.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -shared -o $@ $<
	$(say)
$(BUILD)/tests/cards/libnvidia-ml.so.1: tests/cards/nvml.c tests/cards/cards.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -shared -o $@ $<
	$(say)
$(BUILD)/tests/cards/libtokenfate-cuda.so: tests/cards/backend.c tests/cards/cards.h $(CUDA_HOST) \
  $(addprefix $(BUILD)/obj/gpu/cuda/,library.o err.o) $(BUILD)/tests/cards/libcublasLt.so.99
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -fPIC -shared -Wl,--wrap=cuda_backend_open -o $@ $(filter %.c %.o %.99,$^) -lstdc++ -lm
	$(say)
$(BUILD)/tests/cards/tokenfate-trainer: $(BUILD)/tokenfate-trainer
	@mkdir -p $(@D)
	ln -f $< $@
# As the real one, the backend needs cuBLASLt by its name; the stand-in for it lies inside, so this
# one is nearly empty, and lies beside the others for whoever does not ask where it is found.
CUBLASLT = libcublasLt.so.99
$(BUILD)/tests/cards/$(CUBLASLT): tests/cards/cublas.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -shared -Wl,-soname,$(CUBLASLT) -o $@ $<
	$(say)
# dlopen finds the libraries where the program looks for its own: by RPATH, which unlike
# RUNPATH also counts when a sanitizer calls dlopen for it.
$(BUILD)/tests/gpu_nvml: tests/unit/gpu_nvml.c $(call archives,gpu) | $(CARDS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--disable-new-dtags,-rpath,'$$ORIGIN/cards' -o $@ $< $(call archives,gpu) $(call libraries,gpu) -lcmocka
	$(say)
