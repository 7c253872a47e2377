// What a reader has chosen is in the address of the page, so that a link shows it again.

const WAIT = 300; // ms; browsers refuse an address that changes too often
const remembered = [];
let writing = 0;

/**
 * Keep a choice in the address.
 *
 * `write` returns its text, or null for what it is at first; `read` takes either back.
 */
function remember(key, write, read) {
  remembered.push({ key, write, read });
}

function address() {
  const chosen = new URLSearchParams(remembered.flatMap(({ key, write }) => {
    const text = write();
    return text === null ? [] : [[key, text]];
  }));
  return String(chosen);
}

function writeAddress() {
  clearTimeout(writing);
  writing = 0;
  const wanted = address();
  const { hash } = location;
  // The address of a section stays until something is chosen.
  if (wanted === hash.slice(1) || (!wanted && !hash.includes("="))) return;
  history.replaceState(null, "", wanted ? `#${wanted}` : location.pathname + location.search);
}

function keepAddress() {
  writing ||= setTimeout(writeAddress, WAIT);
}

function readAddress() {
  if (!location.hash.includes("=")) return;
  const chosen = new URLSearchParams(location.hash.slice(1));
  for (const { key, read } of remembered) read(chosen.get(key));
  redraw();
}

function buildAddress() {
  addEventListener("hashchange", readAddress);
  addEventListener("pagehide", writeAddress);
  // Sections are scrolled to without an address of their own, which would replace what is chosen.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    const target = link && byId(link.getAttribute("href").slice(1));
    if (!target) return;
    event.preventDefault();
    if (target.tagName === "DETAILS") target.open = true;
    target.scrollIntoView({ block: "start" });
    if (!target.hasAttribute("tabindex")) target.setAttribute("tabindex", "-1");
    target.focus({ preventScroll: true });
  });
  readAddress();
}
