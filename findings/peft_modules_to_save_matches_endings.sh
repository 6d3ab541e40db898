#!/usr/bin/env bash
# peft 0.21.2, transformers 5.23.0: peft finds a classifier's head by the ending of module names, so DistilBERT cannot be
# adapted with target_modules="all-linear".
#
# Expected: task_type=SEQ_CLS saves the modules "classifier" and "score", and "all-linear" excludes the head.
# Observed: `modules_to_save` is compared with str.endswith, without a dot. "classifier" also matches DistilBERT's
# "pre_classifier", already adapted by "all-linear". The error names a LoRA layer, not the head, for every method.
# Without "all-linear" there is no error, and a second layer of the head is trained in full.
#
# Output:
#   all-linear: TypeError: modules_to_save cannot be applied to modules of type <class 'peft.tuners.lora.layer.Linear'>
#   q_lin alone: trained in full: classifier, pre_classifier
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'PY'
from peft import LoraConfig, get_peft_model
from transformers import DistilBertConfig, DistilBertForSequenceClassification


def adapted(targets):
    config = DistilBertConfig(vocab_size=64, dim=32, n_layers=1, n_heads=2, hidden_dim=64)
    return get_peft_model(
        DistilBertForSequenceClassification(config), LoraConfig(task_type="SEQ_CLS", target_modules=targets)
    )


try:
    adapted("all-linear")
except TypeError as error:
    refused = str(error)
else:
    raise SystemExit("all-linear works now")
whole = {
    name.split(".")[2]
    for name, parameter in adapted(["q_lin"]).named_parameters()
    if parameter.requires_grad and "modules_to_save" in name
}
print(f"all-linear: TypeError: {refused}")
print(f"q_lin alone: trained in full: {', '.join(sorted(whole))}")
assert "modules_to_save cannot be applied" in refused
assert whole == {"pre_classifier", "classifier"}
PY
