/** Scans another node's QR code with the camera: BarcodeDetector where there is one, else jsQR, loaded then. */
import { useEffect, useRef, useState } from "preact/hooks";
import { Dialog } from "/static/dashboard/parts.js";
import { own } from "/static/dashboard/store.js";
import { html } from "/static/html.js";
import { text } from "/static/text-dashboard.js";

const words = text.scan;
const LOOK_MS = 150;
const SIDE_MAX = 800; // pixels of the picture that is searched
// the one script loaded after the page: by then another program may hold the port of a node that was stopped
const JSQR_HASH = "sha256-vEDIoVGWI2sjFNsIVvcsoLSZgM1UE7jIUqc0n1/uCFk=";

/** What a scanned text is: a node's invite, a phone's, or something else. */
export function classifyScan(scanned) {
  let url;
  try {
    url = new URL(scanned.trim());
  } catch {
    return "other";
  }
  if (url.protocol !== "https:" || url.pathname !== "/p") return "other";
  const parts = url.hash.slice(1).split(".");
  return parts.length === 3 ? "phone" : parts.length === 2 ? "invite" : "other";
}

/** The dialog with the camera's picture; onFound(url) for a node's invite. */
export function ScanDialog({ onFound, onClose }) {
  const video = useRef(null);
  const [state, setState] = useState("starting");
  useEffect(() => {
    let stopped = false;
    let stream = null;
    let timer = 0;
    async function start() {
      if (!navigator.mediaDevices) return setState("insecure");
      const [camera, find] = await Promise.all([
        navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } }, audio: false }),
        makeFinder(),
      ]);
      stream = camera;
      if (stopped) return stop();
      video.current.srcObject = stream;
      await video.current.play();
      setState("looking");
      const look = async () => {
        const found = stopped ? null : await find(video.current);
        if (stopped) return;
        const kind = found === null ? null : classifyScan(found);
        if (kind === "invite") onFound(found.trim());
        else {
          if (kind) setState(kind);
          timer = setTimeout(look, LOOK_MS);
        }
      };
      return look();
    }
    function stop() {
      stopped = true;
      clearTimeout(timer);
      stream?.getTracks().forEach((track) => track.stop());
    }
    start().catch((error) => {
      if (!stopped) setState({ NotAllowedError: "denied", NotFoundError: "no_camera" }[error.name] ?? "failed");
    });
    return stop;
  }, []);
  const failed = ["denied", "no_camera", "insecure", "failed"].includes(state);
  return html`
    <${Dialog} title=${words.title} onClose=${onClose}>
      <p>${words.lead(own.value.name)}</p>
      <div class="viewfinder" hidden=${failed}><video ref=${video} playsinline muted aria-label=${words.video}></video></div>
      <p role="status" class=${failed || state === "phone" || state === "other" ? "error" : "soft"}>${words[state]}</p>
      <div class="dialog-actions"><button type="button" class="button" onClick=${onClose}>${text.cancel}</button></div>
    <//>`;
}

/** A function from a video element to the text of a QR code in its picture, or null. */
async function makeFinder() {
  if ("BarcodeDetector" in window && (await window.BarcodeDetector.getSupportedFormats()).includes("qr_code")) {
    const detector = new window.BarcodeDetector({ formats: ["qr_code"] });
    return async (video) => (await detector.detect(video).catch(() => []))[0]?.rawValue ?? null;
  }
  const jsQR = await loadJsQR();
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return async (video) => {
    if (!video.videoWidth) return null;
    const scale = Math.min(1, SIDE_MAX / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const picture = context.getImageData(0, 0, canvas.width, canvas.height);
    return jsQR(picture.data, picture.width, picture.height, { inversionAttempts: "attemptBoth" })?.data || null;
  };
}

/** jsQR is no module: a script element sets window.jsQR. */
function loadJsQR() {
  if (window.jsQR) return window.jsQR;
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/vendor/jsQR.js";
    script.integrity = JSQR_HASH;
    script.onload = () => resolve(window.jsQR);
    script.onerror = () => reject(new Error("jsQR did not load"));
    document.head.append(script);
  });
}
