/** Live events over /ws: authenticates, subscribes, resumes, reconnects; polls while the socket is refused. */
import { signal } from "@preact/signals-core";

const POLL_MS = 5000;
const CALL_MS = 8000;
const CHECK_MS = 25000; // of silence, then we ask whether the socket still stands
const FAREWELL_MS = 500;
const TICK_MS = 5000;
const BACKOFF_MS = [300, 1000, 2000, 4000, 8000, 15000];
const REVOKED = 4001;
const TOKEN_OVER = 4401;

/** connecting | live | polling (HTTP works, the socket does not) | lost (nothing answers) | over (no longer allowed). */
export const connection = signal("connecting");

/**
 * Keep a page fresh until `stop()`.
 * topics: patterns; onEvent({topic, data, at, sequence}); refresh(): loads all, may throw an ApiError;
 * token: the owner's or null; onOver(code, reason): the node wants us no more.
 */
export function openConnection({ topics, onEvent, refresh, token = null, onOver = () => {} }) {
  let socket = null;
  let since = null;
  let failures = 0;
  let heard_at = 0;
  let ticked_at = Date.now();
  let stopped = false;
  let reconnecting = 0;
  let polling = 0;
  let refreshing = null;
  let again = false;
  let ids = 0;
  const calls = new Map();

  function call(method, params) {
    const id = (ids += 1);
    const own = socket;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        calls.delete(id);
        reject(new Error("no answer"));
        own.close();
        closed(own);
      }, CALL_MS);
      calls.set(id, { resolve, reject, timer });
      own.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  function over(code, reason) {
    if (stopped) return;
    stop();
    connection.value = "over";
    onOver(code, reason);
  }

  /** Load all, one run at a time; whether the node answered. */
  async function load() {
    if (refreshing) {
      again = true;
      return refreshing;
    }
    refreshing = (async () => {
      let answered = true;
      do {
        again = false;
        try {
          await refresh();
        } catch (error) {
          if (error.status === 401 || error.status === 403) {
            if (socket) await new Promise((resolve) => setTimeout(resolve, FAREWELL_MS)); // its close says why
            over(error.code === "not_permitted" ? 4403 : TOKEN_OVER, error.code);
            return true;
          }
          answered = (error.status ?? 0) !== 0;
        }
      } while (again && !stopped);
      return answered;
    })();
    try {
      return await refreshing;
    } finally {
      refreshing = null;
    }
  }

  async function poll() {
    clearTimeout(polling);
    if (stopped || connection.value === "live") return;
    const answered = await load();
    if (stopped || connection.value === "live") return;
    const was = connection.value;
    connection.value = answered ? "polling" : "lost";
    if (answered && was === "lost") {
      failures = 0;
      connect();
    }
    polling = setTimeout(poll, POLL_MS);
  }

  function connect() {
    clearTimeout(reconnecting);
    if (stopped || (socket && socket.readyState <= WebSocket.OPEN)) return;
    const own = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    socket = own;
    const patience = setTimeout(() => {
      own.close();
      closed(own);
    }, CALL_MS);
    own.onopen = async () => {
      heard_at = Date.now();
      try {
        if (token) await call("session.authenticate", { token });
        const { sequence, missed } = await call("event.subscribe", { topics, ...(since === null ? {} : { since }) });
        clearTimeout(patience);
        if (since === null || missed) since = sequence;
        failures = 0;
        await load(); // what came while we looked away, and what no event tells
        if (own === socket && own.readyState === WebSocket.OPEN && !stopped) {
          clearTimeout(polling);
          connection.value = "live";
        }
      } catch (error) {
        clearTimeout(patience);
        if (error.code === "token_required" || error.code === "not_permitted") over(TOKEN_OVER, error.code);
        else own.close();
      }
    };
    own.onmessage = ({ data }) => {
      heard_at = Date.now();
      if (own === socket) take(JSON.parse(data));
    };
    own.onclose = ({ code, reason }) => {
      clearTimeout(patience);
      if (code === REVOKED || code === TOKEN_OVER) over(code, reason);
      else closed(own);
    };
  }

  function take(message) {
    if (message.method === "event") {
      since = message.params.sequence ?? since;
      onEvent(message.params);
    } else if (message.method === "event.lost") {
      load();
    } else if (calls.has(message.id)) {
      const { resolve, reject, timer } = calls.get(message.id);
      calls.delete(message.id);
      clearTimeout(timer);
      if (message.error) reject(Object.assign(new Error(message.error.message), message.error.data, { status: 0 }));
      else resolve(message.result);
    }
  }

  function closed(own) {
    if (own !== socket || stopped) return;
    socket = null;
    for (const { reject, timer } of calls.values()) {
      clearTimeout(timer);
      reject(new Error("closed"));
    }
    calls.clear();
    const first = failures === 0;
    reconnecting = setTimeout(connect, BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)] * (0.8 + Math.random() * 0.4));
    failures += 1;
    if (first && connection.value === "live") return; // the next try decides
    if (connection.value === "live" || connection.value === "connecting") {
      connection.value = connection.value === "live" ? "lost" : connection.value;
      poll();
    }
  }

  /** Look at once whether all still stands: after sleep, another network, coming back to the tab. */
  function check() {
    if (stopped) return;
    if (!socket) {
      failures = Math.min(failures, 1);
      connect();
      poll();
    } else if (socket.readyState === WebSocket.OPEN && connection.value === "live") {
      heard_at = Date.now();
      call("event.subscribe", { topics }).then(load, () => {});
    }
  }

  function tick() {
    const slept = Date.now() - ticked_at > 3 * TICK_MS;
    ticked_at = Date.now();
    const is_silent = connection.value === "live" && Date.now() - heard_at > CHECK_MS;
    if (!document.hidden && (slept || is_silent)) check(); // a hidden page's ticks are rare; it checks when it is seen
  }

  const wake = () => {
    if (!document.hidden) check();
  };

  function stop() {
    stopped = true;
    clearTimeout(reconnecting);
    clearTimeout(polling);
    clearInterval(ticking);
    document.removeEventListener("visibilitychange", wake);
    window.removeEventListener("online", wake);
    for (const { timer } of calls.values()) clearTimeout(timer);
    calls.clear();
    socket?.close();
    socket = null;
  }

  const ticking = setInterval(tick, TICK_MS);
  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", wake);
  connect();
  return { stop, check, refresh: load };
}
