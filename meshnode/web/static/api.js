/** HTTP to the node: JSON in, JSON out, problems as ApiError. */
import { learnClock } from "/static/clock.js";
import { sentence } from "/static/format.js";
import { text } from "/static/text.js";

const KEY = "meshnode.token";
const TIMEOUT_MS = 15000;

/** A refusal of the node's, or that it did not answer (`unreachable`, status 0). */
export class ApiError extends Error {
  constructor(code, detail, { status = 0, ...members } = {}) {
    super(detail || code);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.detail = detail || code;
    this.next_step = members.next_step ?? "";
    this.retry_after = members.retry_after ?? null;
    this.attempts_left = members.attempts_left ?? null;
    this.field = members.field ?? null;
  }
}

/** The owner's token of this tab, or null; a paired device has a cookie instead. */
export function readToken() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Keep the token for this tab; null forgets it. */
export function keepToken(token) {
  try {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // storage is switched off: the page works until it is reloaded
  }
}

/** What to tell a person about an error. */
export function describeError(error) {
  if (!(error instanceof ApiError)) return text.errors.unexpected;
  const known = text.errors[error.code];
  if (typeof known === "function") return known(error);
  return known ?? sentence(error.detail);
}

/** One request; resolves to the decoded answer, null where there is none. */
export async function request(method, path, body, { signal, timeout_ms = TIMEOUT_MS, token = readToken() } = {}) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const init = { method, headers, cache: "no-store", credentials: "same-origin", redirect: "error" };
  if (method !== "GET") {
    headers["Content-Type"] = "application/json"; // a cookie counts with it only
    init.body = JSON.stringify(body ?? {});
  }
  const limit = AbortSignal.timeout(timeout_ms);
  init.signal = signal ? AbortSignal.any([signal, limit]) : limit;
  let response;
  let answer;
  try {
    response = await fetch(path, init);
    const content = await response.text();
    answer = content ? JSON.parse(content) : null;
  } catch (error) {
    if (signal?.aborted) throw error;
    if (response && error instanceof SyntaxError) throw new ApiError("bad_answer", "", { status: response.status });
    throw new ApiError("no_answer", "");
  }
  learnClock(response.headers.get("Date"));
  if (response.ok) return answer;
  const problem = answer ?? {};
  const retry_after = Number(response.headers.get("Retry-After")) || problem.retry_after || null;
  throw new ApiError(problem.code ?? "bad_answer", problem.detail, { ...problem, status: response.status, retry_after });
}

export const api = {
  get: (path, options) => request("GET", path, undefined, options),
  post: (path, body, options) => request("POST", path, body, options),
  patch: (path, body, options) => request("PATCH", path, body, options),
  put: (path, body, options) => request("PUT", path, body, options),
  delete: (path, body, options) => request("DELETE", path, body, options),
};
