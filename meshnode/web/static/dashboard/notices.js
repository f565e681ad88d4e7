/** What the node wants its owner to know until it was seen; and what is not as it should be. */
import { api } from "/static/api.js";
import { ActionButton, Ago, Problem, Prose, useAction } from "/static/dashboard/parts.js";
import { pathTo } from "/static/dashboard/route.js";
import { isOwner, nodes, status } from "/static/dashboard/store.js";
import { html } from "/static/html.js";
import { Info, Warning } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

const words = text.notices;
const SHOWN_MAX = 3;

/** Banners above the nodes. */
export function Notices() {
  const degraded = status.value?.degraded ?? [];
  const notices = status.value?.notices ?? [];
  return html`
    ${degraded.map((one) => html`<p class="notice warn" key=${one.code}><${Warning} /><span><${Prose} of=${one.detail} /></span></p>`)}
    ${notices.length > 0 && html`<${Unseen} notices=${notices} />`}`;
}

function Unseen({ notices }) {
  const newest = notices.slice(-SHOWN_MAX).reverse();
  const more = notices.length - newest.length;
  const seeing = useAction(async () => {
    const up_to = Math.max(...notices.map((one) => one.id));
    await api.post("/api/v1/notices/seen", { up_to });
    status.value = { ...status.value, notices: status.value.notices.filter((one) => one.id > up_to) };
  });
  return html`
    <section class="notice between" aria-label=${words.title}>
      <${Info} />
      <div class="grow stack">
        ${newest.map((one) => html`<${Notice} key=${one.id} notice=${one} />`)}
        ${more > 0 && html`<p><a href=${pathTo("activity")}>${words.more(more)}</a></p>`}
        <${Problem} error=${seeing.error} />
      </div>
      ${isOwner.value && html`<${ActionButton} action=${seeing}>${words.seen}<//>`}
    </section>`;
}

function Notice({ notice }) {
  const is_known = notice.node && (nodes.value ?? []).some((one) => one.id === notice.node.id);
  return html`
    <div>
      <p><${Prose} of=${notice.detail} /> <span class="small"><${Ago} at=${notice.at} />${notice.times > 1 && ` · ${words.times(notice.times)}`}</span></p>
      ${notice.code === "paired"
        ? html`<p class="small">${words.not_you} ${is_known && html`<a href=${pathTo("nodes", notice.node.id)}>${words.show}</a>`}</p>`
        : notice.next_step && html`<p class="small"><${Prose} of=${notice.next_step} /></p>`}
    </div>`;
}
