import asyncio
from typing import Any

import pytest
from aiohttp import web
from intentmesh.executor import alerts as module
from intentmesh.executor.alerts import Alert, Alerts
from structlog.testing import capture_logs

REPEAT_SECONDS = 100.0
ALERT = Alert("RefundDue", "0x11", "The order expired.")


async def test_alerts__receiver_fails_once__is_told_once_in_alertmanagers_form() -> None:
    received: list[Any] = []
    heard = asyncio.Event()
    failures = 1

    async def receive(request: web.Request) -> web.Response:
        nonlocal failures
        if failures:
            failures -= 1
            return web.Response(status=503)
        received.extend(await request.json())
        heard.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/api/v2/alerts", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    now = 1_000.0
    alerts = Alerts(f"http://127.0.0.1:{runner.addresses[0][1]}/api/v2/alerts", REPEAT_SECONDS, lambda: now)
    sending = asyncio.create_task(alerts.send_forever())
    alerts.raise_alert(ALERT)
    alerts.raise_alert(ALERT)
    await asyncio.wait_for(heard.wait(), 10)
    assert [one["labels"]["alertname"] for one in received] == ["RefundDue"]
    assert received[0]["labels"]["subject"] == "0x11"
    assert received[0]["startsAt"] == "1970-01-01T00:16:40+00:00"
    heard.clear()
    now += REPEAT_SECONDS
    alerts.raise_alert(ALERT)
    await asyncio.wait_for(heard.wait(), 10)
    assert len(received) == 2
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await runner.cleanup()


async def test_alerts__nobody_sends__raising_neither_waits_nor_fails() -> None:
    alerts = Alerts("http://127.0.0.1:9/", REPEAT_SECONDS, lambda: 0.0)
    for number in range(1_000):
        alerts.raise_alert(Alert("RefundDue", str(number), "again"))


def test_alerts__of_more_than_are_remembered__the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 100)
    alerts = Alerts("", REPEAT_SECONDS, lambda: 0.0)
    with capture_logs() as lines:
        for number in (*range(150), 149, 50, 49):
            alerts.raise_alert(Alert("RefundDue", str(number), ""))
    assert [line["subject"] for line in lines[150:]] == ["49"]
