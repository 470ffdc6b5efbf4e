// What makes the pages quicker to use. All of them can be read without it.
"use strict";

const announce = (text) => {
  const region = document.getElementById("announce");
  if (region) region.textContent = text;
};

// Parts marked data-part are read again, and replaced where they differ.
function keepFresh() {
  const seconds = Number(document.body.dataset.refresh);
  if (!seconds) return;
  const again = async () => {
    if (document.visibilityState === "visible") {
      try {
        const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
        const page = new DOMParser().parseFromString(await reply.text(), "text/html");
        for (const part of document.querySelectorAll("[data-part]")) {
          const fresh = page.querySelector(`[data-part="${part.dataset.part}"]`);
          if (fresh && fresh.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) part.replaceWith(document.adoptNode(fresh));
        }
        if (!Number(page.body.dataset.refresh)) return; // it has come to its end
        document.body.classList.remove("stale");
      } catch {
        document.body.classList.add("stale");
      }
    }
    setTimeout(again, seconds * 1000);
  };
  setTimeout(again, seconds * 1000);
}

// A live tail puts what comes on top of a table.
function liveTail() {
  const table = document.querySelector("tbody[data-live]");
  if (!table) return;
  const state = document.getElementById("live-state");
  const button = document.getElementById("live-toggle");
  const most = 200;
  let source = null;
  let seen = 0;
  const cell = (row, text, kind) => {
    const td = row.insertCell();
    td.textContent = text;
    if (kind) td.className = kind;
    return td;
  };
  const show = (message) => {
    for (const entry of message.rows) {
      const row = table.insertRow(0);
      row.className = entry.refusal ? "fresh refused" : "fresh";
      cell(row, entry.time, "nowrap");
      const link = document.createElement("a");
      link.href = entry.address;
      link.textContent = entry.id;
      const td = row.insertCell();
      td.className = "id";
      td.append(link);
      cell(row, entry.type, "clip");
      cell(row, entry.tenant, "clip");
      cell(row, entry.entity, "clip");
      cell(row, entry.refusal || entry.data, "data");
    }
    seen += message.rows.length + message.skipped;
    while (table.rows.length > most) table.deleteRow(-1);
    const empty = document.getElementById("no-entries");
    if (empty) empty.remove();
    state.textContent = `live, ${seen} new` + (message.skipped ? " (a sample is shown)" : "");
  };
  const stop = (why) => {
    if (source) source.close();
    source = null;
    state.classList.remove("on");
    state.textContent = why;
    button.textContent = "Go live";
    button.setAttribute("aria-pressed", "false");
  };
  const start = (address) => {
    source = new EventSource(address);
    button.textContent = "Pause";
    button.setAttribute("aria-pressed", "true");
    source.onopen = () => {
      state.classList.add("on");
      state.textContent = seen ? `live, ${seen} new` : "live";
      announce("Live tail is on");
    };
    source.onmessage = (event) => show(JSON.parse(event.data));
    source.addEventListener("failed", (event) => stop(event.data));
    source.onerror = () => {
      if (!source) return;
      state.classList.remove("on");
      state.textContent = "connection lost, trying again";
      if (source.readyState === EventSource.CLOSED) stop("refused: too many live tails, or not logged in");
    };
  };
  button.hidden = false;
  state.hidden = false;
  button.addEventListener("click", () => (source ? stop("paused") : start(table.dataset.live)));
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden" && source) stop("paused while out of sight");
  });
  if (table.dataset.liveOn) start(table.dataset.liveOn);
}

// j and k walk through rows, enter opens one, / goes to the search, f to the
// filter of the page.
function keyboard() {
  let at = -1;
  const rows = () => [...document.querySelectorAll("tbody tr")].filter((row) => row.querySelector("a[href]"));
  const go = (to) => {
    const all = rows();
    if (!all.length) return;
    document.querySelector("tr.current")?.classList.remove("current");
    at = Math.max(0, Math.min(to, all.length - 1));
    all[at].classList.add("current");
    all[at].scrollIntoView({ block: "nearest" });
    all[at].querySelector("a[href]").focus({ preventScroll: true });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    if (event.key === "j") go(at + 1);
    else if (event.key === "k") go(at - 1);
    else if (event.key === "/") document.getElementById("find")?.select();
    else if (event.key === "f") document.querySelector("[data-filter]")?.focus();
    else return;
    event.preventDefault();
  });
}

function controls() {
  const filter = document.querySelector("input[data-narrow]");
  filter?.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    for (const row of document.querySelectorAll("tbody[data-rows] tr")) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  document.querySelector("input[data-all]")?.addEventListener("change", (event) => {
    for (const box of document.querySelectorAll("input[name=id]")) box.checked = event.target.checked;
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
      announce("Copied");
    } catch {
      button.textContent = "Select it";
    }
  });
  for (const hidden of document.querySelectorAll("[data-script]")) hidden.hidden = false;
}

keepFresh();
liveTail();
keyboard();
controls();
