"""Features: numbers about a case, computed from what the caller says of it; snapshots of them, and differences."""

from __future__ import annotations

from collections.abc import Mapping

from callgate.events.ids import is_id
from callgate.sandbox.answers import Refused, invalid
from callgate.sandbox.resources.calls import Body, Call, Route, known, number_in, selected
from callgate.sandbox.store import Store

_VECTORS, _SNAPSHOTS = "features", "feature_snapshots"
_BATCH = 500
_SCHEMA: Mapping[str, str] = {
    "risk_score": "the risk that the case names, 0 where it names none",
    "value": "the amount at stake",
    "blocked": "1 where the verdict is a block",
    "reviewed": "1 where a person was asked",
    "fields": "how many fields the case has",
    "precedents": "how many precedents the caller knows",
    "precedent_failure_rate": "how often they went wrong",
    "advised": "1 where there was advice",
}


class Features:
    """The endpoints of features."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._things = store.things

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        return [
            ("POST", "/features/compute", self.compute),
            ("POST", "/features/compute/batch", self.compute_batch),
            ("POST", "/features/snapshot", self.snapshot),
            ("GET", "/features/snapshot/{snapshot_id}", self.get_snapshot),
            ("GET", "/features/snapshots", self.snapshots),
            ("POST", "/features/compare", self.compare),
            ("GET", "/features/explain/{case_id}", self.explain),
            ("GET", "/features/explain/{case_id}/{feature_key}", self.explain_one),
            ("POST", "/features/export/batch", self.export_batch),
            ("GET", "/features/export/{case_id}", self.export),
            ("GET", "/features/schema", self.schema),
            ("GET", "/features/stats", self.stats),
        ]

    def compute(self, call: Call) -> Body:
        """The features of a case, kept under its id; computing them again replaces them."""
        return self._computed(call.body, "", call.at)

    def compute_batch(self, call: Call) -> Body:
        """At most 500 cases, all of them or none."""
        found = call.array("cases", _BATCH)
        made = []
        for index, each in enumerate(found):
            if not isinstance(each, dict):
                raise invalid((f"cases.{index}", "must be an object"))
            made.append(self._computed(each, f"cases.{index}.", call.at))
        return {"results": made, "total": len(made)}

    def snapshot(self, call: Call) -> Body:
        """The features as they are now, under an id of their own."""
        vector = self._vector(call.needed("case_id"))
        name = f"snap_{self._things.number(_SNAPSHOTS)}"
        body: Body = {"snapshot_id": name, "tag": call.text("tag") or None, "created_at": call.at}
        return self._things.put(_SNAPSHOTS, name, vector | body)

    def get_snapshot(self, call: Call) -> Body:
        """One snapshot."""
        return known(self._things.get(_SNAPSHOTS, call.path["snapshot_id"]), "snapshot")

    def snapshots(self, call: Call) -> Body:
        """Those of a tag or a case, or all, oldest first."""
        found = selected(self._things.all(_SNAPSHOTS), call.query, ("tag", "case_id"))
        return {"snapshots": call.page(found), "total": len(found)}

    def compare(self, call: Call) -> Body:
        """What differs between two snapshots, two cases, or one of each."""
        a, b = (self._side(call, each) for each in "ab")
        only = call.flag("changed_only", default=True)
        found = {name: {"a": a[name], "b": b[name], "changed": a[name] != b[name]} for name in _SCHEMA}
        changed = sum(each["changed"] is True for each in found.values())
        return {
            "features": {name: each for name, each in found.items() if each["changed"] or not only},
            "changed": changed,
        }

    def explain(self, call: Call) -> Body:
        """What each feature of a case means."""
        features = _numbers(self._vector(call.path["case_id"]))
        told = [{"feature_key": name, "value": features[name], "meaning": text} for name, text in _SCHEMA.items()]
        return {"case_id": call.path["case_id"], "explanations": told}

    def explain_one(self, call: Call) -> Body:
        """What one feature means."""
        features, key = _numbers(self._vector(call.path["case_id"])), call.path["feature_key"]
        if key not in _SCHEMA:
            raise Refused(404, "unknown_feature", f"there are {', '.join(_SCHEMA)}")
        case: Body = {"case_id": call.path["case_id"]}
        return case | {"feature_key": key, "value": features[key], "meaning": _SCHEMA[key]}

    def export(self, call: Call) -> Body:
        """The features of a case, flat."""
        return _flat(self._vector(call.path["case_id"]))

    def export_batch(self, call: Call) -> Body:
        """The features of at most 500 cases, flat; which are unknown is said apart."""
        names = [str(each) for each in call.array("case_ids", _BATCH)]
        found = {name: self._things.get(_VECTORS, name) for name in names}
        return {
            "features": [_flat(vector) for vector in found.values() if vector is not None],
            "missing": [name for name, vector in found.items() if vector is None],
        }

    def schema(self, call: Call) -> Body:
        """The names of the features."""
        del call
        return {"version": "sandbox-1", "features": [{"key": name, "type": "number"} for name in _SCHEMA]}

    def stats(self, call: Call) -> Body:
        """How many there are."""
        del call
        counts = {"vectors": self._things.count(_VECTORS), "snapshots": self._things.count(_SNAPSHOTS)}
        return {**counts, "features": len(_SCHEMA)}

    def _computed(self, said: Mapping[str, object], where: str, at: str) -> Body:
        name, data = said.get("case_id"), said.get("case_data")
        if not isinstance(name, str) or not is_id(name):
            raise invalid((f"{where}case_id", "must have 1 to 128 letters, digits, _ or -"))
        if not isinstance(data, dict):
            raise invalid((f"{where}case_data", "must be an object"))
        precedents, advice = said.get("precedent_data"), said.get("advisory_data")
        verdict = data.get("verdict")
        word = verdict.get("verdict") if isinstance(verdict, dict) else verdict
        alike = precedents if isinstance(precedents, dict) else {}
        features: Body = {
            "risk_score": _number(data, "risk_score"),
            "value": _number(data, "value"),
            "blocked": float(word == "BLOCKED"),
            "reviewed": float(word == "APPROVAL_REQUIRED"),
            "fields": float(len(data)),
            "precedents": _number(alike, "total_precedents"),
            "precedent_failure_rate": _number(alike, "failure_rate"),
            "advised": float(isinstance(advice, dict) and bool(advice)),
        }
        org = str(said.get("org_id") or "1")
        return self._things.put(
            _VECTORS, name, {"case_id": name, "org_id": org, "features": features, "computed_at": at}
        )

    def _vector(self, case_id: str) -> Body:
        found = self._things.get(_VECTORS, case_id)
        if found is None:
            raise Refused(404, "unknown_features", "nothing was computed for this case: POST /features/compute first")
        return found

    def _side(self, call: Call, side: str) -> Body:
        snapshot, case = call.text(f"snapshot_id_{side}"), call.text(f"case_id_{side}")
        if bool(snapshot) == bool(case):
            raise invalid((f"snapshot_id_{side}", f"one of snapshot_id_{side} and case_id_{side} is required"))
        if snapshot:
            return _numbers(known(self._things.get(_SNAPSHOTS, snapshot), "snapshot"))
        return _numbers(self._vector(case))


def _number(holder: Mapping[str, object], name: str) -> float:
    try:
        return float(number_in(holder, name) or 0.0)
    except Refused:
        return 0.0


def _numbers(vector: Body) -> Body:
    features = vector["features"]
    assert isinstance(features, dict)
    return features


def _flat(vector: Body) -> Body:
    return {"case_id": vector["case_id"], **_numbers(vector)}
