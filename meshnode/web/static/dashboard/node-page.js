/** One node: all that is known about it, and what can be done. */
import { useState } from "preact/hooks";
import { ForgetDialog, RenameDialog, RevokeDialog, TrustDialog } from "/static/dashboard/node-dialogs.js";
import { Ago, Facts, Fingerprint, Mark, Prose, Status } from "/static/dashboard/parts.js";
import { pathTo } from "/static/dashboard/route.js";
import { caller, isOwner, nodes } from "/static/dashboard/store.js";
import { formatAddress, formatMoment, labelOf } from "/static/format.js";
import { html } from "/static/html.js";
import { Chevron, KindIcon } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

const words = text.node;
const DIALOGS = { rename: RenameDialog, trust: TrustDialog, revoke: RevokeDialog, forget: ForgetDialog };

/** The section of one node, by its id. */
export function NodePage({ argument }) {
  const node = (nodes.value ?? []).find((one) => one.id === argument);
  const [dialog, setDialog] = useState(null);
  const back = html`<a class="back" href=${pathTo("nodes")}><${Chevron} />${words.all}</a>`;
  if (!node) return html`${back}<div class="card empty"><p>${words.gone}</p></div>`;
  const Open = DIALOGS[dialog];
  return html`
    ${back}
    <div class="section-head node-head">
      <span class="row-icon large"><${KindIcon} kind=${node.kind} size=${32} /></span>
      <div>
        <h1>${labelOf(node)}</h1>
        ${node.alias && html`<p class="soft">${text.nodes.alias_of(node.name)}</p>`}
        <p><${Status} node=${node} /> <${Mark} node=${node} /></p>
      </div>
    </div>
    <${Actions} node=${node} open=${setDialog} />
    <div class="card padded"><${NodeFacts} node=${node} /></div>
    ${Open && html`<${Open} node=${node} onClose=${() => setDialog(null)} />`}`;
}

function Actions({ node, open }) {
  const above = !isOwner.value && node.trust_level >= caller.value.level;
  const is_you = node.id === caller.value.node_id;
  const may_rename = node.is_current ? isOwner.value : true;
  const may_end = !node.is_current && !above && node.trust !== "revoked";
  const may_forget = !node.is_current && !above && ["revoked", "announced", "unconfirmed"].includes(node.trust);
  return html`
    <div class="buttons">
      ${may_rename && html`<button type="button" class="button" onClick=${() => open("rename")}>${words.rename}</button>`}
      ${isOwner.value && node.trust === "paired" && html`<button type="button" class="button" onClick=${() => open("trust")}>${words.trust}</button>`}
      ${may_end && html`<button type="button" class="button danger" onClick=${() => open("revoke")}>${words.revoke}</button>`}
      ${may_forget && html`<button type="button" class="button danger" onClick=${() => open("forget")}>${words.forget}</button>`}
    </div>
    ${!isOwner.value && html`<p class="soft small"><${Prose} of=${words.only_here} />${above && !is_you && !node.is_current ? ` ${words.above}` : ""}</p>`}`;
}

function NodeFacts({ node }) {
  const moment = (at) => at && html`<time datetime=${at}>${formatMoment(at)}</time> <span class="soft">(<${Ago} at=${at} />)</span>`;
  const capabilities = node.capabilities.length
    ? html`<ul class="chips">${node.capabilities.map((c) => html`<li class="badge" key=${c.name}>${c.name} ${c.version}</li>`)}</ul>`
    : html`<span class="soft">${words.none}</span>`;
  const addresses = [...new Set([node.hostname, ...node.addresses])];
  return html`<${Facts} rows=${[
    [words.kind, text.kind[node.kind] ?? text.kind.other],
    [words.trust_title, words.trust_level[node.trust] ?? words.trust_level[node.trust_level]],
    [words.addresses, html`<ul class="mono">${addresses.map((one) => html`<li key=${one}>${formatAddress(node, one)}</li>`)}</ul>`],
    [words.capabilities, capabilities],
    [words.paired, node.paired_at && html`${moment(node.paired_at)}<br />${words.via[node.dialect] ?? node.dialect}`],
    [words.heard, node.trust === "announced" ? moment(node.created_at) : null],
    [words.introduced, node.introduced_by && html`<${Named} id=${node.introduced_by} />`],
    [words.revoked_at, node.revoked_at && html`${moment(node.revoked_at)}<br />${words.revoked_by("")}<${Named} id=${node.revoked_by} />`],
    [words.fingerprint, node.fingerprint
      ? html`<${Fingerprint} of=${node.fingerprint} /><p class="hint">${words.fingerprint_hint}</p>`
      : html`<span class="soft">${words.no_key}</span>`],
    [words.metadata, saidAbout(node.metadata)],
    [words.id, html`<span class="mono">${node.id}</span>`],
  ]} />`;
}

function saidAbout(metadata) {
  const said = Object.entries(metadata ?? {}).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  return said.length ? html`<ul class="small">${said.map(([name, value]) => html`<li key=${name}>${name}: ${String(value)}</li>`)}</ul>` : null;
}

function Named({ id }) {
  if (id === "owner") return words.owner;
  const node = (nodes.value ?? []).find((one) => one.id === id);
  return node ? html`<a href=${pathTo("nodes", id)}>${labelOf(node)}</a>` : html`<span class="mono">${id}</span>`;
}
