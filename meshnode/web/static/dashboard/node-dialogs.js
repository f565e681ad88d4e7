/** The dialogs that change a node: rename, trust, revoke, forget. Each says what happens before it does. */
import { useState } from "preact/hooks";
import { api } from "/static/api.js";
import { ActionButton, Dialog, Problem, useAction } from "/static/dashboard/parts.js";
import { replaceWith } from "/static/dashboard/route.js";
import { caller, dropNode, nodePath, nodes, putNode, refresh, say } from "/static/dashboard/store.js";
import { labelOf } from "/static/format.js";
import { html } from "/static/html.js";
import { text } from "/static/text-dashboard.js";

/** A dialog whose fields are saved, by the button or by Enter. */
function FormDialog({ title, action, onClose, children }) {
  const submit = (event) => {
    event.preventDefault();
    action.run();
  };
  return html`
    <${Dialog} title=${title} onClose=${onClose}>
      <form class="dialog-body" onSubmit=${submit}>
        ${children}
        <${Problem} error=${action.error} />
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>${text.cancel}</button>
          <${ActionButton} action=${action} type="submit" tone="primary">${text.save}<//>
        </div>
      </form>
    <//>`;
}

/** Give a node another name: here only, or this node's own. */
export function RenameDialog({ node, onClose }) {
  const [name, setName] = useState(node.is_current ? node.name : labelOf(node));
  const action = useAction(async () => {
    const wanted = name.trim();
    if (node.is_current) {
      await api.patch("/api/v1/node", { name: wanted });
      await refresh();
    } else {
      putNode((await api.patch(nodePath(node.id), { alias: wanted && wanted !== node.name ? wanted : null })).node);
    }
    say(text.rename.done(wanted || node.name));
    onClose();
  });
  return html`
    <${FormDialog} title=${text.rename.title(labelOf(node))} action=${action} onClose=${onClose}>
      <div class="field">
        <label for="new-name">${text.rename.label}</label>
        <input class="input" id="new-name" data-focus maxlength="128" autocomplete="off" aria-describedby="new-name-hint"
          value=${name} onFocus=${(event) => event.currentTarget.select()} onInput=${(event) => setName(event.currentTarget.value)} />
        <p class="hint" id="new-name-hint">${node.is_current ? text.rename.everybody : text.rename.only_here}</p>
      </div>
    <//>`;
}

/** Choose a trust level. */
export function TrustDialog({ node, onClose }) {
  const [level, setLevel] = useState(node.trust_level);
  const label = labelOf(node);
  const action = useAction(async () => {
    putNode((await api.put(nodePath(node.id, "/trust"), { level })).node);
    say(text.trust.done(label, level));
    onClose();
  });
  const choice = (value, title, hint) => html`
    <label class="choice">
      <input type="radio" name="level" value=${value} checked=${level === value} data-focus=${level === value} onChange=${() => setLevel(value)} />
      <span><strong>${title}</strong><br /><span class="hint">${hint}</span></span>
    </label>`;
  return html`
    <${FormDialog} title=${text.trust.title(label)} action=${action} onClose=${onClose}>
      <fieldset class="choices">
        <legend class="hidden-text">${text.trust.title(label)}</legend>
        ${choice(1, text.trust.one, text.trust.one_hint)}
        ${choice(2, text.trust.two, text.trust.two_hint)}
      </fieldset>
    <//>`;
}

/** All that came in by a node, directly or not. */
function introducedBy(node) {
  const found = [node];
  for (const one of found) {
    found.push(...(nodes.value ?? []).filter((n) => n.introduced_by === one.id && !n.is_current && n.trust !== "revoked" && !found.includes(n)));
  }
  return found.slice(1);
}

/** End a node's access. */
export function RevokeDialog({ node, onClose }) {
  const [introduced] = useState(() => introducedBy(node));
  const [keeps, setKeeps] = useState(false);
  const label = labelOf(node);
  const words = text.revoke;
  const action = useAction(async () => {
    const done = await api.post(nodePath(node.id, `/revoke${keeps ? "?keep_introduced=true" : ""}`));
    for (const row of [done.node, ...done.introduced]) putNode(row);
    say(words.done(label, done.introduced.length));
    onClose();
  });
  return html`
    <${Dialog} title=${words.title(label)} onClose=${onClose}>
      <p>${words.body(label)} ${words.again}</p>
      ${node.id === caller.value.node_id && html`<p class="notice warn">${words.you}</p>`}
      ${introduced.length > 0 && html`
        <div>
          <p>${words.introduced(introduced.length)}</p>
          <ul class="bullets">${introduced.map((one) => html`<li key=${one.id}>${labelOf(one)}</li>`)}</ul>
          <label class="choice"><input type="checkbox" checked=${keeps} onChange=${(event) => setKeeps(event.currentTarget.checked)} /><span>${words.keep}</span></label>
        </div>`}
      <${Problem} error=${action.error} />
      <div class="dialog-actions">
        <button type="button" class="button" data-focus onClick=${onClose}>${text.cancel}</button>
        <${ActionButton} action=${action} tone="danger strong">${words.yes(label)}<//>
      </div>
    <//>`;
}

/** Delete a node's row. */
export function ForgetDialog({ node, onClose }) {
  const label = labelOf(node);
  const action = useAction(async () => {
    await api.delete(nodePath(node.id));
    say(text.forget.done(label));
    onClose();
    replaceWith("nodes");
    dropNode(node.id);
  });
  return html`
    <${Dialog} title=${text.forget.title(label)} onClose=${onClose}>
      <p>${text.forget.body}</p>
      <${Problem} error=${action.error} />
      <div class="dialog-actions">
        <button type="button" class="button" data-focus onClick=${onClose}>${text.cancel}</button>
        <${ActionButton} action=${action} tone="danger strong">${text.forget.yes(label)}<//>
      </div>
    <//>`;
}
