// Small things that a page without script does not need: copying, local times, calm announcements.
"use strict";

(() => {
  const SECONDS_BETWEEN_ANNOUNCEMENTS = 10;

  // Times are rendered in UTC; here they become local, and UTC moves to the tooltip.
  const STYLES = {
    full: { dateStyle: "medium", timeStyle: "medium" },
    short: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
    clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  };
  const formats = {};
  function localise(root) {
    for (const element of root.querySelectorAll("time[data-style]")) {
      const style = element.dataset.style;
      formats[style] ??= new Intl.DateTimeFormat(document.documentElement.lang, {
        ...STYLES[style],
        hourCycle: "h23",
      });
      const text = formats[style].format(new Date(element.dateTime));
      if (element.textContent !== text) element.textContent = text;
    }
  }

  async function copy(button) {
    const text = button.dataset.copy ?? document.getElementById(button.dataset.copyFrom).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      copyBySelection(text);
    }
    button.classList.add("is-done");
    announce(button.dataset.done);
    setTimeout(() => button.classList.remove("is-done"), 1500);
  }

  // Browsers offer the clipboard only over TLS and on this machine itself.
  function copyBySelection(text) {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  // A screen reader hears how things stand at most every ten seconds, and only what is new.
  const speaker = document.getElementById("announcer");
  let lastSpokenAt = 0;
  function announce(text) {
    if (!text || speaker.textContent === text) return;
    speaker.textContent = text;
    lastSpokenAt = performance.now();
  }
  function announceState() {
    const source = document.querySelector("[data-announce]");
    const due = performance.now() - lastSpokenAt > SECONDS_BETWEEN_ANNOUNCEMENTS * 1000;
    if (source && due) announce(source.dataset.announce);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(button);
    if (event.target.closest("button.print")) print();
  });
  // A menu that was opened closes with Escape, and when something else is used.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = document.querySelector("details.account[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });
  document.addEventListener("focusin", (event) => {
    const open = document.querySelector("details.account[open]");
    if (open && !open.contains(event.target)) open.open = false;
  });
  // What the server printed closed is printed open.
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll(".stop details, details.leaf")) part.open = true;
  });
  document.addEventListener("htmx:after:swap", () => {
    localise(document);
    announceState();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });
  // The address of something that is folded away opens it.
  function unfold() {
    const part = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (part instanceof HTMLDetailsElement) part.open = true;
  }
  addEventListener("hashchange", unfold);
  unfold();
  localise(document);
  // The sheet shows what only a script can do from here on.
  document.documentElement.dataset.script = "on";
})();
