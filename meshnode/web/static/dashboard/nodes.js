/** The list of nodes: who is there, how it is, and what waits to be looked at. */
import { computed, signal } from "@preact/signals";
import { Empty, Mark, Status } from "/static/dashboard/parts.js";
import { Notices } from "/static/dashboard/notices.js";
import { pathTo } from "/static/dashboard/route.js";
import { nodes, requests, strangers } from "/static/dashboard/store.js";
import { formatAddress, labelOf } from "/static/format.js";
import { html } from "/static/html.js";
import { Bell, Chevron, Cross, KindIcon, Phone, Radar, Search } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

const FILTER_FROM = 6; // nodes
const words = text.nodes;
const filter = signal("");

const RANK = { online: 0, stale: 1, offline: 2 };

/** This node, then who is there, by name; then who was there last. */
function inOrder(a, b) {
  if (a.is_current !== b.is_current) return a.is_current ? -1 : 1;
  const by_status = RANK[a.status] - RANK[b.status];
  if (by_status) return by_status;
  const by_time = a.status === "offline" ? (b.last_seen ?? "").localeCompare(a.last_seen ?? "") : 0;
  return by_time || labelOf(a).localeCompare(labelOf(b)) || a.id.localeCompare(b.id);
}

const fitting = computed(() => {
  const wanted = filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const all = nodes.value ?? [];
  if (!wanted.length) return all;
  return all.filter((node) => {
    const hay = [node.name, node.alias, node.hostname, node.kind, text.kind[node.kind], node.status, node.id, ...node.addresses, ...node.capabilities.map((c) => c.name)]
      .join("\n").toLowerCase();
    return wanted.every((word) => hay.includes(word));
  });
});

/** The section. */
export function Nodes() {
  const all = nodes.value ?? [];
  const members = all.filter((n) => ["self", "paired", "unconfirmed"].includes(n.trust));
  const online = members.filter((n) => n.is_current || n.status === "online").length;
  const shown = fitting.value;
  const part = (...trusts) => shown.filter((n) => trusts.includes(n.trust)).sort(inOrder);
  const has_filter = all.length >= FILTER_FROM || filter.value !== "";
  return html`
    <div class="section-head">
      <div><h1>${text.sections.nodes}</h1><p class="soft" role="status">${filter.value.trim() ? words.found(shown.length) : words.summary(members.length, online)}</p></div>
      ${has_filter && html`<${Filter} />`}
    </div>
    <${Notices} />
    <${Waiting} />
    <${Rows} of=${part("self", "paired", "unconfirmed")} />
    ${filter.value && !shown.length && html`<${NoneFound} />`}
    ${members.length === 1 && !filter.value && html`
      <${Empty} icon=${Phone} title=${words.empty_title}><p>${words.empty_body}</p><//>`}
    <${Group} title=${words.announced} hint=${words.announced_hint} of=${part("announced")} />
    <${Group} title=${words.revoked} of=${part("revoked")} />`;
}

function Filter() {
  return html`
    <div class="filter" role="search">
      <${Search} />
      <input class="input" type="search" aria-label=${words.filter} placeholder=${words.filter_hint} autocomplete="off" spellcheck=${false}
        value=${filter.value} onInput=${(event) => { filter.value = event.currentTarget.value; }} />
    </div>`;
}

function NoneFound() {
  return html`<div class="card empty"><p>${words.none_found(filter.value)}</p>
    <button type="button" class="button" onClick=${() => { filter.value = ""; }}><${Cross} />${words.clear}</button></div>`;
}

function Waiting() {
  const waiting = requests.value.filter((one) => !one.is_approved);
  const inviting = strangers.value.filter((one) => one.pairing_open);
  return html`
    ${waiting.length > 0 && html`
      <p class="notice between"><${Bell} /><span>${words.waiting(waiting.length)}</span><a href=${pathTo("requests")}>${words.look(waiting.length)}</a></p>`}
    ${inviting.slice(0, 2).map((one) => html`
      <p class="notice between" key=${one.id}><${Radar} /><span>${words.showing(one.name)}</span><a href=${pathTo("nearby")}>${words.join}</a></p>`)}`;
}

function Group({ title, hint, of }) {
  if (!of.length) return null;
  return html`
    <details class="group">
      <summary>${title} <span class="badge">${of.length}</span></summary>
      ${hint && html`<p class="soft small">${hint}</p>`}
      <${Rows} of=${of} />
    </details>`;
}

function Rows({ of }) {
  if (!of.length) return null;
  return html`<ul class="card rows">${of.map((node) => html`<${Row} key=${node.id} node=${node} />`)}</ul>`;
}

function Row({ node }) {
  const label = labelOf(node);
  const level = text.node.trust_short[node.trust_level];
  return html`
    <li class="row">
      <span class="row-icon" title=${text.kind[node.kind] ?? text.kind.other}><${KindIcon} kind=${node.kind} size=${24} /></span>
      <div class="row-main">
        <h2 class="row-name">
          <a href=${pathTo("nodes", node.id)}>${label}</a>
          <${Mark} node=${node} />
          ${!node.is_current && level && html`<span class="badge">${level}</span>`}
        </h2>
        <p class="row-status"><${Status} node=${node} /></p>
      </div>
      <p class="row-side soft small">
        <span>${text.kind[node.kind] ?? text.kind.other}</span>
        <span class="mono">${formatAddress(node)}</span>
      </p>
      <${Chevron} />
    </li>`;
}
