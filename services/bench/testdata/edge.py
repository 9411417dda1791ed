"""Answers the rounds of TestEdge with Qdrant's own engine: a JSON list on stdin, one on stdout."""
import json, sys, tempfile
import qdrant_edge as q

BOUNDS = ("lt", "gt", "lte", "gte")
TYPES = {t: getattr(q.PayloadSchemaType, t) for t in ("Keyword", "Integer", "Float", "Bool", "Datetime", "Uuid")}


def condition(c):
    if "filter" in c and "nested" not in c:
        return filter_of(c["filter"])
    if "nested" in c:
        return q.NestedCondition(c["nested"], filter_of(c["filter"]))
    if "ids" in c:
        return q.HasIdCondition(set(c["ids"]))
    if "empty" in c:
        return q.IsEmptyCondition(c["empty"])
    if "null" in c:
        return q.IsNullCondition(c["null"])
    key = c["key"]
    if "value" in c:
        return q.FieldCondition(key, match=q.MatchValue(c["value"]))
    if "any" in c:
        return q.FieldCondition(key, match=q.MatchAny(c["any"]))
    if "except" in c:
        return q.FieldCondition(key, match=q.MatchExcept(c["except"]))
    if "range" in c:
        return q.FieldCondition(key, range=q.RangeFloat(**c["range"]))
    if "time" in c:
        return q.FieldCondition(key, range=q.RangeDateTime(**c["time"]))
    return q.FieldCondition(key, values_count=q.ValuesCount(**c["count"]))


def filter_of(f):
    if f is None:
        return None
    lists = {k: [condition(c) for c in f[k]] for k in ("must", "should", "must_not") if f.get(k)}
    if f.get("min_should"):
        lists["min_should"] = q.MinShould([condition(c) for c in f["min_should"]["conditions"]], f["min_should"]["count"])
    return q.Filter(**lists)


def hits(found):
    return [[str(h.id), h.score] for h in found]


def answer(shard, c):
    f = filter_of(c.get("filter"))
    if c["kind"] == "count":
        return shard.count(q.CountRequest(exact=True, filter=f))
    if c["kind"] == "scroll":
        page, following = shard.scroll(q.ScrollRequest(limit=c["limit"], filter=f))
        return [[str(r.id), 0] for r in page]
    exact = q.SearchParams(exact=True)
    if c["kind"] == "nearest":
        query = q.Query.Nearest(c["vector"], "v")
    elif c["kind"] in ("best", "sum"):
        kind = q.Query.RecommendBestScore if c["kind"] == "best" else q.Query.RecommendSumScores
        query = kind(q.RecommendQuery(positives=c["positives"], negatives=c["negatives"]), "v")
    else:
        parts = [q.Prefetch(limit=c["limit"], query=q.Query.Nearest(v, "v"), params=exact) for v in c["positives"]]
        return hits(shard.query(q.QueryRequest(limit=c["limit"], query=q.Fusion.Rrf(2), prefetches=parts, filter=f)))
    return hits(shard.query(q.QueryRequest(limit=c["limit"], offset=c["offset"], query=query, filter=f,
                                           score_threshold=c.get("threshold"), params=exact)))


out = []
for r in json.load(sys.stdin):
    with tempfile.TemporaryDirectory() as folder:
        shard = q.EdgeShard.create(folder, q.EdgeConfig(vectors={"v": q.EdgeVectorParams(size=r["width"], distance=getattr(q.Distance, r["distance"]))}))
        for key, kind in r["indexes"].items():
            shard.update(q.UpdateOperation.create_field_index(key, TYPES[kind]))
        shard.update(q.UpdateOperation.upsert_points([q.Point(p["id"], {"v": p["vector"]}, p["payload"]) for p in r["points"]]))
        out.append([answer(shard, c) for c in r["cases"]])
        shard.close()
json.dump(out, sys.stdout)
