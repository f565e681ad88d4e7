/** This node: identity, fingerprint, versions, where it listens, and its health on demand. */
import { useState } from "preact/hooks";
import { api } from "/static/api.js";
import { RenameDialog } from "/static/dashboard/node-dialogs.js";
import { ActionButton, CopyButton, Facts, Fingerprint, Problem, Prose, useAction } from "/static/dashboard/parts.js";
import { ended, isPublic, link } from "/static/dashboard/session.js";
import { isOwner, nodes, own, say, status } from "/static/dashboard/store.js";
import { formatHostPort, labelOf } from "/static/format.js";
import { html } from "/static/html.js";
import { Check, Cross, Info, KindIcon, Pencil, Warning } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

const words = text.own;
const DOCTOR_MS = 60000;
const SIGNS = { ok: [Check, "good"], none: [Info, ""], warning: [Warning, "warn"], failure: [Cross, "bad"] };

/** The section. */
export function OwnNode() {
  const [renaming, setRenaming] = useState(false);
  const node = own.value;
  const certificate = status.value.certificate?.sha256;
  return html`
    <div class="section-head node-head">
      <span class="row-icon large"><${KindIcon} kind=${node.kind} size=${32} /></span>
      <div><h1>${node.name}</h1><p class="soft">${text.this_node} · ${text.kind[node.kind] ?? text.kind.other}</p></div>
      ${isOwner.value && html`<button type="button" class="button" onClick=${() => setRenaming(true)}><${Pencil} />${text.node.rename}</button>`}
    </div>
    <section class="card padded" aria-labelledby="own-identity">
      <h2 id="own-identity">${words.identity}</h2>
      <${Facts} rows=${[
        [words.fingerprint, html`<${Fingerprint} of=${node.fingerprint} /><p class="hint">${words.fingerprint_hint}</p>`],
        [words.certificate, certificate && html`<span class="mono hex"><${Pairs} of=${certificate} /></span><p class="hint">${words.certificate_hint}</p>`],
        [words.id, html`<span class="copy-line plain"><span class="mono">${node.id}</span><${CopyButton} value=${node.id} label=${words.copy_id} /></span>`],
        [words.listens, html`<${Reached} node=${node} />`],
        [words.version, `meshnode ${node.version}`],
        [words.platform, node.platform],
      ]} />
    </section>
    <${Health} />
    ${!isPublic && html`<${SignOut} />`}
    ${renaming && html`<${RenameDialog} node=${node} onClose=${() => setRenaming(false)} />`}`;
}

/** Hex pairs that break after a colon only. */
function Pairs({ of }) {
  return of.split(":").map((pair, at) => html`${at > 0 && html`:<wbr />`}${pair}`);
}

/** Addresses that can be typed; what it listens on may be a wildcard. */
function Reached({ node }) {
  const is_everywhere = status.value.listeners.some((one) => /\/\/(0\.0\.0\.0|\[::\]):/.test(one));
  const addresses = [...new Set([node.hostname, ...node.addresses])];
  return html`
    <ul class="mono">${addresses.map((one) => html`<li key=${one}>https://${formatHostPort(one, node.port)}</li>`)}</ul>
    ${is_everywhere && html`<p class="hint">${words.everywhere}</p>`}`;
}

function SignOut() {
  const everywhere = useAction(async () => {
    await api.delete("/api/v1/tickets");
    here();
  });
  const here = () => {
    link.current?.stop();
    ended(0, "");
  };
  return html`
    <${Problem} error=${everywhere.error} />
    <div class="buttons">
      <button type="button" class="button quiet" onClick=${here}>${words.sign_out}</button>
      <${ActionButton} action=${everywhere} tone="quiet">${words.sign_out_all}<//>
    </div>`;
}

function Health() {
  const degraded = status.value.degraded;
  const [found, setFound] = useState(null);
  const checking = useAction(async () => {
    setFound(await api.get("/api/v1/doctor", { timeout_ms: DOCTOR_MS }));
  });
  const unlocking = useAction(async () => {
    await api.post("/api/v1/pairing/unlock");
    say(words.unlocked);
  });
  const amiss = found?.findings.filter((one) => one.verdict === "warning" || one.verdict === "failure").length;
  return html`
    <section class="card padded stack" aria-labelledby="own-health">
      <h2 id="own-health">${words.health}</h2>
      ${degraded.map((one) => html`<p class="notice warn" key=${one.code}><${Warning} /><span><${Prose} of=${one.detail} /></span></p>`)}
      ${isOwner.value
        ? html`
          <p class="soft">${words.health_hint}</p>
          <div class="buttons">
            <${ActionButton} action=${checking}>${checking.busy ? words.checking : found ? words.again : words.check}<//>
            <${ActionButton} action=${unlocking} tone="quiet">${words.unlock}<//>
          </div>
          <${Problem} error=${checking.error ?? unlocking.error} />`
        : html`<p class="soft"><${Prose} of=${words.only_here} /></p>`}
      <div role="status">${found && html`<p><strong>${amiss ? words.unwell(amiss) : words.well}</strong></p>`}</div>
      ${found && html`<ul class="findings">${found.findings.map((one, at) => html`<${Finding} key=${at} finding=${one} />`)}</ul>`}
      ${found && Object.entries(found.ladder).map(([id, rungs]) => html`<${Ladder} key=${id} id=${id} rungs=${rungs} />`)}
    </section>`;
}

function Finding({ finding }) {
  const [Icon, tone] = SIGNS[finding.verdict];
  return html`
    <li class="finding">
      <span class=${`entry-icon ${tone}`}><${Icon} /><span class="hidden-text">${words.verdict[finding.verdict]}</span></span>
      <div>
        <h3>${words.stage[finding.stage] ?? finding.stage.replace(/_/g, " ")}${finding.subject && ` · ${finding.subject}`}</h3>
        <p class="small"><${Prose} of=${finding.detail} plain /></p>
        ${finding.fix && finding.verdict !== "ok" && html`<p class="small soft">${words.fix} <${Prose} of=${finding.fix} plain /></p>`}
      </div>
    </li>`;
}

function Ladder({ id, rungs }) {
  const node = (nodes.value ?? []).find((one) => one.id === id);
  return html`
    <div>
      <h3>${words.search(node ? labelOf(node) : id)}</h3>
      <ul class="bullets small">${rungs.map((rung) => html`<li key=${rung.stage}>${words.ladder[rung.stage] ?? rung.stage}: ${rung.detail}</li>`)}</ul>
    </div>`;
}
