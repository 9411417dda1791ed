"""The peers of `radstream bench embed`: one vision transformer, on the same weights, in the runtimes
that people serve it with.

    embed.py WEIGHTS THREADS

WEIGHTS.json names the tensors of WEIGHTS.bin (float32, row-major) as trainer/onnxexport does, and
the architecture. The model is written as one writes it in PyTorch: a linear patch embedding,
pre-norm blocks with scaled_dot_product_attention, attention pooling with one query, a projection.
ONNX Runtime and OpenVINO get it from torch.onnx. Every peer takes uint8 images in memory and gives
unit vectors in memory.

Reads requests of one line of JSON and answers each with one line:

    {"load": PEER, "dir": FOLDER}   {"version": ..., "note": ...} or {"error": ...}
    {"run": PEER, "images": base64 of [B, S, S], "batch": B, "seconds": S}
                                    {"images_per_s": ..., "vectors": [[...]]}: batches until S is over, one at least
    {"drop": PEER}
"""

import base64
import json
import os
import sys
import time

import numpy as np
import onnx  # noqa: F401  quantize_dynamic needs it: better to miss it now
import onnxruntime as ort
import openvino as ov
import torch
import torch.nn.functional as F
from onnxruntime.quantization import QuantType, quantize_dynamic


class Encoder(torch.nn.Module):
    def __init__(self, config, weights):
        super().__init__()
        self.c = config
        for name, tensor in weights.items():
            self.register_parameter(name.replace(".", "_"), torch.nn.Parameter(torch.tensor(tensor), requires_grad=False))

    def w(self, name):
        return getattr(self, name.replace(".", "_"))

    def linear(self, x, name):
        return F.linear(x, self.w(name + ".weight"), self.w(name + ".bias"))

    def norm(self, x, name):
        return F.layer_norm(x, (self.c["width"],), self.w(name + ".weight"), self.w(name + ".bias"), self.c["epsilon"])

    def forward(self, pixels):  # [B, S, S], normalised
        c = self.c
        b, side, patch, h = pixels.shape[0], c["size"] // c["patch"], c["patch"], c["width"]
        x = pixels.reshape(b, side, patch, side, patch).permute(0, 1, 3, 2, 4).reshape(b, side * side, patch * patch)
        x = self.linear(x, "image.patch") + self.w("image.position")
        x = x + self.w("image.view")[0] + self.w("image.time")[0]
        for layer in range(c["layers"]):
            name = f"image.layers.{layer}"
            n = self.norm(x, name + ".norm1")
            q, k, v = (self.linear(n, f"{name}.attention.{p}").reshape(b, -1, c["heads"], h // c["heads"]).transpose(1, 2) for p in ("query", "key", "value"))
            a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, -1, h)
            x = x + self.linear(a, name + ".attention.output")
            x = x + self.linear(F.gelu(self.linear(self.norm(x, name + ".norm2"), name + ".mlp.up")), name + ".mlp.down")
        x = self.norm(x, "image.norm")
        share = torch.softmax(F.linear(x, self.w("image.pool.query").unsqueeze(0)).squeeze(-1) * h**-0.5, -1)
        return F.normalize(self.linear((share.unsqueeze(1) @ x).squeeze(1), "image.global"), dim=-1)


class Bench:
    def __init__(self, path, threads):
        with open(path + ".json") as f:
            described = json.load(f)
        self.c, self.threads, self.runs = described["config"], threads, {}
        data = np.fromfile(path + ".bin", dtype=np.float32)
        weights, at = {}, 0
        for name, shape in described["tensors"]:
            n = int(np.prod(shape))
            weights[name], at = data[at : at + n].reshape(shape), at + n
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.weights = weights

    def encoder(self):
        return Encoder(self.c, self.weights).eval()

    def normalised(self, images):
        return (images.astype(np.float32) * np.float32(1 / (255 * self.c["std"])) - np.float32(self.c["mean"] / self.c["std"])).astype(np.float32)

    def onnx(self, folder, name):
        """Writes the model as torch.onnx exports it, and as onnxruntime quantises that."""
        plain, int8 = os.path.join(folder, "fp32.onnx"), os.path.join(folder, "int8.onnx")
        if not os.path.exists(plain):
            example = torch.zeros(2, self.c["size"], self.c["size"])
            torch.onnx.export(self.encoder(), (example,), plain, input_names=["pixels"], output_names=["vector"],
                              dynamic_axes={"pixels": {0: "B"}, "vector": {0: "B"}}, opset_version=17, dynamo=False)
        if name == "int8" and not os.path.exists(int8):
            quantize_dynamic(plain, int8, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
        return int8 if name == "int8" else plain

    def load(self, peer, folder):
        runtime, precision = peer.split()
        if runtime == "PyTorch":
            dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
            model = self.encoder().to(dtype)
            self.runs[peer] = lambda images: model(torch.from_numpy(self.normalised(images)).to(dtype)).float().numpy()
            return {"version": torch.__version__}
        if runtime == "ONNX-Runtime":
            options = ort.SessionOptions()
            options.intra_op_num_threads = self.threads
            s = ort.InferenceSession(self.onnx(folder, precision), options, providers=["CPUExecutionProvider"])
            self.runs[peer] = lambda images: s.run(None, {"pixels": self.normalised(images)})[0]
            return {"version": ort.__version__}
        hint = {"fp32": "f32", "bf16": "bf16"}[precision]
        compiled = ov.Core().compile_model(self.onnx(folder, "fp32"), "CPU",
                                           {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": self.threads, "PERFORMANCE_HINT": "LATENCY"})
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.runs[peer] = lambda images: compiled(self.normalised(images))[0]
        return {"version": ov.get_version(), "note": "" if used == hint else f"runs in {used} on this CPU"}

    def run(self, peer, images, batch, seconds):
        images = np.frombuffer(base64.b64decode(images), np.uint8).reshape(batch, self.c["size"], self.c["size"])
        batches, start = 0, time.perf_counter()
        while batches == 0 or time.perf_counter() - start < seconds:
            vectors = self.runs[peer](images)
            batches += 1
        took = time.perf_counter() - start
        return {"images_per_s": batches * batch / took, "vectors": np.asarray(vectors).tolist()}


def main():
    # The runtimes print what they like on standard output: it goes to standard error, answers do not.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bench = Bench(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "load" in request:
                answer = bench.load(request["load"], request["dir"])
            elif "drop" in request:
                bench.runs.pop(request["drop"])
                answer = {}
            else:
                answer = bench.run(request["run"], request["images"], request["batch"], request["seconds"])
        except Exception as e:  # told to who asked
            answer = {"error": f"{type(e).__name__}: {' '.join(str(e).split())[:400]}"}
        print(json.dumps(answer), file=answers, flush=True)


main()
