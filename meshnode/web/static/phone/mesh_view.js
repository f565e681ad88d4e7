/** A paired device's page: the mesh in words, its own name, and the way out. */
import { useEffect, useRef, useState } from "preact/hooks";
import { describeError } from "/static/api.js";
import { calmNow } from "/static/clock.js";
import { connection } from "/static/connection.js";
import { formatAgo } from "/static/format.js";
import { html } from "/static/html.js";
import { Check, KindIcon, Pencil, Warning } from "/static/icons.js";
import { level, nodes, removeItself, rename } from "/static/phone/mesh.js";
import { Said, Sheet } from "/static/phone/parts.js";
import { announcement, device, isBusy, nodeName, page } from "/static/phone/state.js";
import { text as shared } from "/static/text.js";
import { text } from "/static/text-phone.js";

const NAME_MAX = 64;
const ORDER = { online: 0, stale: 1, offline: 2 };

/** The page of the mesh. */
export function Mesh() {
  return html`
    <${Sheet} title=${text.mesh.title(nodeName())}>
      <${Connection} />
      ${page.value.isNew && connection.value !== "lost" && html`<p class="notice good"><${Check} />${text.mesh.welcome(nodeName())}</p>`}
      <section aria-labelledby="mesh-title">
        <div class="section-line"><h2 id="mesh-title">${text.mesh.nodes}</h2>
          ${nodes.value && html`<span class="soft small">${text.mesh.nodeCount(nodes.value.length)}</span>`}</div>
        <${Nodes} />
      </section>
      <${OwnName} />
      <p class="soft small">${text.mesh.keepOpen}</p>
      ${level.value >= 2 && html`<a class="button wide" href="/">${text.mesh.dashboard}</a>`}
      <${Remove} />
    <//>`;
}

/** Whether what stands here is live; the words are said when they change. */
function Connection() {
  const state = connection.value;
  const words = text.mesh.connection[state] ?? text.mesh.connection.connecting;
  return html`
    <div role="status" class="connection-line">
      <p class=${`connection ${state}`}><span class="dot" aria-hidden="true"></span>${words}</p>
      ${state === "lost" && html`<p class="notice warn"><${Warning} />${text.mesh.lostLong(nodeName())}</p>`}
    </div>`;
}

function Nodes() {
  if (nodes.value === null) return html`<p class="soft nodes-pending">${text.mesh.loading}</p>`;
  const rank = (one) => (one.is_current ? 0 : one.is_you ? 1 : 2);
  const sorted = [...nodes.value].sort(
    (a, b) => rank(a) - rank(b) || ORDER[a.status] - ORDER[b.status] || a.name.localeCompare(b.name, shared.locale),
  );
  const isOld = connection.value === "lost";
  return html`
    <ul class=${isOld ? "nodes old" : "nodes"}>${sorted.map((one) => html`<${Node} key=${one.id} node=${one} isOld=${isOld} />`)}</ul>
    ${nodes.value.every((one) => one.is_current || one.is_you) && html`<${Said} class="soft small">${text.mesh.alone}<//>`}`;
}

function Node({ node, isOld }) {
  const mayHaveChanged = isOld && node.status !== "offline";
  const mark = node.is_current ? text.mesh.thisNode : node.is_you ? text.mesh.thisDevice : "";
  return html`
    <li>
      <span class="kind"><${KindIcon} kind=${node.kind} size=${22} /><span class="hidden-text">${shared.kind[node.kind] ?? shared.kind.other}</span></span>
      <span class="who"><bdi>${node.name}</bdi>${mark && html`${" "}<span class="badge accent">${mark}</span>`}
        <span class="status small"><span class=${`dot ${node.status}`} aria-hidden="true"></span>${mayHaveChanged ? text.mesh.lastKnown(statusOf(node)) : statusOf(node)}</span></span>
    </li>`;
}

