/** Connect a device: what kind, then its code. */
import { useEffect } from "preact/hooks";
import { OfferView } from "/static/dashboard/offer-view.js";
import { offer, openOffer } from "/static/dashboard/offers.js";
import { CopyButton, Problem, useAction } from "/static/dashboard/parts.js";
import { goTo, pathTo, replaceWith } from "/static/dashboard/route.js";
import { own } from "/static/dashboard/store.js";
import { formatHostPort } from "/static/format.js";
import { html } from "/static/html.js";
import { Bell, Browser, Chevron, Desktop, Device, Phone } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

const words = text.connect;

/** The section; its argument is the step: none, `app`, `aisopod`, or the dialect of the offer that is open. */
export function Connect({ argument }) {
  const shown = offer.value?.dialect === argument;
  useEffect(() => {
    if (argument && !shown && !["app", "aisopod"].includes(argument)) replaceWith("connect"); // its PIN is gone
  }, [argument, shown]);
  const making = useAction(async (dialect) => {
    await openOffer(dialect);
    goTo("connect", dialect);
  });
  if (shown && argument) return html`<${OfferView} key=${offer.value.shown.offer_id} making=${making} />`;
  if (argument === "aisopod") return html`<${Aisopod} />`;
  return html`
    <${Back} step=${argument} />
    <h1>${words_title(argument)}</h1>
    <p class="soft">${argument === "app" ? words.app_lead : words.lead}</p>
    ${argument === "app" ? html`<${Apps} making=${making} />` : html`<${Kinds} making=${making} />`}
    <div role="status">${making.busy && html`<p class="soft">${words.making}</p>`}</div>
    <${Problem} error=${making.error} />`;
}

const words_title = (step) => (step === "app" ? words.app : text.sections.connect);

function Back({ step }) {
  return html`<a class="back" href=${step ? pathTo("connect") : pathTo("nodes")}><${Chevron} />${step ? text.back : text.node.all}</a>`;
}

/** A card that is a button: what it is, and in smaller letters how. */
function Big({ name, title, hint, icon: Icon, onClick }) {
  return html`
    <div class="card big">
      <span class="row-icon large"><${Icon} size=${32} /></span>
      <div class="big-words">
        <button type="button" class="big-title" aria-describedby=${`big-${name}`} onClick=${onClick}>${title}</button>
        <p class="soft" id=${`big-${name}`}>${hint}</p>
      </div>
    </div>`;
}

function Kinds({ making }) {
  return html`
    <div class="bigs">
      <${Big} name="phone" title=${words.phone} hint=${words.phone_hint} icon=${Phone} onClick=${() => making.run("salita")} />
      <${Big} name="computer" title=${words.computer} hint=${words.computer_hint} icon=${Desktop} onClick=${() => making.run("mesh")} />
      <${Big} name="app" title=${words.app} hint=${words.app_hint} icon=${Device} onClick=${() => goTo("connect", "app")} />
    </div>`;
}

function Apps({ making }) {
  const icons = { abpa3: Phone, mylzip: Browser, aisopod: Bell };
  return html`
    <div class="bigs">
      ${Object.entries(words.apps).map(([dialect, [title, hint]]) => html`
        <${Big} key=${dialect} name=${dialect} title=${title} hint=${hint} icon=${icons[dialect]}
          onClick=${() => (dialect === "aisopod" ? goTo("connect", "aisopod") : making.run(dialect))} />`)}
    </div>`;
}

function Aisopod() {
  const address = formatHostPort(own.value.hostname, own.value.port);
  return html`
    <a class="back" href=${pathTo("connect", "app")}><${Chevron} />${text.back}</a>
    <h1>${words.aisopod.title}</h1>
    <div class="card padded stack">
      <p>${words.aisopod.body}</p>
      <div class="field">
        <span class="label">${words.aisopod.address}</span>
        <div class="copy-line"><code class="mono">${address}</code><${CopyButton} value=${address} label=${text.copy} /></div>
      </div>
      <div class="buttons"><a class="button primary" href=${pathTo("requests")}>${words.aisopod.go}</a></div>
    </div>`;
}
