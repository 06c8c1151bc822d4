# kit: what a bare machine with a GPU needs to run the checks and the benchmark, in
# one folder that can be carried there: programs that link nothing but libc and
# libdl, the cuda backend, the tokenizer, presets, the text where there is one.
# Included by the Makefile.

KIT = $(BUILD)/gpu-kit
KIT_PROGRAMS = $(addprefix $(KIT)/,tokenfate-trainer cuda_ops cuda_model cuda_jobs batch step_timer)
KIT_FILES = $(KIT)/.files
# -static-libgcc and archives: Debian has them of these libraries, and gcc of OpenMP's.
KIT_LIBS = -Wl,-Bstatic -ljansson -lsodium -lpcre2-8 -Wl,-Bdynamic $(shell $(CC) -print-file-name=libgomp.a) -ldl -lm
KIT_ARCHIVES = $(call archives,gpu)
KIT_CHECKS = tests/gpu/bare/library.c

$(KIT)/tokenfate-trainer: $(BUILD)/obj/gpu/trainer.o tests/gpu/bare/no_cpu.c $(KIT_ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -static-libgcc -o $@ $^ $(KIT_LIBS)
	$(say)
$(KIT)/cuda_ops: tests/gpu/cuda_ops.c $(KIT_CHECKS) $(KIT_ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -static-libgcc -o $@ $(filter %.c,$^) $(KIT_ARCHIVES) $(KIT_LIBS)
	$(say)
$(KIT)/cuda_model: tests/gpu/cuda_model.c $(KIT_CHECKS) $(KIT_ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -static-libgcc -o $@ $(filter %.c,$^) $(KIT_ARCHIVES) $(KIT_LIBS)
	$(say)
$(KIT)/cuda_jobs: tests/gpu/cuda_jobs.c tests/lib/job_series.c tests/gpu/bare/no_cpu.c tests/gpu/bare/library.c $(KIT_ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -static-libgcc -o $@ $(filter %.c,$^) $(KIT_ARCHIVES) $(KIT_LIBS)
	$(say)
$(KIT)/batch: tests/gpu/batch.c $(call archives,lab)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -static-libgcc -o $@ $< $(call archives,lab) $(KIT_LIBS)
	$(say)
$(KIT)/step_timer: CFLAGS += -DTOKENFATE_BUILD='"$(shell cat $(BUILD)/build-id)"'
$(KIT)/step_timer: $(BUILD)/build-id
$(KIT)/step_timer: tests/gpu/step_timer.c tests/gpu/bare/no_cpu.c tests/gpu/bare/library.c $(KIT_ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -static-libgcc -o $@ $(filter %.c,$^) $(KIT_ARCHIVES) $(KIT_LIBS)
	$(say)

# Whatever is not built here is copied: scripts, golden curve, presets, rank table, text.
$(KIT_FILES): $(wildcard tests/gpu/*.py config/presets/*.json) tests/golden/gulliver_curve.json $(SHARE) $(CUDA_LIBRARY)
	@mkdir -p $(KIT)/share/tokenizers $(KIT)/corpora
	cp tests/gpu/*.py tests/golden/gulliver_curve.json $(KIT)
	cp -r config/presets $(KIT)
	cp $(BUILD)/share/tokenizers/gpt2.bpe $(KIT)/share/tokenizers
	cp $(BUILD)/build-id $(KIT)
	$(if $(CUDA_LIBRARY),cp $(CUDA_LIBRARY) $(KIT))
	@for folder in $(subst :, ,$(TOKENFATE_CORPUS_PATH)); do [ ! -e $$folder/pg829.txt ] || cp -f $$folder/pg829.txt $(KIT)/corpora; done
	@touch $@

.PHONY: gpu-kit
gpu-kit: $(KIT_PROGRAMS) $(KIT_FILES)
