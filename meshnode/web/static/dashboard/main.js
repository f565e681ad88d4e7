/** Starts the dashboard: signs in, keeps the store fresh, draws the page. */
import { render } from "preact";
import { readToken } from "/static/api.js";
import { openConnection } from "/static/connection.js";
import { App } from "/static/dashboard/app.js";
import { ended, isPublic, link, session, signIn } from "/static/dashboard/session.js";
import { onEvent, refresh } from "/static/dashboard/store.js";
import { html } from "/static/html.js";

async function start() {
  render(html`<${App} />`, document.getElementById("app"));
  if (!(await signIn())) return;
  link.current = openConnection({
    topics: ["mesh.*"],
    onEvent,
    refresh: async () => {
      await refresh();
      session.value = "in";
    },
    token: isPublic ? null : readToken(),
    onOver: ended,
  });
}

// a new link pasted into this tab changes the fragment only
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#ticket=")) location.reload();
});

start();
