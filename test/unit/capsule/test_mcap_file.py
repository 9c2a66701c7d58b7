"""Files that the real reader opens; files of strangers that are refused in a sentence, and never believed."""

import io

import pytest

pytest.importorskip("mcap", reason="MCAP files need the package mcap: make setup")
from mcap.exceptions import EndOfFile
from mcap.reader import make_reader
from mcap.records import Chunk
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from vla_adapter_ros.capsule.mcap_file import LARGEST_RECORD, MAGIC, McapFile, McapWriter, Schema, Topic
from vla_adapter_ros.errors import CapsuleError

TEXT = Topic("/words", Schema("std_msgs/msg/String", "ros2msg", "string data\n"), "cdr")
NOTES = Topic("/notes", Schema("notes", "jsonschema", "{}"), "json")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.mcap"
    with McapWriter(path) as writer:
        writer.add_metadata("facts", {"a": "b"})
        writer.add_attachment("file.yaml", "application/yaml", b"a: 1\n")
        for n in range(1000):
            writer.add_message(TEXT, 10**9 * n, bytes([n % 256]) * 100)
        writer.add_message(NOTES, -5, b"{}")
    return path


def test_the_real_reader_opens_what_is_written(path):
    with open(path, "rb") as file:
        reader = make_reader(file, validate_crcs=True)
        found = list(reader.iter_messages(topics=["/words"]))
        assert len(found) == 1000 and found[3][0].name == "std_msgs/msg/String"
        assert found[3][2].log_time == 3 * 10**9 and found[3][2].sequence == 4
        assert [m.metadata for m in reader.iter_metadata()] == [{"a": "b"}]
        assert [a.data for a in reader.iter_attachments()] == [b"a: 1\n"]


def test_what_is_written_is_read(path):
    file = McapFile(path)
    assert file.counts == {"/words": 1000, "/notes": 1} and file.bytes["/words"] == 100_000
    assert (file.begin_ns, file.end_ns) == (0, 999 * 10**9)
    assert file.metadata == {"facts": {"a": "b"}}
    assert file.attachments == {"file.yaml": ("application/yaml", b"a: 1\n")}
    assert file.topics == {"/words": TEXT, "/notes": NOTES}
    assert next(m for m in file.messages() if m.time_ns == 7 * 10**9).data == b"\x07" * 100


@pytest.mark.parametrize("compression", [CompressionType.LZ4, CompressionType.NONE])
def test_other_compressions_are_read(tmp_path, compression):
    path = tmp_path / "other.mcap"
    with open(path, "wb") as file:
        writer = Writer(file, compression=compression)
        writer.start("ros2")
        schema = writer.register_schema("s", "ros2msg", b"")
        channel = writer.register_channel("/t", "cdr", schema)
        for n in range(100):
            writer.add_message(channel, n, bytes(1000), n)
        writer.finish()
    assert McapFile(path).bytes == {"/t": 100_000}


@pytest.mark.parametrize("share", [0.0005, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_file_is_refused(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: max(int(len(data) * share), 9)])
    with pytest.raises(CapsuleError, match=r"ends in the middle|damaged"):
        McapFile(path)


def test_every_flipped_byte_is_read_or_refused_in_a_sentence(tmp_path):
    path = tmp_path / "small.mcap"
    with McapWriter(path) as writer:
        writer.add_metadata("facts", {"a": "b"})
        for n in range(5):
            writer.add_message(TEXT, n, bytes(range(20)))
    data = bytearray(path.read_bytes())
    refused = 0
    for place in range(0, len(data), 2):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            McapFile(path)
        except CapsuleError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 20


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.mcap"
    path.write_bytes(b"PK\x03\x04 no capsule")
    with pytest.raises(CapsuleError, match="no MCAP file"):
        McapFile(path)


def test_a_record_that_is_longer_than_the_file_takes_no_memory(tmp_path):
    path = tmp_path / "x.mcap"
    path.write_bytes(MAGIC + b"\x05" + (1 << 60).to_bytes(8, "little") + b"abc")
    with pytest.raises(CapsuleError, match="ends in the middle"):
        McapFile(path)


@pytest.mark.parametrize("says", [100, 1 << 50])
def test_a_chunk_that_grows_without_end_is_not_unpacked(tmp_path, says):
    import zstandard

    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(1 << 28))
    path = tmp_path / "bomb.mcap"
    chunk = Chunk("zstd", bomb, 0, 0, 0, says)
    content = _content(chunk)
    path.write_bytes(MAGIC + b"\x06" + len(content).to_bytes(8, "little") + content)
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(CapsuleError, match=f"allowed are {LARGEST_RECORD}" if says > 100 else "as it says"):
        McapFile(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def _content(chunk: Chunk) -> bytes:
    """A chunk as a record's content, with what it says of itself."""
    from mcap.data_stream import RecordBuilder

    builder = RecordBuilder()
    chunk.write(builder)
    return builder.end()[9:]


def test_a_failure_while_writing_leaves_no_footer(tmp_path):
    path = tmp_path / "a.mcap"
    with pytest.raises(ZeroDivisionError), McapWriter(path) as writer:
        writer.add_message(TEXT, 1, b"x")
        _ = 1 / 0
    records = StreamReader(io.BytesIO(path.read_bytes())).records
    with pytest.raises(EndOfFile):
        list(records)
