/** Redeem the offer with the PIN that was typed. */
import { api } from "/static/api.js";
import { nodeTime } from "/static/clock.js";
import { dropInvite, keepDevice, renewId } from "/static/phone/kept.js";
import { enterMesh, isPaired } from "/static/phone/mesh.js";
import { end, pause, refused } from "/static/phone/opening.js";
import { device, isBusy, node, offer, trouble } from "/static/phone/state.js";

const RETRY_MS = 2000;
const PIN_DIGITS = 6;

/** The digits in a text, whatever stands around them; Arabic keypads write their own. */
export const digitsOf = (text) => text.replace(/[٠-٩۰-۹]/g, (digit) => digit.charCodeAt(0) & 0xf).replace(/[^0-9]/g, "");

/** Up to six digits of what was typed or pasted, as `123 456`. */
export function spellPin(typed) {
  const digits = digitsOf(typed).slice(0, PIN_DIGITS);
  return digits.length > 3 ? `${digits.slice(0, 3)} ${digits.slice(3)}` : digits;
}

/** Whether it is a whole PIN. */
export const isWholePin = (spelled) => spelled.replace(" ", "").length === PIN_DIGITS;

/** Send it; what comes of it shows in the state. An answer that doesn't come is asked for again. */
export async function pair(pin) {
  if (isBusy.value || offer.value === null) return;
  const of = offer.value;
  isBusy.value = true;
  trouble.value = null;
  let isRenewed = false;
  while (offer.value === of) {
    try {
      const answer = await api.post("/auth/pair/verify", claim(of, pin));
      paired(answer);
      return;
    } catch (error) {
      if (offer.value !== of) return;
      if (error.code === "identity_mismatch" && !isRenewed) {
        isRenewed = true; // the node knows our id as somebody else's: nothing was spent
        device.value = { ...device.value, ...renewId() };
      } else if (error.status === 0 || error.status >= 500) {
        trouble.value = { kind: error.status === 0 ? "unreachable" : "stuck" };
        await pause(error.retry_after ? error.retry_after * 1000 : RETRY_MS);
      } else {
        if (error.code === "code_used" && (await isPairedAlready())) return;
        failed(error);
        return;
      }
    }
  }
}

function claim({ code, link }, pin) {
  const { id, name, kind, info } = device.value;
  return {
    code,
    pin: digitsOf(pin),
    linking_code: link,
    node_identity: { node_id: id, name, kind, capabilities: [], device_info: info },
  };
}

function paired({ node: said }) {
  dropInvite();
  keepDevice({ id: device.value.id, name: device.value.name, pairedWith: said.name });
  node.value = { ...node.value, name: said.name };
  offer.value = null;
  enterMesh({ isNew: true });
}

/** Whether it was our own try whose answer got lost on the way, and the cookie still came. */
async function isPairedAlready() {
  if (offer.value?.isAgain || !(await isPaired())) return false; // it had been paired before, or never
  paired({ node: node.value });
  return true;
}

function failed(error) {
  isBusy.value = false;
  if (error.code === "bad_pin") {
    if (error.attempts_left === 0) end("over", "burned", offer.value.isAgain);
    else {
      offer.value = { ...offer.value, attemptsLeft: error.attempts_left };
      trouble.value = { kind: "wrongPin", attempts: error.attempts_left ?? undefined };
    }
  } else if (error.retry_after) {
    trouble.value = { kind: "wait", until: nodeTime() + error.retry_after * 1000 };
  } else if (!refused(error, offer.value.isAgain)) {
    trouble.value = { kind: "other", error };
  }
}
