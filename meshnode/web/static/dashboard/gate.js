/** What stands instead of the dashboard while the page may not see it, and what to do about that. */
import { Prose } from "/static/dashboard/parts.js";
import { isPublic, session } from "/static/dashboard/session.js";
import { html } from "/static/html.js";
import { Mesh, Shield } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";
import { connection } from "/static/connection.js";

const words = text.gate;

/** The page for somebody who is not signed in, or not yet. */
export function Gate() {
  const why = session.value;
  return html`<main class="gate" id="main">
    <div class="card gate-card">
      <span class="brand-mark large"><${why === "starting" ? Mesh : Shield} size=${32} /></span>
      ${why === "starting" ? html`<${Starting} />` : html`<${Refused} why=${why} />`}
    </div>
  </main>`;
}

function Starting() {
  const lost = connection.value === "lost";
  return html`
    <h1>${text.product}</h1>
    <p role="status" class="soft">${lost ? text.errors.no_answer : words.signing_in}</p>`;
}

function Refused({ why }) {
  if (why === "signed_out" || why === "ticket_bad") {
    return html`
      <h1>${words.signed_out}</h1>
      <p>${why === "ticket_bad" ? words.ticket_bad : words.signed_out_why} ${words.run_open}</p>
      <p class="command"><code>${words.command}</code></p>`;
  }
  if (why === "level") {
    return html`
      <h1>${words.level}</h1>
      <p><${Prose} of=${words.level_how} /></p>
      <div class="buttons">
        <button type="button" class="button primary" onClick=${() => location.reload()}>${words.again}</button>
        ${isPublic && html`<a class="button" href="/p">${words.to_phone}</a>`}
      </div>`;
  }
  return html`
    <h1>${why === "revoked" ? words.revoked : words.no_device}</h1>
    ${why === "revoked" && html`<p>${words.revoked_how}</p>`}
    <ol class="steps">${words.no_device_how.map((step) => html`<li key=${step}><${Prose} of=${step} /></li>`)}</ol>
    <button type="button" class="button" onClick=${() => location.reload()}>${words.again}</button>`;
}
