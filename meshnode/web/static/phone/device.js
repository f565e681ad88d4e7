/** What this browser can say about the thing it runs on: a name to begin with, its kind, a little for the node's list. */

const NAME_MAX = 64;

/** `{name, kind: "phone"|"browser", form: "phone"|"tablet"|"browser", info}`; asks for the model where that is allowed. */
export async function describeDevice(agent = navigator) {
  const { userAgent } = agent;
  const hints = agent.userAgentData;
  let model = "";
  try {
    model = (await hints?.getHighEntropyValues?.(["model"]))?.model ?? "";
  } catch {
    // it doesn't say
  }
  return describe({ userAgent, model, isMobile: hints?.mobile, touchPoints: agent.maxTouchPoints ?? 0 });
}

/** As `describeDevice`, from what it read. */
export function describe({ userAgent, model = "", isMobile = undefined, touchPoints = 0 }) {
  const platform = platformOf(userAgent, touchPoints);
  const browser = browserOf(userAgent);
  const form = formOf(userAgent, platform, isMobile);
  const spoken = model || modelOf(userAgent);
  const name =
    spoken ||
    { iphone: "iPhone", ipad: "iPad" }[platform] ||
    (platform === "android" && `Android ${form}`) ||
    `${browser} on ${LABELS[platform]}`;
  const info = { platform: LABELS[platform], browser };
  if (spoken) info.model = spoken;
  return { name: name.slice(0, NAME_MAX), kind: form === "browser" ? "browser" : "phone", form, info };
}

const LABELS = {
  iphone: "iOS",
  ipad: "iPadOS",
  android: "Android",
  windows: "Windows",
  mac: "Mac",
  chromeos: "ChromeOS",
  linux: "Linux",
  other: "this device",
};

function platformOf(userAgent, touchPoints) {
  if (/iPhone|iPod/.test(userAgent)) return "iphone";
  if (/iPad/.test(userAgent) || (/Macintosh/.test(userAgent) && touchPoints > 1)) return "ipad"; // iPadOS says Mac
  if (/Android/.test(userAgent)) return "android";
  if (/Windows/.test(userAgent)) return "windows";
  if (/Macintosh|Mac OS X/.test(userAgent)) return "mac";
  if (/CrOS/.test(userAgent)) return "chromeos";
  return /Linux|X11/.test(userAgent) ? "linux" : "other";
}

function formOf(userAgent, platform, isMobile) {
  if (platform === "iphone") return "phone";
  if (platform === "ipad") return "tablet";
  if (platform === "android") return isMobile || /Mobile/.test(userAgent) ? "phone" : "tablet";
  return "browser";
}

function browserOf(userAgent) {
  const known = [
    [/Edg(?:A|iOS)?\//, "Edge"],
    [/OPR\/|Opera/, "Opera"],
    [/SamsungBrowser/, "Samsung Internet"],
    [/Firefox|FxiOS/, "Firefox"],
    [/Chromium/, "Chromium"],
    [/Chrome|CriOS/, "Chrome"],
    [/Safari/, "Safari"],
  ];
  return known.find(([pattern]) => pattern.test(userAgent))?.[1] ?? "Browser";
}

/** "Pixel 7" out of `(Linux; Android 14; Pixel 7 Build/…)`; "" for browsers that say "K" or nothing. */
function modelOf(userAgent) {
  const said = /Android [\d.]+; (?:[a-z]{2}-[A-Za-z]{2}; )?([^;)]+?)(?: Build\/[^;)]*)?(?:; wv)?\)/.exec(userAgent)?.[1]?.trim() ?? "";
  return /^(K|Mobile|Tablet|rv:.*)$/.test(said) ? "" : said;
}
