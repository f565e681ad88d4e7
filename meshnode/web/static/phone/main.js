/** The phone page: shows the one page that the state names. */
import { render } from "preact";
import { html } from "/static/html.js";
import { Asking } from "/static/phone/ask_view.js";
import { Mesh } from "/static/phone/mesh_view.js";
import { begin } from "/static/phone/opening.js";
import { Blocked, Broken, Empty, NodeInvite, Opening, Over, Removed, Revoked, Unpaired, Unreachable } from "/static/phone/pages.js";
import { announcement, page } from "/static/phone/state.js";
import { text } from "/static/text-phone.js";

const PAGES = {
  opening: Opening,
  empty: Empty,
  broken: Broken,
  node_invite: NodeInvite,
  asking: Asking,
  over: Over,
  blocked: Blocked,
  unreachable: Unreachable,
  mesh: Mesh,
  removed: Removed,
  revoked: Revoked,
  unpaired: Unpaired,
};

function App() {
  const { name, why = "" } = page.value;
  return html`
    <header class="phone-top"><img src="/static/favicon.svg" width="28" height="28" alt="" /><span>${text.product}</span></header>
    <main class="phone-main" data-page=${name} data-why=${why}><${PAGES[name]} key=${name + why} /></main>
    <p class="hidden-text" role="status">${announcement.value}</p>`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
begin();
