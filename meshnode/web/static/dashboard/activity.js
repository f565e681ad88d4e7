/** What happened, in plain words, the newest first, by day. */
import { useEffect } from "preact/hooks";
import { nodeTime } from "/static/clock.js";
import { Empty, Problem, useAction } from "/static/dashboard/parts.js";
import { ACTIVITY_STEP, entries, entries_limit, loadEntries, nodes } from "/static/dashboard/store.js";
import { formatClock, formatDay, formatMoment, labelOf } from "/static/format.js";
import { html } from "/static/html.js";
import { Check, Clock, Cross, Info, Plus, Warning } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

const words = text.activity;
const LIMIT_MAX = 1000;
const ICONS = [
  [/bad_pin|refused|\.locked|burned|cloned/, Warning, "bad"],
  [/revoked|rejected|forgotten|left/, Cross, ""],
  [/paired|joined|approved|answered/, Check, "good"],
  [/opened/, Plus, ""],
];

/** The section. */
export function Activity() {
  const loading = useAction(loadEntries);
  useEffect(() => {
    loading.run();
    return () => {
      entries_limit.value = ACTIVITY_STEP;
      entries.value = null;
    };
  }, []);
  const all = entries.value?.filter((entry) => entry.event !== "notice.seen"); // bookkeeping
  const more = () => {
    entries_limit.value = Math.min(LIMIT_MAX, entries_limit.value + ACTIVITY_STEP);
    loading.run();
  };
  return html`
    <div class="section-head"><div><h1>${text.sections.activity}</h1></div></div>
    <${Problem} error=${loading.error} />
    ${all?.length === 0 && html`<${Empty} icon=${Clock} title=${words.empty_title}><p>${words.empty_body}</p><//>`}
    ${all && byDay(all).map(([day, of]) => html`
      <section key=${day} class="day"><h2 class="day-name">${day}</h2><ul class="card rows">${of.map((entry) => html`<${Entry} key=${`${entry.at} ${entry.event} ${entry.node_id} ${entry.address}`} entry=${entry} />`)}</ul></section>`)}
    ${entries.value?.length === entries_limit.value && entries_limit.value < LIMIT_MAX && html`
      <div class="buttons center"><button type="button" class="button" onClick=${more}>${words.more}</button></div>`}`;
}

function byDay(all) {
  const today = formatDay(nodeTime());
  const yesterday = formatDay(nodeTime() - 86400000);
  const days = new Map();
  for (const entry of all) {
    const day = formatDay(entry.at);
    const name = day === today ? words.today : day === yesterday ? words.yesterday : day;
    days.set(name, [...(days.get(name) ?? []), entry]);
  }
  return [...days];
}

/** An entry as a sentence. */
export function describeEntry(entry) {
  const node = (nodes.value ?? []).find((one) => one.id === entry.node_id);
  const who = (node && labelOf(node)) || entry.node_name || entry.node_id || words.somebody;
  return words.events[entry.event]?.(who, entry) ?? entry.event.replace(/[._]/g, " ");
}

function Entry({ entry }) {
  const [, Icon, tone] = ICONS.find(([fits]) => fits.test(entry.event)) ?? [null, Info, ""];
  const more = [
    entry.address && words.from(entry.address),
    entry.times > 1 && words.times(entry.times),
    words.detail[entry.detail],
  ].filter(Boolean).join(" · ");
  return html`
    <li class="row entry">
      <span class=${`entry-icon ${tone}`}><${Icon} /></span>
      <div class="row-main"><p>${describeEntry(entry)}</p>${more && html`<p class="soft small">${more}</p>`}</div>
      <time class="soft small" datetime=${entry.at} title=${formatMoment(entry.at)}>${formatClock(entry.at)}</time>
    </li>`;
}
