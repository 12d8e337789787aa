/* Runs a .tflite classifier on stored images without Python: classify FILE INPUTS OUTPUTS.

   INPUTS holds images one after another, each as the file's input takes it (NHWC, native byte order, no header);
   OUTPUTS gets the output of each as the file stores it. Prints how many images there were. */

#include "litert.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(call)                                                  \
  do {                                                               \
    LiteRtStatus status_ = (call);                                   \
    if (status_ != 0) {                                              \
      fprintf(stderr, "classify: %s: status %d\n", #call, status_);  \
      exit(1);                                                       \
    }                                                                \
  } while (0)

static FILE *open_or_exit(const char *path, const char *mode) {
  FILE *file = fopen(path, mode);
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  return file;
}

/* One example at a time: every open size becomes 1. Returns whether there was one. */
static int close_sizes(LiteRtLayout *layout) {
  int open = 0;
  for (unsigned int axis = 0; axis < layout->rank; ++axis) {
    if (layout->dimensions[axis] < 0) {
      layout->dimensions[axis] = 1;
      open = 1;
    }
  }
  return open;
}

static LiteRtTensorBuffer input_buffer(LiteRtEnvironment environment, LiteRtCompiledModel compiled,
                                       LiteRtSignature signature) {
  LiteRtTensor tensor;
  LiteRtRankedTensorType type;
  LiteRtTensorBufferRequirements requirements;
  LiteRtTensorBuffer buffer;
  CHECK(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor));
  CHECK(LiteRtGetRankedTensorType(tensor, &type));
  if (close_sizes(&type.layout)) {
    CHECK(LiteRtCompiledModelResizeInputTensorNonStrict(compiled, 0, 0, type.layout.dimensions, type.layout.rank));
  }
  CHECK(LiteRtGetCompiledModelInputBufferRequirements(compiled, 0, 0, &requirements));
  CHECK(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, requirements, &buffer));
  return buffer;
}

static LiteRtTensorBuffer output_buffer(LiteRtEnvironment environment, LiteRtCompiledModel compiled,
                                        LiteRtSignature signature) {
  LiteRtTensor tensor;
  LiteRtRankedTensorType type;
  LiteRtTensorBufferRequirements requirements;
  LiteRtTensorBuffer buffer;
  CHECK(LiteRtGetSignatureOutputTensorByIndex(signature, 0, &tensor));
  CHECK(LiteRtGetRankedTensorType(tensor, &type));
  close_sizes(&type.layout);
  CHECK(LiteRtGetCompiledModelOutputBufferRequirements(compiled, 0, 0, &requirements));
  CHECK(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, requirements, &buffer));
  return buffer;
}

/* Reads the next image into the buffer. Returns whether there was one; half an image is an error. */
static int read_image(FILE *file, LiteRtTensorBuffer buffer) {
  void *memory;
  size_t size;
  CHECK(LiteRtGetTensorBufferPackedSize(buffer, &size));
  CHECK(LiteRtLockTensorBuffer(buffer, &memory, kLiteRtTensorBufferLockModeWrite));
  size_t count = fread(memory, 1, size, file);
  CHECK(LiteRtUnlockTensorBuffer(buffer));
  if (count != 0 && count != size) {
    fprintf(stderr, "classify: the inputs end within an image: %zu of its %zu bytes\n", count, size);
    exit(1);
  }
  return count == size;
}

static void write_answer(FILE *file, LiteRtTensorBuffer buffer) {
  void *memory;
  size_t size;
  CHECK(LiteRtGetTensorBufferPackedSize(buffer, &size));
  CHECK(LiteRtLockTensorBuffer(buffer, &memory, kLiteRtTensorBufferLockModeRead));
  size_t count = fwrite(memory, 1, size, file);
  CHECK(LiteRtUnlockTensorBuffer(buffer));
  if (count != size) {
    perror("classify: writing an answer");
    exit(1);
  }
}

int main(int argc, char **argv) {
  LiteRtEnvironment environment;
  LiteRtModel model;
  LiteRtOptions options;
  LiteRtCompiledModel compiled;
  LiteRtSignature signature;
  LiteRtParamIndex inputs, outputs;
  if (argc != 4) {
    fprintf(stderr, "usage: classify FILE INPUTS OUTPUTS\n");
    return 2;
  }
  FILE *images = open_or_exit(argv[2], "rb"), *answers = open_or_exit(argv[3], "wb");
  CHECK(LiteRtCreateEnvironment(0, NULL, &environment));
  CHECK(LiteRtCreateModelFromFile(environment, argv[1], &model));
  CHECK(LiteRtCreateOptions(&options));
  CHECK(LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu));
  CHECK(LiteRtCreateCompiledModel(environment, model, options, &compiled));
  CHECK(LiteRtGetModelSignature(model, 0, &signature));
  CHECK(LiteRtGetNumSignatureInputs(signature, &inputs));
  CHECK(LiteRtGetNumSignatureOutputs(signature, &outputs));
  if (inputs != 1 || outputs != 1) {
    fprintf(stderr, "classify: a classifier has one input and one output, this file %zu and %zu\n", inputs, outputs);
    return 1;
  }
  LiteRtTensorBuffer input = input_buffer(environment, compiled, signature);
  LiteRtTensorBuffer output = output_buffer(environment, compiled, signature);

  int count = 0;
  for (; read_image(images, input); ++count) {
    CHECK(LiteRtRunCompiledModel(compiled, 0, 1, &input, 1, &output));
    write_answer(answers, output);
  }

  LiteRtDestroyTensorBuffer(output);
  LiteRtDestroyTensorBuffer(input);
  LiteRtDestroyCompiledModel(compiled);
  LiteRtDestroyOptions(options);
  LiteRtDestroyModel(model);
  LiteRtDestroyEnvironment(environment);
  fclose(images);
  if (fclose(answers) != 0) {
    perror(argv[3]);
    return 1;
  }
  printf("%d images\n", count);
  return 0;
}
