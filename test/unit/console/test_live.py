"""A page gets the newest picture once it has shown the one before; no page holds up another, or memory."""

from __future__ import annotations

import asyncio

from vla_adapter_ros.console.live import LiveHub


class Page:
    """The other side of a socket, in memory: shows what it is sent, and answers when told to."""

    def __init__(self):
        self.pictures, self.texts = [], []
        self.words: asyncio.Queue[str | None] = asyncio.Queue()

    async def send_bytes(self, data):
        self.pictures.append(data)

    async def send_text(self, data):
        self.texts.append(data)

    async def receive_text(self):
        word = await self.words.get()
        if word is None:
            raise ConnectionError("gone")
        return word

    def say(self, *words):
        for word in words:
            self.words.put_nowait(word)


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)


def run(scenario):
    """Run `scenario(hub, page, heard)` while the page is served."""

    async def main():
        hub, page, heard = LiveHub(("front", "wrist")), Page(), []
        serving = asyncio.create_task(hub.serve(page, heard.append))
        await settled()
        await scenario(hub, page, heard)
        page.say(None)
        ended = await serving
        assert isinstance(ended, ConnectionError) and len(hub) == 0 and not hub.watched

    asyncio.run(main())


def test_a_picture_goes_out_with_its_camera_in_front():
    async def scenario(hub, page, heard):
        assert hub.watched and len(hub) == 1
        hub.put_picture("wrist", b"jpeg")
        await settled()
        assert page.pictures == [b"\x01jpeg"]

    run(scenario)


def test_only_the_newest_of_what_a_slow_page_missed_comes():
    async def scenario(hub, page, heard):
        for n in range(100):
            hub.put_picture("front", b"%d" % n)
            await settled()
        assert page.pictures == [b"\x000"]
        page.say("a0")
        await settled()
        assert page.pictures == [b"\x000", b"\x0099"]

    run(scenario)


def test_cameras_and_texts_do_not_wait_for_each_other():
    async def scenario(hub, page, heard):
        hub.put_picture("front", b"one")
        hub.put_picture("wrist", b"two")
        hub.put_text("three")
        await settled()
        assert page.pictures == [b"\x00one", b"\x01two"] and page.texts == ["three"]
        page.say("b")
        hub.put_text("four")
        hub.put_picture("front", b"not yet")
        await settled()
        assert page.texts == ["three", "four"] and len(page.pictures) == 2
        assert heard == ["b"]

    run(scenario)


def test_words_of_the_page_are_heard_and_senseless_ones_change_nothing():
    async def scenario(hub, page, heard):
        page.say("stop", "a99", "a-1", "ax", "a" * 5000, "\u0661", "a\u0661")
        await settled()
        assert heard[0] == "stop" and all(len(word) <= 200 for word in heard)
        hub.put_picture("front", b"still alive")
        await settled()
        assert page.pictures == [b"\x00still alive"]

    run(scenario)


def test_a_page_that_hangs_does_not_hold_up_another():
    async def main():
        hub, hanging, good = LiveHub(("front",)), Page(), Page()

        async def never(data):
            await asyncio.Event().wait()

        hanging.send_bytes = never
        tasks = [asyncio.create_task(hub.serve(page, lambda word: None)) for page in (hanging, good)]
        await settled()
        for n in range(5):
            hub.put_picture("front", b"%d" % n)
            good.say("a0")
            await settled()
        assert [picture[1:] for picture in good.pictures] == [b"0", b"1", b"2", b"3", b"4"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not hub.watched

    asyncio.run(main())
