// Keeps the moving part of a page as the server sees it: the server sends it anew when it has
// changed. Nothing is done while nobody looks, or while somebody marks text.
"use strict";

const live = document.getElementById("live");
const pulse = document.getElementById("pulse");

if (live && live.hasAttribute("data-live")) {
  const address = new URL(location.href);
  address.hash = "";
  address.searchParams.set("live", "");
  let source = null;
  let latest = null;

  const say = (text, state) => {
    pulse.textContent = text;
    pulse.dataset.state = state;
  };

  const isMarked = () => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && live.contains(selection.anchorNode);
  };

  const hasFocus = () =>
    live.contains(document.activeElement) && document.activeElement.matches("a, button");

  const show = () => {
    if (latest === null || isMarked()) return;
    const focused = hasFocus() ? document.activeElement.getAttribute("href") : null;
    const scrolled = [...live.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
    live.innerHTML = latest;
    latest = null;
    live.querySelectorAll(".scroll").forEach((e, i) => { e.scrollLeft = scrolled[i] || 0; });
    if (focused) {
      const again = [...live.querySelectorAll("a[href]")].find((a) => a.getAttribute("href") === focused);
      if (again) again.focus({ preventScroll: true });
    }
  };

  const start = () => {
    if (source) return;
    source = new EventSource(address);
    source.onopen = () => say("live", "on");
    source.onmessage = (event) => {
      latest = event.data;
      show();
    };
    source.onerror = () => say("no connection", "off");
  };

  const stop = () => {
    if (!source) return;
    source.close();
    source = null;
    say("paused", "paused");
  };

  document.addEventListener("selectionchange", show);
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", () => { if (!document.hidden) start(); });
}
