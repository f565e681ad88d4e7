/** The shell: header, navigation, banners, the section on screen, the page's title. */
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { api } from "/static/api.js";
import { connection } from "/static/connection.js";
import { Activity } from "/static/dashboard/activity.js";
import { Connect } from "/static/dashboard/connect.js";
import { Gate } from "/static/dashboard/gate.js";
import { Nearby } from "/static/dashboard/nearby.js";
import { NodePage } from "/static/dashboard/node-page.js";
import { Nodes } from "/static/dashboard/nodes.js";
import { isOpen, offer } from "/static/dashboard/offers.js";
import { OwnNode } from "/static/dashboard/own-node.js";
import { ActionButton, Countdown, Problem, useAction } from "/static/dashboard/parts.js";
import { Requests } from "/static/dashboard/requests.js";
import { goTo, pathTo, route } from "/static/dashboard/route.js";
import { link, session } from "/static/dashboard/session.js";
import { offers, own, requests, toasts } from "/static/dashboard/store.js";
import { html } from "/static/html.js";
import { Bell, Check, Clock, KindIcon, Mesh, Plus, Radar, Warning } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

const VIEWS = { nodes: Nodes, nearby: Nearby, requests: Requests, activity: Activity, node: OwnNode, connect: Connect };
const TABS = [["nodes", Mesh], ["nearby", Radar], ["requests", Bell], ["activity", Clock], ["node", null]];

const places = new Map(); // section → where it was scrolled to
const DOTS = { live: "online", polling: "stale" };

/** The whole page. */
export function App() {
  useTitle();
  useArrival();
  if (session.value !== "in") return html`<${Gate} />`;
  const { section, argument } = route.value;
  const lost = connection.value === "lost";
  const View = section === "nodes" && argument ? NodePage : VIEWS[section];
  return html`
    <a class="skip button" href="#main" onClick=${skip}>${text.skip}</a>
    <div class="shell">
      <${Header} />
      <${Nav} section=${section} />
      <main id="main" tabindex="-1" class=${lost ? "main stale" : "main"}>
        <${OpenOffers} hidden=${section === "connect"} />
        <${View} key=${`${section}/${section === "nodes" ? argument : ""}`} argument=${argument} />
      </main>
    </div>
    <${Below} lost=${lost} />`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function useTitle() {
  const { section } = route.value;
  const waiting = requests.value.filter((one) => !one.is_approved).length;
  const name = own.value?.name;
  const begun = connection.value === "lost" ? text.connection.lost : text.sections[section];
  useEffect(() => {
    const title = session.value === "in" ? text.title(begun, name) : text.product;
    document.title = waiting ? `(${waiting}) ${title}` : title;
  }, [begun, name, waiting, session.value]);
}

/** Another section begins at its top, and screen readers at its beginning; back to a list is back to its place. */
function useArrival() {
  const { section, argument } = route.value;
  const before = useRef(null);
  useLayoutEffect(() => {
    const from = before.current;
    before.current = { section, argument };
    if (!from || session.value !== "in") return undefined;
    const is_back = from.section === section && from.argument && !argument;
    scrollTo(0, is_back ? places.get(section) ?? 0 : 0);
    document.getElementById("main")?.focus({ preventScroll: true });
    return undefined;
  }, [section, argument]);
  useEffect(() => {
    const keep = () => {
      if (!route.value.argument) places.set(route.value.section, scrollY);
    };
    addEventListener("scroll", keep, { passive: true });
    return () => removeEventListener("scroll", keep);
  }, []);
}

function Header() {
  const here = route.value.section === "connect";
  return html`
    <header class="header">
      <a class="brand-mark" href=${pathTo("nodes")} aria-label=${text.sections.nodes}><${Mesh} size=${24} /></a>
      <div class="brand">
        <p class="brand-name">${own.value?.name ?? text.product}</p>
        <p class="live" title=${connection.value === "polling" ? text.polling_hint : undefined}>
          <span class=${`dot ${DOTS[connection.value] ?? "offline"}`}></span>
          <span role="status">${text.connection[connection.value]}</span>
        </p>
      </div>
      <button type="button" class="button primary" aria-current=${here ? "page" : undefined} onClick=${() => goTo("connect")}>
        <${Plus} /><span>${text.connect.button[0]}<span class="when-wide"> ${text.connect.button[1]}</span></span>
      </button>
    </header>`;
}

function Nav({ section }) {
  const waiting = requests.value.filter((one) => !one.is_approved).length;
  return html`
    <nav class="nav" aria-label=${text.nav}>
      <ul>
        ${TABS.map(([name, Icon]) => html`
          <li key=${name}>
            <a href=${pathTo(name)} aria-current=${section === name ? "page" : undefined}>
              ${Icon ? html`<${Icon} size=${22} />` : html`<${KindIcon} kind=${own.value?.kind} size=${22} />`}
              <span>${text.sections[name]}</span>
              ${name === "requests" && waiting > 0 && html`<span class="count">${waiting}</span>`}
            </a>
          </li>`)}
      </ul>
    </nav>`;
}

/** Open codes that are not on screen: this page's own, and those made elsewhere. */
function OpenOffers({ hidden }) {
  if (hidden) return null;
  const own_id = isOpen.value ? offer.value.shown.offer_id : null;
  return html`
    ${own_id && html`<${OpenOffer} of=${offer.value.dialect} at=${offer.value.shown.expires_at}><a href=${pathTo("connect", offer.value.dialect)}>${text.offer.show_code}</a><//>`}
    ${offers.value.filter((one) => one.offer_id !== own_id && one.offer_id !== offer.value?.shown.offer_id).map((one) => html`
      <${OpenOffer} key=${one.offer_id} of=${one.dialect} at=${one.expires_at} note=${text.offer.elsewhere}><${CancelOffer} id=${one.offer_id} /><//>`)}`;
}

function OpenOffer({ of, at, note = "", children }) {
  const words = (clock) => text.offer.is_open(text.offer.what[of] ?? text.offer.what_app, clock);
  return html`<div class="notice between"><${Clock} /><span><${Countdown} at=${at} words=${words} /> ${note}</span>${children}</div>`;
}

function CancelOffer({ id }) {
  const action = useAction(() => api.delete(`/api/v1/pairing/offers/${id}`));
  return html`<${Problem} error=${action.error} /><${ActionButton} action=${action}>${text.offer.cancel}<//>`;
}

/** What lies over the page's foot: the lost connection, and what was done. Nothing moves when it comes. */
function Below({ lost }) {
  const region = useRef(null);
  return html`
    <div class="below" ref=${region}>
      <div role="alert">
        ${lost && html`
          <p class="notice bad lost">
            <${Warning} /><span><strong>${text.lost.title}</strong> ${text.lost.body}</span>
            <button type="button" class="button" onClick=${() => link.current?.check()}>${text.lost.now}</button>
          </p>`}
      </div>
      <div role="status">
        ${toasts.value.map((one) => html`<p class=${`toast ${one.tone}`} key=${one.id}><${one.tone === "bad" ? Warning : Check} />${one.words}</p>`)}
      </div>
    </div>`;
}
