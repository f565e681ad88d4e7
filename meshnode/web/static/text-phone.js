/** All English text of the phone page; `text.js` has the rest. Sentences are whole, so that they can be translated. */

/** "1 attempt", "2 attempts". */
const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;

export const text = {
  product: "meshnode",
  documentTitle: (heading) => `${heading} · meshnode`,

  opening: { title: "Opening…", finding: "Looking for the node…" },

  asking: {
    title: (node) => `Pair with ${node}`,
    pin: "PIN",
    pinHint: "The six digits beside the QR code.",
    submit: "Pair",
    submitting: "Pairing…",
    deviceName: { phone: "This phone’s name", tablet: "This tablet’s name", browser: "This browser’s name" },
    timeLeft: (time) => `${time} left`,
    attemptsLeft: (n) => `${count(n, "attempt", "attempts")} left.`,
    again: "This device is already paired with the node. Pairing again refreshes it.",
    showMesh: "Show the mesh",
    expiring: "One minute left.",
  },

  errors: {
    pinShape: "Enter all six digits of the PIN.",
    nameEmpty: "Give this device a name.",
    wrongPin: (n) =>
      n === undefined
        ? "That PIN is not right."
        : `That PIN is not right. ${count(n, "attempt", "attempts")} left, then a new QR code is needed.`,
    wait: "Too many tries from here.",
    waitUntil: (time) => `Try again in ${time}.`,
    waitOver: "You can try again now.",
    unreachable: (node) => `${node} doesn’t answer. Trying again by itself…`,
    stuck: (node) => `${node} can’t do that right now. Trying again by itself…`,
    other: (detail) => `That didn’t work: ${detail}`,
  },

  trust: {
    summary: "Did your browser warn you about this page?",
    why: (node) => `It warned because ${node} made its certificate itself: no company vouches for a device at home. The connection is encrypted all the same.`,
    how: "To be sure that nobody is in between, don’t rely on this page: tap the icon beside the address, open the certificate, and compare its SHA-256 fingerprint with the certificate shown on the node’s own screen.",
    certificate: "SHA-256 of the certificate, as it should be",
    fingerprint: (node) => `Fingerprint of ${node}`,
  },

  nodeInvite: {
    title: "This QR code joins a computer",
    what: (node) => `It is ${node}’s invite for another node, not for a phone’s browser. Nothing has been used up by opening it.`,
    how: "On the computer that should join, run this and enter the PIN:",
    command: (url) => `meshnode join '${url}'`,
    commandLabel: "Command",
    copy: "Copy the command",
    copied: "Copied",
    copyFailed: "Select the command and copy it by hand.",
    phone: "To pair this phone instead, run `meshnode pair --phone` there, or choose Phone in its dashboard.",
  },

  over: {
    burned: {
      title: "Too many wrong PINs",
      what: "This QR code is void now, so that nobody can go on guessing. Show a new one on the node and scan it.",
    },
    expired: { title: "This QR code has expired", what: "It is valid for some minutes only. Show a new one on the node and scan it." },
    used: {
      title: "This QR code has been used",
      what: "Each one pairs one device. If it wasn’t you, look at the node’s list of devices, and revoke the one you don’t know. Then show a new QR code and scan it.",
    },
    replaced: { title: "There is a newer QR code", what: "The node shows another one by now. Scan that one." },
    closed: { title: "This QR code was withdrawn", what: "Somebody closed it on the node. Show a new one there and scan it." },
    unknown: { title: "The node doesn’t know this QR code", what: "It may be an old one, or another node’s. Show a new one on the node and scan it." },
    how: "On the node: `meshnode pair --phone`, or Connect a device in its dashboard.",
    showMesh: "Show the mesh",
  },

  blocked: {
    not_local: { title: "Not on the same network", what: "A phone pairs on the node’s own network only. Connect this phone to the same Wi-Fi (turn off mobile data or a VPN), then try again." },
    bad_origin: { title: "The address isn’t the node’s own", what: "The node answers at its own addresses only, for your safety. Scan the QR code again, and open exactly the address in it." },
    proxy_not_configured: { title: "Something stands in between", what: "This page came through a proxy which the node doesn’t know. Open the address in the QR code directly, or add the proxy to `http.trusted_proxies` on the node." },
    certificate: { title: "Not the node of this QR code", what: "The certificate here is another than the one the QR code names. If the node’s certificate was replaced, a new QR code helps. If a new one leads here too, somebody may be in between: don’t enter a PIN." },
    salita: { title: "Phones are switched off here", what: "This node doesn’t take phones: `salita.enabled` is false in its configuration." },
    retry: "Try again",
  },

  broken: {
    title: "This link is incomplete",
    what: "Part of the address is missing or damaged. Scan the QR code again with the camera, or copy the whole address, up to its last character.",
  },
  empty: {
    title: "Pair this phone",
    what: "Scan a QR code to get here. On the node, open its dashboard and choose Connect a device, then Phone; or run this in its terminal:",
    command: "meshnode pair --phone",
    then: "Point this phone’s camera at the QR code.",
  },

  unreachable: {
    title: "The node doesn’t answer",
    what: "It may be switched off, asleep or on another network. This page tries again by itself.",
    retry: "Try now",
    trying: "Trying…",
  },

  mesh: {
    title: (node) => `Connected to ${node}`,
    welcome: (node) => `Paired with ${node}. This device is part of the mesh now.`,
    nodes: "Your mesh",
    nodeCount: (n) => count(n, "node", "nodes"),
    loading: "Reading the list…",
    thisNode: "this node",
    thisDevice: "this device",
    lastKnown: (status) => `Last known: ${status[0].toLowerCase()}${status.slice(1)}`,
    since: (status, ago) => `${status}, seen ${ago}`,
    alone: "No other node yet. On another computer, run `meshnode join`, or pair the next phone.",
    connection: { connecting: "Connecting…", live: "Live", polling: "Updated every five seconds", lost: "Reconnecting…" },
    lostLong: (node) => `${node} doesn’t answer at the moment. This page comes back by itself.`,
    name: "Name of this device",
    rename: "Rename",
    save: "Save",
    cancel: "Cancel",
    renamed: (name) => `This device is called ${name} now.`,
    renameFailed: (detail) => `The name was not changed: ${detail}`,
    dashboard: "Open the dashboard",
    keepOpen: "The mesh sees this device as online while this page is open.",
    remove: "Remove this device…",
  },

  removing: {
    title: "Remove this device?",
    what: (node) => `${node} will not know this device any more. To come back you need a new QR code and its PIN.`,
    confirm: "Remove",
    working: "Removing…",
    cancel: "Keep it",
    failed: (detail) => `It was not removed: ${detail}`,
  },
  removed: {
    title: "This device has left the mesh",
    what: (node) => `${node} has revoked it, and nothing of it is kept in this browser.`,
    back: "To come back, scan a new QR code. You can close this page.",
  },
  revoked: {
    title: "This device was removed",
    what: (node) => `Somebody removed it from ${node}, so it sees and does nothing there any more.`,
    back: "If that was a mistake, ask the node’s owner for a new QR code and scan it.",
  },
  unpaired: {
    title: "This device has to pair again",
    what: (node) => `${node} doesn’t know this device any more: it was removed, or not seen for a long time.`,
    back: "Show a new QR code on the node and scan it.",
  },

  fallbackNode: "The node",
};
