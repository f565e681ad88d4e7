/** Requests waiting: who asks, which code its screen shows; approve or reject exactly that one. */
import { api } from "/static/api.js";
import { ActionButton, Countdown, Empty, Problem, useAction } from "/static/dashboard/parts.js";
import { loadRequests, requests, say } from "/static/dashboard/store.js";
import { html } from "/static/html.js";
import { Bell, Desktop, Device, Phone, Warning } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

const words = text.requests;
const ICONS = { ios: Phone, android: Phone, desktop: Desktop };

/** The section. */
export function Requests() {
  const all = requests.value;
  return html`
    <div class="section-head"><div><h1>${text.sections.requests}</h1>${all.length > 0 && html`<p class="soft">${words.lead}</p>`}</div></div>
    ${all.length
      ? html`<ul class="stack" aria-live="polite">${all.map((one) => html`<${Request} key=${one.id} request=${one} />`)}</ul>`
      : html`<${Empty} icon=${Bell} title=${words.empty_title}><p>${words.empty_body}</p><//>`}`;
}

function Request({ request }) {
  const { device_name: name, code } = request;
  const decide = (verb, done) => async () => {
    try {
      await api.post(`/api/v1/pairing/requests/${encodeURIComponent(request.id)}/${verb}`);
      say(done(name));
    } finally {
      await loadRequests().catch(() => {});
    }
  };
  const approving = useAction(decide("approve", words.approved));
  const rejecting = useAction(decide("reject", words.rejected));
  const Icon = ICONS[request.device_type] ?? Device;
  const about = [words.type[request.device_type] ?? request.device_type, request.client_version && words.version(request.client_version), words.from(request.address)];
  return html`
    <li class="card padded request">
      <span class="row-icon large"><${Icon} size=${32} /></span>
      <div class="request-who">
        <h2>${name}</h2>
        <p class="soft small">${about.filter(Boolean).join(" · ")}</p>
        <p class="soft small"><${Countdown} at=${request.expires_at} words=${words.left} /></p>
      </div>
      ${code && html`<div class="request-code"><p class="label small">${words.code}</p><p class="code-shown mono">${code}</p></div>`}
      ${request.is_duplicate && html`<p class="notice warn request-wide"><${Warning} /><span>${words.duplicate}</span></p>`}
      ${words.was[request.was] && html`<p class="notice request-wide"><${Warning} /><span>${words.was[request.was]}</span></p>`}
      ${request.is_approved
        ? html`<p class="soft request-wide">${words.approved_wait}</p>`
        : html`
          <div class="buttons request-wide">
            <${ActionButton} action=${approving} tone="primary" aria-label=${words.approve_one(name, code)}>${words.approve}<//>
            <${ActionButton} action=${rejecting} aria-label=${words.reject_one(name, code)}>${words.reject}<//>
          </div>`}
      <${Problem} error=${approving.error ?? rejecting.error} />
    </li>`;
}
