"""Looks for services as a node does, or with every resolution at once; a line of JSON when all are resolved."""

import asyncio
import json
import sys
import time

from zeroconf.asyncio import AsyncZeroconf

from meshnode.node.discover_peers import DiscoverPeers, Sighting
from meshnode.transport.mdns_browse import MdnsBrowser

GIVE_UP_S = 8.0


async def main(count: int, address: str, *, all_at_once: bool) -> None:
    zeroconf = AsyncZeroconf(interfaces=[address])
    discovery, seen, last = DiscoverPeers("nobody"), set[str](), [0.0]
    is_done = asyncio.Event()

    def sighted(sighting: Sighting) -> None:
        if sighting.instance not in seen:
            seen.add(sighting.instance)
            last[0] = time.perf_counter()
            if len(seen) == count:
                is_done.set()

    discovery.on_sighting = sighted
    browser = MdnsBrowser(zeroconf, discovery)
    if all_at_once:
        browser._places = asyncio.Semaphore(count * 2)
    cpu, began = time.process_time(), time.perf_counter()
    browser.start()
    try:
        async with asyncio.timeout(GIVE_UP_S):
            await is_done.wait()
    except TimeoutError:
        pass
    cpu = time.process_time() - cpu
    print(json.dumps({"resolved": len(seen), "s": last[0] - began, "cpu_s": cpu}), flush=True)
    await browser.stop()
    await zeroconf.async_close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], all_at_once=sys.argv[3:] == ["all-at-once"]))
