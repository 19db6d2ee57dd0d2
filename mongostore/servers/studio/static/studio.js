// Keys, the palette, the live tail and copying. Every page works without this; with it, hands stay on the keyboard.
const root = document.body.dataset.root ?? "";
const policy = window.trustedTypes?.createPolicy("studio", { createHTML: (html) => html });
const $ = (query, from = document) => from.querySelector(query);
const $$ = (query, from = document) => [...from.querySelectorAll(query)];
const said = $("#said");
const say = (text) => { said.textContent = text; };

// Fragments come from the studio alone, in which all that is stored is escaped or cleaned.
function parse(html) {
  const holder = document.createElement("template");
  holder.innerHTML = policy ? policy.createHTML(html) : html;
  return holder.content;
}

// Null where the server cannot be reached, or the page is left.
const ask = (path, options) => fetch(path, options).catch(() => null);

async function copy(text, what) {
  await navigator.clipboard.writeText(text);
  say(`${what} copied`);
}

// A page may show less than there is.
async function copyCode(button) {
  const answer = button.dataset.src && await ask(button.dataset.src, { headers: { Accept: "application/json" } });
  if (answer && !answer.ok || answer === null) return say("It could not be copied.");
  await copy(answer ? await answer.text() : $("pre", button.closest(".code")).innerText, "Code");
}

// ---------- theme ----------
const themes = ["", "light", "dark"];
function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name; else delete document.documentElement.dataset.theme;
}
setTheme(localStorage.getItem("studio-theme") ?? "");
function nextTheme() {
  const name = themes[(themes.indexOf(localStorage.getItem("studio-theme") ?? "") + 1) % themes.length];
  localStorage.setItem("studio-theme", name);
  setTheme(name);
  say(name ? `${name} theme` : "theme of the system");
}

