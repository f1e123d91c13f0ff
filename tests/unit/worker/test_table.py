"""The living table: sorted, taken over rather than copied, and never more than its entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callgate.worker.table import LivingTable

_keys = st.text(st.sampled_from("ab~/"), max_size=3)
_changes = st.lists(st.dictionaries(_keys, st.none() | st.binary(max_size=2), max_size=4), max_size=6)


@given(st.dictionaries(_keys, st.binary(max_size=2)), _changes, _keys)
def test_it_reads_as_a_plain_dict_would(
    restored: dict[str, bytes], changes: list[dict[str, bytes | None]], prefix: str
) -> None:
    """After any changes a prefix gives its entries, each once and in order, without the worker's own."""
    plain, table = dict(restored), LivingTable(restored)
    for puts in changes:
        table.apply(puts)
        for key, value in puts.items():
            if value is None:
                plain.pop(key, None)
            else:
                plain[key] = value
    seen = [(key, value) for key, value in sorted(plain.items()) if key.startswith(prefix)]
    own = prefix.startswith("~")
    assert list(table.items(prefix)) == [each for each in seen if own or not each[0].startswith("~")]
    assert all(table.get(key) == value for key, value in plain.items())
