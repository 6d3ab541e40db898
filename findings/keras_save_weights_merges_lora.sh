#!/usr/bin/env bash
# keras 3.15.1: `save_weights` stores a LoRA layer merged; a model with LoRA that loads the file has an empty adapter.
#
# Expected: saving and loading the weights of one model gives equal variables, so training can be resumed, and the small
# adapter can be separated from the frozen kernel.
# Observed: the file holds the kernel plus A·B. After loading, the outputs are equal, but the frozen kernel has changed,
# B is zero and A is newly drawn. The optimizer's stored moments belong to matrices that no longer exist. Nothing says
# so. To resume, store the values of `trainable_variables`.
#
# Output:
#   equal outputs: True
#   equal kernel: False, equal A: False, equal B: False, B after loading: [[0. 0.]]
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 keras==3.15.1 numpy==2.4.6
export KERAS_BACKEND=torch
run <<'PY'
import keras
import numpy as np


def model(seed):
    keras.utils.set_random_seed(seed)
    found = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    found.layers[0].enable_lora(1)
    return found


def arrays(layer):
    variables = (layer._kernel, layer.lora_kernel_a, layer.lora_kernel_b)
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


trained = model(0)
trained.layers[0].lora_kernel_b.assign(np.array([[1.0, 2.0]]))
trained.save_weights("trained.weights.h5")
loaded = model(1)
loaded.load_weights("trained.weights.h5")

rows = np.eye(3, dtype="float32")
outputs = [one.predict(rows, verbose=0) for one in (trained, loaded)]
same = [np.allclose(before, after) for before, after in zip(arrays(trained.layers[0]), arrays(loaded.layers[0]))]
b = arrays(loaded.layers[0])[2]
print(f"equal outputs: {np.allclose(*outputs, atol=1e-6)}")
print(f"equal kernel: {same[0]}, equal A: {same[1]}, equal B: {same[2]}, B after loading: {b}")
assert np.allclose(*outputs, atol=1e-6) and not any(same) and not b.any()
PY
