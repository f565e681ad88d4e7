/** What the fragment of the address says: which offer, and for whom. The grammar: docs/protocol.md, Invite. */

const BASE64URL = /^[A-Za-z0-9_-]{22}$/; // 16 bytes
const LINK = /^[A-Z]{4}-?[0-9]{4}$/;

/**
 * `{kind: "none"}`, `{kind: "broken"}`, `{kind: "node"}` or `{kind: "phone", code, link}`; the last two with `cert`.
 * @param {string} fragment as in `location.hash`
 */
export function parseInvite(fragment) {
  const bare = decoded(fragment.replace(/^#/, "")).trim();
  if (!bare) return { kind: "none" };
  const parts = bare.split(".");
  if (parts.length < 2 || parts.length > 3) return { kind: "broken" };
  const [code, cert] = parts.map(bytesOf);
  if (!code || !cert) return { kind: "broken" };
  if (parts.length === 2) return { kind: "node", fragment: bare, cert: hexOf(cert) };
  const link = parts[2].toUpperCase();
  if (!LINK.test(link)) return { kind: "broken" };
  const letters = link.replace("-", "");
  return { kind: "phone", fragment: bare, cert: hexOf(cert), code: uuidOf(code), link: `${letters.slice(0, 4)}-${letters.slice(4)}` };
}

/** Some apps that open links escape what stands in them. */
function decoded(fragment) {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return fragment;
  }
}

/** The 16 bytes of canonical base64url, else null. */
function bytesOf(part) {
  if (!BASE64URL.test(part) || !/[AQgw]$/.test(part)) return null;
  const binary = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** Bytes as lower-case hexadecimal digits. */
export function hexOf(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** base64url of any length as hexadecimal digits; "" if it is none. */
export function hexOfBase64url(text) {
  try {
    return hexOf(Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0)));
  } catch {
    return "";
  }
}

function uuidOf(bytes) {
  const hex = hexOf(bytes);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
