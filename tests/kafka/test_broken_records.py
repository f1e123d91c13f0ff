"""Records that can't be read: each becomes a stub of its own, and takes nothing else with it (F6)."""

from __future__ import annotations

import gzip

from aiokafka import AIOKafkaProducer
from tests.support.brokers import broker
from tests.support.log_engines import ALSO_IN, IN, OUT, Engine, kafka_engine, lease_of, publish, sent, take, values

from callgate.log.address import open_log
from callgate.log.port import Log, Progress, Record, Unit
from callgate.settings import KafkaSettings, TopicSettings


async def outsider(engine: Engine, **options: object) -> AIOKafkaProducer:
    """A producer of somebody else."""
    producer = AIOKafkaProducer(bootstrap_servers=engine.address.removeprefix("kafka://"), **options)
    await producer.start()
    return producer


async def test_f6_a_corrupt_record_is_a_stub_and_its_neighbours_come() -> None:
    """F6: where the checksum of one batch is wrong, all that lies before, behind and beside it is given."""
    with broker() as own:
        engine = kafka_engine("kafka", own.address)
        log = await engine.open()
        for value in (b"before", b"broken-broken-broken", b"behind"):
            await publish(log, [value])
        await publish(log, [b"beside"], topic=ALSO_IN)
        await log.close()
        engine.opened.clear()
        own.stop()
        (segment,) = (own.node.folder / "data" / f"{engine.prefix}{IN}-0").glob("*.log")
        data = segment.read_bytes()
        assert data.count(b"broken-broken-broken") == 1
        segment.write_bytes(data.replace(b"broken-broken-broken", b"broken-BROKEN-broken"))
        own.start()
        lease = await lease_of(await engine_again(engine), 0)
        got = {(record.topic, record.offset): record for record in await take(lease, 4, seconds=30)}
        assert [got[IN, 0].value, got[IN, 2].value, got[ALSO_IN, 0].value] == [b"before", b"behind", b"beside"]
        stub = got[IN, 1]
        assert (stub.key, stub.value) == (None, b"")
        assert stub.headers[0][0] == "callgate-corrupt"
        await lease.commit(Unit((sent(b"done", topic=OUT),), progress={IN: Progress(3)}))
        assert await values(engine.opened[0], OUT) == [b"done"]
        await engine.opened[0].close()


async def engine_again(engine: Engine) -> Log:
    """The same topics, opened anew without being laid out."""
    log = await open_log(
        engine.address,
        clock=engine.clock,
        kafka=KafkaSettings(session_seconds=2),
        topic=TopicSettings(prefix=engine.prefix),
    )
    engine.opened.append(log)
    return log


async def test_what_outsiders_compress_is_read(engine: Engine) -> None:
    """Whatever compression a producer takes, its records come as they were written."""
    log = await engine.open()
    kinds = ("gzip", "snappy", "lz4", "zstd")
    for kind in kinds:
        producer = await outsider(engine, compression_type=kind)
        await producer.send_and_wait(f"{engine.prefix}{IN}", gzip.compress(kind.encode(), mtime=0), partition=0)
        await producer.stop()
    read = [record.value async for record in log.scan(IN, 0)]
    assert read == [gzip.compress(kind.encode(), mtime=0) for kind in kinds]


async def test_headers_that_are_null_or_strange_are_carried(engine: Engine) -> None:
    """A header without a value counts as an empty one; nothing else of the record is touched."""
    log = await engine.open()
    producer = await outsider(engine)
    await producer.send_and_wait(
        f"{engine.prefix}{IN}", b"v", key=b"\xff\xfe", partition=0, headers=[("none", None), ("a", b"\x00")]
    )
    await producer.stop()
    lease = await lease_of(log, 0)
    (record,) = await take(lease, 1)
    assert isinstance(record, Record)
    assert (record.key, record.value, record.headers) == (b"\xff\xfe", b"v", (("none", b""), ("a", b"\x00")))
