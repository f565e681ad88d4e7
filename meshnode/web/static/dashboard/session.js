/** Who this page is: trades the ticket for a token, and says what is missing. */
import { signal } from "@preact/signals";
import { api, keepToken, readToken } from "/static/api.js";

/** On the TLS port a paired device's cookie counts; on the node's own machine the owner's token. */
export const isPublic = location.protocol === "https:";

/** starting | in | signed_out | ticket_bad | no_device | level | revoked. */
export const session = signal("starting");

/** The connection of this page, once signed in. */
export const link = { current: null };

/** Take the ticket out of the address and trade it; whether there is something to call with. */
export async function signIn() {
  const ticket = new URLSearchParams(location.hash.slice(1)).get("ticket");
  if (ticket !== null) {
    history.replaceState(null, "", location.pathname);
    try {
      const { token } = await api.post("/api/v1/tickets/redeem", { ticket }, { token: null }); // ours may be over
      keepToken(token);
    } catch (error) {
      if (!readToken()) {
        session.value = error.status ? "ticket_bad" : "signed_out";
        return false;
      }
    }
  }
  if (isPublic) return isOperator();
  if (!readToken()) session.value = "signed_out";
  return readToken() !== null;
}

/** Whether the cookie is that of a device at level 2; asked so that nothing is refused. Says why not. */
async function isOperator() {
  try {
    const { capabilities } = await api.get("/api/node/identity"); // told to whom it knows
    if (!capabilities) {
      session.value = "no_device";
      return false;
    }
    const { device } = await api.post("/api/node/heartbeat", {});
    if (device && device.trust_level < 2) {
      session.value = "level";
      return false;
    }
  } catch {
    // not reached, or switched off: the connection will tell
  }
  return true;
}

/** The node wants us no more; see openConnection. */
export function ended(code, reason) {
  keepToken(null);
  if (!isPublic) session.value = "signed_out";
  else if (reason === "not_permitted") session.value = "level";
  else session.value = code === 4001 ? "revoked" : "no_device";
}
