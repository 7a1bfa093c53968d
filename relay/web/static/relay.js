// Keeps the parts marked data-live fresh. The pages work without it.
"use strict";
(() => {
  // Messages link to #retrigger: show what is asked there, not only where.
  const ask = () => {
    const target = location.hash === "#retrigger" && document.getElementById("retrigger");
    if (target) target.open = true;
  };
  addEventListener("hashchange", ask);
  ask();

  const timer = document.querySelector("[data-every]");
  if (!timer) return;
  let etag = null;

  const busy = () => {
    const chosen = document.getSelection();
    const inside = document.activeElement?.closest("[data-live]");
    return document.hidden || Boolean(inside) || Boolean(chosen && chosen.toString());
  };

  const renew = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (!next) continue;
      for (const open of part.querySelectorAll("details[open][id]")) {
        const same = next.querySelector(`#${CSS.escape(open.id)}`);
        if (same) same.open = true;
      }
      part.replaceWith(document.adoptNode(next));
    }
  };

  const look = async () => {
    if (busy()) return;
    const headers = etag ? { "If-None-Match": etag } : {};
    const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "error" });
    if (answer.status !== 200) return;
    etag = answer.headers.get("ETag");
    renew(await answer.text());
  };

  setInterval(() => look().catch(() => {}), Number(timer.dataset.every));
})();
