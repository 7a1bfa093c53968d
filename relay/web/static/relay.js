// Polls the page and replaces the elements marked data-live. The pages also work without it.
"use strict";
(() => {
  // Links in messages lead to #retrigger: open the form there.
  const openForm = () => {
    const target = location.hash === "#retrigger" && document.getElementById("retrigger");
    if (target) target.open = true;
  };
  addEventListener("hashchange", openForm);
  openForm();

  const timer = document.querySelector("[data-every]");
  if (!timer) return;
  let etag = null;

  const isBusy = () => {
    const chosen = document.getSelection();
    const inside = document.activeElement?.closest("[data-live]");
    return document.hidden || Boolean(inside) || Boolean(chosen && chosen.toString());
  };

  const replaceLiveParts = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
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

  const poll = async () => {
    if (isBusy()) return;
    const headers = etag ? { "If-None-Match": etag } : {};
    const response = await fetch(location.href, { headers, cache: "no-store", redirect: "error" });
    if (response.status !== 200) return;
    etag = response.headers.get("ETag");
    replaceLiveParts(await response.text());
  };

  setInterval(() => poll().catch(() => {}), Number(timer.dataset.every));
})();