// ---------- list and transcript ----------
$(".sub [aria-current=page]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
const list = $("#list"), scroll = $("#scroll"), talk = $("#talk");
if (list) {
  list.scrollTop = Number(sessionStorage.getItem("studio-list") ?? 0);
  $("[aria-current=page]", list)?.scrollIntoView({ block: "nearest" });
  addEventListener("pagehide", () => sessionStorage.setItem("studio-list", list.scrollTop));
}
async function loadMore(link) {
  const answer = await ask(`${link.href}&fragment=true`);
  if (!answer?.ok) return say("They could not be loaded.");
  const days = $$("h3", list), rows = parse(await answer.text());
  const first = $("h3", rows);
  if (first && days.at(-1)?.textContent === first.textContent) first.remove();
  link.replaceWith(rows);
}
const items = () => $$(".msg[id], .ev[id], .hit", talk ?? document);
const here = () => $(".here", talk ?? document) ?? (location.hash ? document.getElementById(location.hash.slice(1)) : null);
function select(item, { move = true } = {}) {
  if (!item) return;
  $$(".here").forEach((one) => one.classList.remove("here"));
  item.classList.add("here");
  if (move) item.scrollIntoView({ block: "nearest" });
  showDetails(item);
}
let asked = 0;
async function showDetails(item) {
  const rail = $("#rail"), path = item.dataset.path;
  if (!rail || !path?.includes("/at/") || getComputedStyle(rail).display === "none") return;
  const number = ++asked;
  const answer = await ask(`${path}?fragment=true`);
  if (answer?.ok && number === asked) rail.replaceChildren(parse(await answer.text()));
}
function step(direction) {
  const all = items(), at = all.indexOf(here());
  const box = scroll?.getBoundingClientRect();
  const start = at >= 0 ? at + direction : all.findIndex((one) => one.getBoundingClientRect().bottom > (box?.top ?? 0));
  select(all[Math.min(Math.max(start, 0), all.length - 1)]);
}
if (scroll) {
  const target = here();
  if (target) { target.classList.add("here"); target.scrollIntoView({ block: target.offsetHeight < scroll.clientHeight ? "center" : "start" }); }
  else if (scroll.dataset.atEnd && !location.search.includes("after=")) scroll.scrollTop = scroll.scrollHeight;
}

// ---------- map ----------
const map = $("#map");
if (map && getComputedStyle(map).display !== "none") {
  ask(map.dataset.src).then(async (answer) => { if (answer?.ok) map.replaceChildren(parse(await answer.text())); });
}

// ---------- numbers ----------
const cards = $("#cards");
if (cards) ask(cards.dataset.src).then(async (answer) => {
  if (!answer?.ok) { cards.textContent = "They could not be counted; r asks again."; return; }
  cards.replaceChildren(parse(await answer.text()));
  const counted = $("[data-counted]", cards);
  if (counted) $("#counted").textContent = counted.dataset.counted;
});

// ---------- live ----------
const liveButton = $("#live"), tail = $("#tail");
let source = null, paused = false, waiting = 0, lastChange = null, release = null, poll = 0;
const atBottom = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
function setTail(state, title, text) {
  if (!tail) return;
  tail.className = `tail ${state}`;
  $("b", tail).textContent = title;
  $("span span", tail).textContent = ` ${text}`;
  const dot = { "": "off", on: "live", paused: "wait", away: "bad" }[state] ?? "off";
  $$(".dot", tail).forEach((one) => { one.className = `dot ${dot}`; });
  const button = $("[data-follow] span", tail);
  if (button) button.textContent = { on: "Pause", paused: "Resume" }[state] ?? "Follow";
  if (liveButton) {
    $(".dot", liveButton).className = `dot ${dot}`;
    $("span:last-child", liveButton).textContent = { paused: "Paused", away: "Offline" }[state] ?? "Live";
    liveButton.classList.toggle("on", state === "on");
    liveButton.setAttribute("aria-pressed", String(state === "on"));
  }
}
function showBar() {
  $(".newbar")?.remove();
  if (!waiting) return;
  const bar = document.createElement("button");
  bar.className = "newbar";
  bar.textContent = `${waiting} new`;
  bar.addEventListener("click", resume);
  talk.append(bar);
}
function following() {
  const text = lastChange ? `Last change at ${lastChange.toLocaleTimeString()}.` : "New ones are shown; scroll up to pause.";
  setTail("on", poll ? "Asking every 5 s." : "Following.", text);
}
function put({ id, html }) {
  const fresh = parse(html).firstElementChild, old = document.getElementById(id);
  if (!fresh || old?.outerHTML === fresh.outerHTML) return;
  const stay = atBottom() && !paused;
  if (old?.matches(".msg, .ev")) {
    if (old.classList.contains("here")) fresh.classList.add("here");
    $$("details", old).forEach((one, n) => { const same = $$("details", fresh)[n]; if (same && one.open) same.open = true; });
    old.replaceWith(fresh);
  } else if (!old) {
    talk.insertBefore(fresh, $(".newbar", talk));
    if (!stay) waiting += 1;
    if (talk.childElementCount > 600) $(".msg, .ev", talk)?.remove();
  }
  lastChange = new Date();
  if (stay) scroll.scrollTop = scroll.scrollHeight;
  if (waiting) showBar();
  if (paused || !stay) pauseTail(); else following();
}
function pauseTail() {
  paused = true;
  setTail("paused", "Paused while you read.", waiting ? `${waiting} new ${waiting === 1 ? "is" : "are"} waiting below; nothing is lost.` : "New messages wait below; nothing is lost.");
}
function resume() {
  paused = false; waiting = 0;
  showBar();
  scroll.scrollTop = scroll.scrollHeight;
  following();
}
// Browsers open six connections to a server; a seventh page would wait without a word.
async function holdLock() {
  for (const number of [1, 2, 3, 4]) {
    const held = await new Promise((resolve) => {
      navigator.locks.request(`studio-live-${number}`, { ifAvailable: true }, (lock) => {
        if (!lock) return resolve(false);
        return new Promise((end) => { release = end; resolve(true); });
      });
    });
    if (held) return true;
  }
  return false;
}
async function refresh() {
  const answer = await ask(location.href, { headers: { Accept: "text/html" } });
  if (!answer?.ok) return setTail("away", "No answer.", "Asking again in 5 s.");
  const page = parse(await answer.text());
  const fresh = $$(".msg[id], .ev[id]", page);
  for (const one of fresh) if (document.getElementById(one.id)?.outerHTML !== one.outerHTML) put({ id: one.id, html: one.outerHTML });
  if (!paused) following();
}
async function follow() {
  const path = document.body.dataset.live;
  if (!path || !scroll) return;
  if (!scroll.dataset.atEnd) return;
  if (document.body.dataset.polls || !(await holdLock())) { poll = setInterval(refresh, 5000); return following(); }
  source = new EventSource(`${path}?after=${scroll.dataset.last}${scroll.dataset.since ? `&since=${encodeURIComponent(scroll.dataset.since)}` : ""}`);
  const on = (name, act) => source.addEventListener(name, (event) => act(JSON.parse(event.data)));
  source.addEventListener("open", () => { if (!paused) following(); });
  source.addEventListener("error", () => {
    if (source?.readyState === EventSource.CLOSED) { stop(); poll = setInterval(refresh, 5000); following(); }
    else setTail("away", "Reconnecting.", "The tail goes on behind the last change; nothing in between is skipped.");
  });
  on("put", put);
  on("change", (one) => { if (document.getElementById(one.id)) put(one); });
  on("drop", ({ id }) => document.getElementById(id)?.remove());
  on("reset", () => location.reload());
  on("away", () => setTail("away", "MongoDB does not answer.", "The tail goes on when it does."));
  on("close", () => { stop(); setTail("", "Over.", "This conversation was deleted."); });
}
function stop() {
  source?.close(); source = null;
  clearInterval(poll); poll = 0;
  release?.(); release = null;
}
function toggleFollow() {
  if (!source && !poll) {
    if (scroll && !scroll.dataset.atEnd) { location.href = location.pathname; return; }
    follow();
  } else if (paused) resume(); else { pauseTail(); }
}
if (scroll && document.body.dataset.live) {
  follow();
  scroll.addEventListener("scroll", () => {
    if (!source && !poll) return;
    if (!paused && !atBottom()) pauseTail();
    else if (paused && atBottom()) resume();
  }, { passive: true });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop();
    else if (!source && !poll) { scroll.dataset.last = (items().at(-1)?.id ?? "m-1").slice(1); follow(); }
  });
  liveButton?.addEventListener("click", toggleFollow);
  addEventListener("pagehide", stop);
}
// ---------- what else is new ----------
if (list) setInterval(async () => {
  if (document.hidden || list.scrollTop > 40 || list.contains(document.activeElement)) return;
  const kind = new URLSearchParams(location.search).get("kind");
  const answer = await ask(`${root}/list?fragment=true${kind ? `&kind=${kind}` : ""}`);
  const state = $("#state");
  if (state) state.className = `dot ${answer?.ok ? "" : "bad"}`;
  if (!answer?.ok) return;
  const rows = parse(await answer.text()), current = $("[aria-current=page]", list)?.getAttribute("href");
  $$(".conv", rows).forEach((one) => { if (one.getAttribute("href") === current) one.setAttribute("aria-current", "page"); });
  list.replaceChildren(rows);
}, 10000);
const wait = $("[data-reload], [data-retry]");
if (wait) setTimeout(() => location.reload(), 1000 * Number(wait.dataset.reload ?? wait.dataset.retry));

