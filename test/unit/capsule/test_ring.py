from vla_adapter_ros.capsule.ring import NewestEntries, SegmentRing


def filled(seconds: int, *, kept_s=4.0, segment_s=1.0, most=10**6, size=1):
    ring = SegmentRing(kept_s, segment_s, most)
    for tick in range(seconds * 10):
        if ring.due(tick / 10):
            ring.begin(f"state {tick}", tick / 10)
        ring.add(tick, size)
    return ring


def test_at_least_the_wanted_time_is_kept_and_hardly_more():
    state, entries = filled(20).contents()
    assert entries == list(range(int(state.split()[1]), 200))
    assert 40 <= len(entries) <= 50


def test_the_state_is_that_before_the_oldest_entry():
    state, entries = filled(2).contents()
    assert state == "state 0" and entries[0] == 0


def test_bytes_bound_the_ring_and_segments_go_as_a_whole():
    state, entries = filled(20, most=1000, size=50).contents()
    assert len(entries) * 50 <= 1000
    assert entries == list(range(int(state.split()[1]), 200))


def test_a_flood_without_a_new_segment_leaves_no_gap():
    ring = filled(1, most=100)
    for n in range(1000):
        ring.add(n, 50)
    assert ring.contents() is None
    ring.begin("anew", 2.0)
    ring.add("a", 1)
    assert ring.contents() == ("anew", ["a"])


def test_a_clock_that_is_set_back_begins_a_segment():
    ring = filled(2)
    assert ring.due(-5.0) and not ring.due(1.95)


def test_the_newest_entries_are_bounded_in_time_and_bytes():
    entries = NewestEntries(2.0, 100)
    for n in range(50):
        entries.add(n, n * 0.5, 1)
    assert entries.contents() == [45, 46, 47, 48, 49]
    for _ in range(5):
        entries.add("large", 25.0, 40)
    assert entries.contents() == ["large"] * 2
    entries.add("alone", 25.0, 1000)  # larger than all that is allowed
    assert entries.contents() == []
    entries.add("later", 30.0, 1)
    entries.add("earlier", 10.0, 1)  # the clock was set back
    assert entries.contents() == ["earlier"]
