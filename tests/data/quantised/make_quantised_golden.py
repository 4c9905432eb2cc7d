"""Logits of block-float weights in exact arithmetic, from the float64 reference that made the other goldens.

  python make_quantised_golden.py ORACLE_FOLDER MODEL_FOLDER OUT.safetensors

ORACLE_FOLDER holds oracle.py and quantised.py, MODEL_FOLDER the bf16 tiny-shakespeare. Needs numpy and tokenizers.
Writes ids [512] (the first window of heldout.txt), positions [64] and logits_POLICY [64, vocab] at those positions.
"""
import json
import os
import struct
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
from quantised import quantised_model  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

folder, out = sys.argv[2], sys.argv[3]
text = open(os.path.join(folder, "heldout.txt")).read()
ids = Tokenizer.from_file(os.path.join(folder, "tokenizer.json")).encode(text, add_special_tokens=False).ids[:512]
positions = np.arange(7, 512, 8)
arrays = {"ids": np.array(ids, np.int32), "positions": positions.astype(np.int32)}
for policy in ("bfloat8_b", "mixed", "bfloat4_b"):
    arrays["logits_" + policy] = quantised_model(folder, policy).forward(ids)["logits"][positions].astype(np.float32)
header, offset = {}, 0
for name, array in arrays.items():
    header[name] = {"dtype": {"int32": "I32", "float32": "F32"}[str(array.dtype)], "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
    offset += array.nbytes
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(out, "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in arrays.values()))