// ---------- palette and keys ----------
const KEYS = [["/", "search"], ["Ctrl K", "jump to a conversation"], ["j k", "next, previous item"], ["Enter", "open it"], ["u", "up to the list"], ["[ ]", "previous, next conversation"], ["g 128", "go to message 128"], ["Home End", "first, last"], ["f", "follow or pause"], ["t", "fold or unfold tools"], [".", "details"], ["y", "copy link"], ["c", "copy as text"], ["e", "export"], ["1–4", "all, sessions, threads, rooms"], ["d", "light, dark, system"], ["r", "load again"], ["?", "these keys"], ["Esc", "close"]];
function dialog(label) {
  const box = document.createElement("dialog");
  box.className = "veil";
  box.setAttribute("aria-label", label);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  document.body.append(box);
  return box;
}
const make = (tag, { text, ...members } = {}, ...children) => {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(members)) one.setAttribute(name, value);
  if (text !== undefined) one.textContent = text;
  one.append(...children);
  return one;
};
function showKeys() {
  const box = dialog("Keys"), table = make("dl");
  for (const [keys, what] of KEYS) table.append(make("dt", { text: what }), make("dd", {}, ...keys.split(" ").map((key) => make("kbd", { text: key }))));
  const off = localStorage.getItem("studio-keys") === "off";
  const toggle = make("button", { class: "btn", text: off ? "Switch single keys on" : "Switch single keys off" });
  toggle.addEventListener("click", () => { localStorage.setItem("studio-keys", off ? "on" : "off"); box.close(); });
  box.append(make("div", { class: "pal" }, make("h3", { text: "Keys" }), table, make("footer", {}, toggle)));
  box.showModal();
}
// What the palette does beside jumping, each where a page has what it needs.
const COMMANDS = [["f", "Follow new messages, or pause", "radio", "#live"], ["e", "Export what is here", "download", "#export"], ["t", "Fold or unfold tools", "wrench", ".call"], ["d", "Light, dark or as the system", "sun"], ["?", "All keys", "ellipsis"]];
function icon(name) {
  const one = $(".ask svg").cloneNode(true), use = $("use", one);
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${name}`));
  return one;
}
const hint = (text, ...keys) => make("span", {}, ...keys.map((key) => make("kbd", { text: key })), ` ${text}`);
function palette() {
  const box = dialog("Jump to"), input = make("input", { type: "text", "aria-label": "Jump to", autocomplete: "off", role: "combobox", "aria-expanded": "true", "aria-controls": "found" });
  const found = make("ul", { role: "listbox", id: "found", "aria-label": "Choices" });
  box.append(make("div", { class: "pal" }, make("div", { class: "in" }, icon("search"), input, make("kbd", { text: "esc" })), found,
    make("footer", {}, hint("choose", "↑", "↓"), hint("open", "↵"), hint("in a new tab", "ctrl ↵"))));
  // Which question was asked last, and of which the list is the answer: answers may overtake each other.
  let timer = 0, asked = 0, shown = null;
  const typed = () => input.value.trim(), choices = () => $$("[role=option]", found);
  const choose = (one) => { choices().forEach((li) => li.setAttribute("aria-selected", String(li === one))); one?.scrollIntoView({ block: "nearest" }); input.setAttribute("aria-activedescendant", one?.id ?? ""); };
  const head = (text) => { if (found.lastElementChild?.matches(".head")) found.lastElementChild.remove(); found.append(make("li", { role: "presentation", class: "head", text })); };
  const add = (label, note, target, sign) => found.append(make("li", { role: "option", "aria-selected": "false", id: `found-${found.childElementCount}`, ...target }, make("span", { class: "sign" }, sign), make("span", { class: "grow cut", dir: "auto", text: label }), make(target["data-key"] ? "kbd" : "span", { class: "n", text: note })));
  const addCommands = (text, here) => { for (const [key, label, sign, needed] of COMMANDS) if (label.toLowerCase().includes(text.toLowerCase()) && (here ? needed && $(needed) : !needed)) add(label, key, { "data-key": key }, icon(sign)); };
  const go = (one, elsewhere) => {
    const { href, key } = one.dataset;
    if (key) { box.close(); ACTS[key](); } else if (elsewhere) open(href); else location.href = href;
  };
  async function fill() {
    clearTimeout(timer);
    const text = typed(), mine = ++asked;
    const answer = await fetch(`${root}/list?fragment=true&palette=true&q=${encodeURIComponent(text)}`).catch(() => null);
    const rows = answer?.ok ? $$(".conv", parse(await answer.text())) : $$(".conv", list);
    if (mine !== asked) return;
    shown = text;
    const local = $$(".conv", list).filter((one) => $(".t", one).textContent.toLowerCase().includes(text.toLowerCase()));
    found.replaceChildren();
    if (/^\d+$/.test(text) && scroll) add(`Go to message ${text}`, "number", { "data-href": `${location.pathname}?at=${text}` }, icon("hash"));
    head("Conversations");
    const seen = new Set();
    for (const one of [...local, ...rows]) {
      if (seen.has(one.getAttribute("href")) || seen.size > 9) continue;
      seen.add(one.getAttribute("href"));
      add($(".t", one).textContent, $("time", one)?.textContent.trim() ?? "", { "data-href": one.getAttribute("href") }, $(".noun", one).cloneNode(true));
    }
    head("This page");
    addCommands(text, true);
    head("Everywhere");
    if (text) add(`Search all messages for “${text}”`, "search", { "data-href": `${root}/search?q=${encodeURIComponent(text)}` }, icon("search"));
    for (const one of $$(".nav a")) if (one.textContent.toLowerCase().includes(text.toLowerCase())) add(one.textContent, "page", { "data-href": one.getAttribute("href") }, $("svg", one).cloneNode(true));
    addCommands(text, false);
    if (found.lastElementChild?.matches(".head")) found.lastElementChild.remove();
    choose(choices()[0]);
  }
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(fill, 120); });
  box.addEventListener("keydown", async (event) => {
    if (!["ArrowDown", "ArrowUp", "Enter"].includes(event.key)) return;
    event.preventDefault();
    // A choice is one of what was typed, not of what was shown before it.
    if (shown !== typed()) await fill();
    if (shown !== typed() || !box.open) return;
    const all = choices(), at = all.findIndex((one) => one.getAttribute("aria-selected") === "true");
    if (event.key === "Enter") { if (all[at]) go(all[at], event.ctrlKey); }
    else choose(all[(at + (event.key === "ArrowDown" ? 1 : all.length - 1)) % all.length]);
  });
  found.addEventListener("click", (event) => { const one = event.target.closest("[role=option]"); if (one) go(one, event.ctrlKey); });
  box.showModal();
  input.focus();
  fill();
}
function fold() {
  const calls = $$(".call"), open = !calls.some((one) => one.open);
  calls.forEach((one) => { one.open = open; });
  $$("[data-fold]").forEach((one) => { one.firstChild.textContent = open ? "Tools unfolded " : "Tools folded "; });
}
function neighbour(direction) {
  const all = $$(".conv", list), at = all.findIndex((one) => one.getAttribute("aria-current"));
  const next = all[at + direction];
  if (next) location.href = next.href;
}
const linkOf = (item) => { const href = item && $(".pos", item)?.getAttribute("href"); return href ? new URL(href, location.href).href : location.href; };
const ACTS = {
  "/": () => ($("#words") ?? $("#ask"))?.focus(), j: () => step(1), k: () => step(-1),
  Enter: () => { const item = here(); if (item?.dataset.path) location.href = item.dataset.path; },
  u: () => (list?.querySelector("[aria-current=page]") ?? list)?.focus(), "[": () => neighbour(-1), "]": () => neighbour(1),
  g: palette, Home: () => { if (scroll) location.href = `${location.pathname}?at=0`; }, End: () => { if (scroll) location.href = location.pathname; },
  f: toggleFollow, t: fold, ".": () => { const item = here() ?? items().at(-1); if (item?.dataset.path) location.href = item.dataset.path; },
  y: () => copy(linkOf(here()), "Link"), c: () => { const item = here(); if (item) copy($$(".md, .code pre", item).map((one) => one.innerText).join("\n\n"), "Text"); },
  e: () => $("#export")?.click(), d: nextTheme, r: () => location.reload(), "?": showKeys,
};
["", "session", "thread", "room"].forEach((kind, n) => { ACTS[String(n + 1)] = () => { $$(".tabs3 a")[n]?.click(); }; });
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "k") { event.preventDefault(); return palette(); }
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || $("dialog[open]")) return;
  const within = event.target.closest?.("input, textarea, select, [contenteditable]");
  // A drawer that Escape closes gives the focus back to the button that opened it.
  if (event.key === "Backspace" && event.target.id === "words" && !event.target.selectionEnd) $$(".tok").at(-1)?.click();
  if (within) { if (event.key === "Escape" && !within.closest(":popover-open")) within.blur(); return; }
  if (event.key === "Enter" && event.target.closest?.("a, button, summary")) return;
  if (localStorage.getItem("studio-keys") === "off" && event.key.length === 1 && event.key !== "?") return;
  const act = ACTS[event.key];
  if (act) { event.preventDefault(); act(); }
});
document.addEventListener("click", (event) => {
  const on = (query) => event.target.closest?.(query);
  let one;
  if ((one = on(".more")) && list?.contains(one)) { event.preventDefault(); loadMore(one); }
  else if ((one = on(".code .cap .b"))) copyCode(one);
  else if ((one = on("[data-copy]"))) copy(one.dataset.copy, "Address");
  else if ((one = on("[data-copy-page]"))) copy(linkOf(null), "Link");
  else if ((one = on("[data-copy-link]"))) { event.preventDefault(); copy(linkOf(one.closest(".msg, .ev")), "Link"); }
  else if (on("[data-keys]")) showKeys();
  else if (on("[data-fold]")) fold();
  else if (on("[data-follow]")) toggleFollow();
  else if ((one = on(".pos")) && talk?.contains(one)) {
    const item = one.closest(".msg, .ev");
    if (item?.dataset.path?.includes("/at/")) { event.preventDefault(); history.replaceState(null, "", one.getAttribute("href")); select(item, { move: false }); }
  }
});
