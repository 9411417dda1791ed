"""Times Qdrant's own engine in process: exact search, one query at a time. No server, no gRPC."""
import json, sys, time
import numpy as np
import qdrant_edge as q

folder, n, width, queries = sys.argv[1], *map(int, sys.argv[2:5])
shard = q.EdgeShard.create(folder, q.EdgeConfig(vectors={"image": q.EdgeVectorParams(size=width, distance=q.Distance.Cosine)}))
rng = np.random.default_rng(1)
writing = 0.0
for at in range(0, n, 256):
    vectors = rng.standard_normal((min(256, n - at), width), dtype=np.float32).tolist()
    points = [q.Point(at + i, {"image": v}, {"tenant": "t"}) for i, v in enumerate(vectors)]
    t = time.perf_counter()
    shard.update(q.UpdateOperation.upsert_points(points))
    writing += time.perf_counter() - t
shard.flush()
took = []
for _ in range(queries):
    v = rng.standard_normal(width, dtype=np.float32).tolist()
    t = time.perf_counter()
    shard.query(q.QueryRequest(limit=10, query=q.Query.Nearest(v, "image"), with_payload=True, params=q.SearchParams(exact=True)))
    took.append(1000 * (time.perf_counter() - t))
json.dump({"p50_ms": float(np.percentile(took, 50)), "p95_ms": float(np.percentile(took, 95)),
           "p99_ms": float(np.percentile(took, 99)), "upsert_per_s": n / writing}, sys.stdout)