/** "Online", or since when not. */
function statusOf({ status, status_reason, last_seen, is_current }) {
  if (is_current || status === "online") return shared.status.online;
  if (!last_seen) return shared.never_seen;
  const words = status === "offline" ? (shared.status_reason[status_reason] ?? shared.status.offline) : shared.status[status];
  return text.mesh.since(words, formatAgo(last_seen, calmNow.value));
}

/** This device's name, and a field to change it. */
function OwnName() {
  const [draft, setDraft] = useState(null);
  const [failure, setFailure] = useState("");
  const [isSaving, setSaving] = useState(false);
  const field = useRef(null);
  const button = useRef(null);
  const isOpen = draft !== null;
  const wasOpen = useRef(false);
  useEffect(() => {
    if (isOpen) field.current.select();
    else if (wasOpen.current) button.current.focus();
    wasOpen.current = isOpen;
  }, [isOpen]);
  const close = () => {
    setDraft(null);
    setFailure("");
  };
  const save = async (event) => {
    event.preventDefault();
    const name = draft.trim();
    if (isSaving) return;
    if (!name) {
      setFailure(text.errors.nameEmpty);
      field.current.focus();
      return;
    }
    setSaving(true);
    try {
      await rename(name);
      announcement.value = text.mesh.renamed(name);
      close();
    } catch (error) {
      setFailure(text.mesh.renameFailed(describeError(error)));
    } finally {
      setSaving(false);
    }
  };
  if (!isOpen) {
    return html`
      <div class="own">
        <div><span class="label">${text.mesh.name}</span><bdi class="own-name">${device.value.name}</bdi></div>
        <button type="button" class="button" ref=${button} onClick=${() => setDraft(device.value.name)}><${Pencil} />${text.mesh.rename}</button>
      </div>`;
  }
  return html`
    <form class="own-form" onSubmit=${save} onKeyDown=${(event) => event.key === "Escape" && close()} noValidate>
      <div class="field">
        <label for="own-name">${text.mesh.name}</label>
        <input id="own-name" class="input" ref=${field} type="text" maxlength=${NAME_MAX} value=${draft} autocomplete="off"
          enterkeyhint="done" required onInput=${({ target }) => setDraft(target.value)}
          aria-invalid=${failure ? "true" : "false"} aria-describedby="own-name-trouble" />
        <p id="own-name-trouble" class="error" role="alert">${failure}</p>
      </div>
      <div class="buttons">
        <button type="submit" class="button primary" aria-disabled=${isSaving ? "true" : "false"}>${text.mesh.save}</button>
        <button type="button" class="button quiet" onClick=${close}>${text.mesh.cancel}</button>
      </div>
    </form>`;
}

/** The button that asks once more, and then removes this device. */
function Remove() {
  const dialog = useRef(null);
  const [failure, setFailure] = useState("");
  const open = () => {
    setFailure("");
    dialog.current.showModal();
  };
  const remove = async () => {
    if (isBusy.value) return;
    setFailure("");
    try {
      await removeItself();
    } catch (error) {
      setFailure(text.removing.failed(describeError(error)));
    }
  };
  return html`
    <button type="button" class="button danger wide" onClick=${open}>${text.mesh.remove}</button>
    <dialog class="dialog" ref=${dialog} aria-labelledby="remove-title" aria-describedby="remove-what">
      <div class="dialog-body">
        <h2 id="remove-title">${text.removing.title}</h2>
        <p id="remove-what">${text.removing.what(nodeName())}</p>
        <p class="error" role="alert">${failure}</p>
      </div>
      <div class="dialog-actions">
        <button type="button" class="button" autofocus onClick=${() => dialog.current.close()}>${text.removing.cancel}</button>
        <button type="button" class="button danger solid" aria-disabled=${isBusy.value ? "true" : "false"} onClick=${remove}>
          ${isBusy.value ? text.removing.working : text.removing.confirm}
        </button>
      </div>
    </dialog>`;
}
