/** Nodes in sight that are not ours yet; joining one asks its PIN. */
import { useEffect, useState } from "preact/hooks";
import { JoinDialog } from "/static/dashboard/join-dialog.js";
import { Empty, Prose } from "/static/dashboard/parts.js";
import { ScanDialog } from "/static/dashboard/scan.js";
import { discovered, loadDiscovered, strangers } from "/static/dashboard/store.js";
import { formatHostPort } from "/static/format.js";
import { html } from "/static/html.js";
import { Camera, Desktop, Plus, Radar } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

const words = text.nearby;
const LOOK_MS = 5000;

/** The section. */
export function Nearby() {
  const [joining, setJoining] = useState(null); // {name?, to?}
  const [scanning, setScanning] = useState(false);
  const found = strangers.value;
  const known = new Set((discovered.value ?? []).map((one) => one.id)).size - new Set(found.map((one) => one.id)).size;
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) loadDiscovered().catch(() => {});
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, []);
  const scanned = (url) => {
    setScanning(false);
    setJoining({ to: url, name: new URL(url).host });
  };
  return html`
    <div class="section-head">
      <div><h1>${text.sections.nearby}</h1><p class="soft">${words.lead}</p></div>
      <div class="buttons">
        <button type="button" class="button" onClick=${() => setJoining({})}><${Plus} />${words.by_address}</button>
        <button type="button" class="button" onClick=${() => setScanning(true)}><${Camera} />${words.scan}</button>
      </div>
    </div>
    ${found.length
      ? html`<ul class="card rows" aria-live="polite">${found.map((one) => html`<${Found} key=${`${one.id} ${one.host} ${one.port}`} found=${one} join=${setJoining} />`)}</ul>`
      : html`<${Empty} icon=${Radar} title=${words.empty_title}><p>${words.empty_body}</p><//>`}
    ${known > 0 && html`<p class="soft small">${words.known(known)}</p>`}
    ${joining && html`<${JoinDialog} ...${joining} onClose=${() => setJoining(null)} />`}
    ${scanning && html`<${ScanDialog} onFound=${scanned} onClose=${() => setScanning(false)} />`}`;
}

function Found({ found, join }) {
  const to = formatHostPort(found.host, found.port);
  return html`
    <li class="row">
      <span class="row-icon"><${Desktop} size=${24} /></span>
      <div class="row-main">
        <h2 class="row-name">${found.name}</h2>
        <p class="row-status">
          <span class="status"><span class=${`dot ${found.pairing_open ? "online" : "offline"}`}></span><span><${Prose} of=${found.pairing_open ? words.open : words.shut} plain /></span></span>
        </p>
        <p class="soft small mono">${to}</p>
      </div>
      ${found.pairing_open && html`
        <button type="button" class="button primary" aria-label=${words.join_one(found.name)} onClick=${() => join({ name: found.name, to })}>${words.join}</button>`}
    </li>`;
}
