/** The section on screen, from the address's fragment: `#/nodes/ID`. */
import { signal } from "@preact/signals";

const SECTIONS = ["nodes", "nearby", "requests", "activity", "node", "connect"];

function read() {
  const [, name, ...rest] = location.hash.split("/");
  const section = SECTIONS.includes(name) ? name : "nodes";
  let argument = rest.join("/");
  try {
    argument = decodeURIComponent(argument);
  } catch {
    argument = "";
  }
  return { section, argument };
}

/** {section, argument}. */
export const route = signal(read());

window.addEventListener("hashchange", () => {
  route.value = read();
});

/** The fragment that leads to a section. */
export const pathTo = (section, argument) =>
  argument ? `#/${section}/${encodeURIComponent(argument)}` : `#/${section}`;

/** Go there; the back button comes back. */
export function goTo(section, argument) {
  location.hash = pathTo(section, argument);
}

/** Be there instead of here. */
export function replaceWith(section, argument) {
  history.replaceState(null, "", pathTo(section, argument));
  route.value = read();
}
