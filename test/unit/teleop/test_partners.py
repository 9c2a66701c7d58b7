"""Two devices, an arm each: one can be driven while the other rests, and both fall silent together."""

from __future__ import annotations

from vla_adapter_ros.teleop.partners import Partners, frame_id

S = 0.25


def test_who_is_alone_stands_in_for_the_others():
    left = Partners("/left", ["/b"], S)
    assert left.absent(1.0) == ["/b"] and not left.drive(1.0)
    left.note("/b", frame_id("/left", rests=True), 1.0)  # its own
    assert left.absent(1.0) == ["/b"] and not left.drive(1.0)


def test_a_leader_arm_drives_and_is_not_stood_in_for():
    left = Partners("/left", ["/b"], S)
    left.note("/b", "leader_base", 1.0)
    assert left.drive(1.1) and not left.absent(1.1)
    assert not left.drive(1.3) and left.absent(1.3) == ["/b"]


def test_two_that_rest_do_not_keep_each_other_going():
    left, right = Partners("/left", ["/b"], S), Partners("/right", ["/a"], S)
    sent = []
    for n in range(100):
        now = n * 0.02
        driven = 20 <= n < 50  # by the hand at /left
        if driven:
            right.note("/a", frame_id("/left", rests=False), now)
            for topic in left.absent(now):
                right.note(topic, frame_id("/left", rests=True), now) if topic == "/a" else None
        elif left.drive(now):
            right.note("/a", frame_id("/left", rests=True), now)
        if right.drive(now):
            left.note("/b", frame_id("/right", rests=True), now)
            sent.append(n)
    assert sent == list(range(20, 50 + round(S / 0.02)))
