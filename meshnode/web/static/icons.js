/** Icons as components; decoration beside words, so hidden from screen readers. */
import { html } from "/static/html.js";

const icon = (paths) => ({ size = 20 }) => html`
  <svg width=${size} height=${size} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75"
    stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">
    ${paths.map((d) => html`<path d=${d} />`)}
  </svg>`;

export const Desktop = icon(["M4 4h16a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1Z", "M8 20h8", "M12 16v4"]);
export const Phone = icon(["M8 2.5h8A1.5 1.5 0 0 1 17.5 4v16a1.5 1.5 0 0 1-1.5 1.5H8A1.5 1.5 0 0 1 6.5 20V4A1.5 1.5 0 0 1 8 2.5Z", "M11 18.5h2"]);
export const Server = icon(["M4 4h16v7H4Z", "M4 13h16v7H4Z", "M8 7.5h.01", "M8 16.5h.01", "M12 7.5h5", "M12 16.5h5"]);
export const Browser = icon(["M4 4h16a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1Z", "M3 9h18", "M6.5 6.5h.01", "M9.5 6.5h.01"]);
export const Device = icon(["M7 7h10v10H7Z", "M10 3v4", "M14 3v4", "M10 17v4", "M14 17v4", "M3 10h4", "M3 14h4", "M17 10h4", "M17 14h4"]);
export const Mesh = icon(["M12 4.5v0", "M9.5 5a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0", "M2.5 18a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0", "M16.5 18a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0", "M10.8 7.2 6.2 15.8", "M13.2 7.2l4.6 8.6", "M7.5 18h9"]);
export const Plus = icon(["M12 5v14", "M5 12h14"]);
export const Check = icon(["M5 12.5l4.5 4.5L19 7.5"]);
export const Cross = icon(["M6 6l12 12", "M18 6 6 18"]);
export const Warning = icon(["M12 4 2.8 19.5h18.4Z", "M12 10v4.5", "M12 17.2v.01"]);
export const Info = icon(["M3.5 12a8.5 8.5 0 1 0 17 0a8.5 8.5 0 1 0-17 0", "M12 11v5", "M12 8v.01"]);
export const Copy = icon(["M9 9h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1Z", "M16 6V4a1 1 0 0 0-1-1H5a1 1 0 0 0-1 1v10a1 1 0 0 0 1 1h1"]);
export const Clock = icon(["M3.5 12a8.5 8.5 0 1 0 17 0a8.5 8.5 0 1 0-17 0", "M12 7v5l3.5 2"]);
export const Bell = icon(["M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15Z", "M10 20.5h4"]);
export const Radar = icon(["M12 12v.01", "M8.5 15.5a5 5 0 1 1 7 0", "M5.6 18.4a9 9 0 1 1 12.8 0"]);
export const Shield = icon(["M12 3l7.5 3v5.5c0 4.6-3.1 8-7.5 9.5c-4.400-1.500-7.500-4.900-7.500-9.500V6Z", "M9 12l2.200 2.200L15.200 10"]);
export const Camera = icon(["M4 7h3l1.500-2.500h7L17 7h3a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1Z", "M8.500 12.500a3.500 3.500 0 1 0 7 0a3.500 3.500 0 1 0-7 0"]);
export const Pencil = icon(["M4 20l1-4L16.500 4.500l3 3L8 19Z", "M14 7l3 3"]);
export const Search = icon(["M4 10.500a6.500 6.500 0 1 0 13 0a6.500 6.500 0 1 0-13 0", "M15.500 15.500 20 20"]);
export const Refresh = icon(["M20 11a8 8 0 0 0-14.500-3.500L4 9", "M4 4v5h5", "M4 13a8 8 0 0 0 14.500 3.500L20 15", "M20 20v-5h-5"]);
export const Chevron = icon(["M9 6l6 6-6 6"]);

const KINDS = { desktop: Desktop, phone: Phone, server: Server, browser: Browser };

/** The icon of a node's kind. */
export const KindIcon = ({ kind, size }) => html`<${KINDS[kind] ?? Device} size=${size} />`;
