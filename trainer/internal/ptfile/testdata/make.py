"""Writes files as torch.save does, and golden.json with what torch.load reads from them.

    python make.py

Numbers are golden as the bits of their float32, which JSON cannot round. All values are made up.
Run with torch 2.11.0.
"""
import collections, io, json, os, struct, warnings, zipfile
import torch

warnings.simplefilter("ignore")
os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(1)
golden = {}


def bits(t):
    t = t.detach().to(torch.float32).contiguous()
    t = torch.where(t.isnan(), torch.tensor(0x7FC00000, dtype=torch.int32).view(torch.float32), t)
    return {"shape": list(t.shape), "bits": [b & 0xFFFFFFFF for b in t.view(torch.int32).flatten().tolist()]}


def flat(d, prefix=""):
    """The float tensors of nested dicts, with dots between the names."""
    out = {}
    for k, v in d.items():
        if isinstance(v, dict):
            out.update(flat(v, f"{prefix}{k}."))
        elif isinstance(v, torch.Tensor) and v.is_floating_point():
            out[f"{prefix}{k}"] = bits(v)
    return out


def save(name, value, golden_of=True, **options):
    torch.save(value, name, **options)
    if golden_of:
        golden[name] = flat(torch.load(name, weights_only=False))  # which reads any protocol


def rezip(name, source, method, edit=lambda name, data: data):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(name, "w", method) as new:
        for i in old.infolist():
            new.writestr(zipfile.ZipInfo(i.filename), edit(i.filename, old.read(i)), method)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up = torch.nn.Linear(3, 4)
        self.norm = torch.nn.BatchNorm1d(4)  # has an integer: num_batches_tracked
        self.register_buffer("ids", torch.arange(5))

    def forward(self, x):
        return self.norm(self.up(x))


net = Net()
save("plain.pt", net.state_dict())
optimizer = torch.optim.Adam(net.parameters())
net(torch.randn(6, 3)).square().sum().backward()
optimizer.step()
save("nested.pth", {
    "state_dict": collections.OrderedDict(("module." + k, v) for k, v in net.state_dict().items()),
    "optimizer": optimizer.state_dict(),
    "epoch": 3, "best": 0.5, "arch": "net", "done": False, "args": None, "history": [1.5, 2, "x", torch.ones(2)],
    "seed": 2**70, "time": 2**40, "before": -2**40, "less": -3, "more": 70000, "shape": torch.Size([2, 3]), "pair": (1, (2, 3)),
})
inf = float("inf")
values = torch.tensor([[0.0, -0.0, 1.0, -1.5], [65504.0, 1e-7, 6.1e-5, inf], [-inf, float("nan"), 0.1, -2.0e-5]], dtype=torch.float64)
save("types.bin", {
    "float": values.float(), "half": values.half(), "bfloat16": values.bfloat16(), "double": values, "large": torch.tensor([1e300, 1 / 3], dtype=torch.float64),
    **{str(t).split(".")[1]: torch.ones(3, dtype=t) for t in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)},
})
whole = torch.randn(4, 6)
save("views.pt", {
    "whole": whole, "transposed": whole.t(), "middle": whole[1:3, 2:5], "every second": whole[:, ::2], "last": whole[3], "one": whole[2, 4],
    "repeated": torch.tensor([[1.0], [2.0]]).expand(2, 3), "permuted": torch.randn(2, 3, 4).permute(2, 0, 1), "empty": torch.zeros(0, 3), "scalar": torch.tensor(7.0),
})
save("parameters.pt", {"weight": net.up.weight, "frozen": torch.nn.Parameter(torch.randn(3), requires_grad=False), "tied": net.up.weight})
for protocol in (3, 4, 5):
    save(f"protocol{protocol}.pt", {"net": net.state_dict(), "bytes": b"abc", "n": -(2**40)}, pickle_protocol=protocol)
torch.serialization.set_crc32_options(False)
save("unchecked.pt", net.state_dict())
torch.serialization.set_crc32_options(True)
rezip("deflated.pt", "plain.pt", zipfile.ZIP_DEFLATED)
golden["deflated.pt"] = golden["plain.pt"]

# What is refused. The keys in legacy.pt are addresses, so that it differs each time.
rezip("big_endian.pt", "plain.pt", zipfile.ZIP_STORED, lambda name, data: b"big" if name.endswith("/byteorder") else data)
rezip("bzip2.pt", "plain.pt", zipfile.ZIP_BZIP2)
save("legacy.pt", net.state_dict(), False, _use_new_zipfile_serialization=False)
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), "torchscript.pt")
save("module.pt", torch.nn.Linear(2, 2), False)
save("tensor.pt", torch.ones(2), False)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil-has-run",)


save("evil.pt", {"weight": torch.ones(2), "x": Evil()}, False)

with open("golden.json", "w") as f:
    f.write("{\n" + ",\n".join(json.dumps(k) + ": " + json.dumps(v, separators=(",", ":")) for k, v in golden.items()) + "\n}\n")

# A BERT as Hugging Face names its weights, in both formats, for package backbone.
width, layers, words, positions = 4, 2, 6, 8
bert = collections.OrderedDict()


def linear(name, *shape):
    bert[name + ".weight"], bert[name + ".bias"] = torch.randn(*shape), torch.randn(shape[0])


bert["bert.embeddings.position_ids"] = torch.arange(positions).expand(1, -1)
for name, rows in ("word", words), ("position", positions), ("token_type", 2):
    bert[f"bert.embeddings.{name}_embeddings.weight"] = torch.randn(rows, width)
linear("bert.embeddings.LayerNorm", width)
for i in range(layers):
    for name in "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense":
        linear(f"bert.encoder.layer.{i}.{name}", width, width)
    linear(f"bert.encoder.layer.{i}.attention.output.LayerNorm", width)
    linear(f"bert.encoder.layer.{i}.intermediate.dense", 2 * width, width)
    linear(f"bert.encoder.layer.{i}.output.dense", width, 2 * width)
    linear(f"bert.encoder.layer.{i}.output.LayerNorm", width)
folder = "../../../backbone/testdata/"
torch.save(bert, folder + "bert.bin")
torch.save({"state_dict": {"module." + k: v for k, v in bert.items()}, "epoch": 3}, folder + "bert.pth")
header, data = {}, b""
for k, v in bert.items():
    kind, form = ("F32", "f") if v.is_floating_point() else ("I64", "q")
    start, numbers = len(data), v.flatten().tolist()
    data += struct.pack(f"<{len(numbers)}{form}", *numbers)
    header[k] = {"dtype": kind, "shape": list(v.shape), "data_offsets": [start, len(data)]}
header = json.dumps(header, separators=(",", ":")).encode()
header += b" " * (-len(header) % 8)
with open(folder + "bert.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(header)) + header + data)
