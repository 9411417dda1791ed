"""Prints as JSON what the recorded session (its path is the argument) makes up: the vectors
of the points by name, their payloads and the eight queries, for the sessions of other clients.
They come from the generator of that file itself, by running its beginning."""
import json, sys

source = open(sys.argv[1]).read()
begin = source.index("\nsteps = []\n")
sys.argv = sys.argv[:1]
exec(source[:begin])
json.dump({
    "image": img.tolist(), "text": txt.tolist(), "payload": [payload(i) for i in range(N)],
    "query": [rng.standard_normal(D).astype(np.float32).tolist() for _ in range(8)],
}, sys.stdout)
