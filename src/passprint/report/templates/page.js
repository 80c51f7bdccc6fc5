"use strict";
(() => {
  const data = JSON.parse(document.getElementById("passprint-report").textContent);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // Long texts stand in the data only: they are filled in, as text, when they are opened or printed.
  const fill = (pre) => {
    if (pre.dataset.filled) return;
    const { digest, of } = pre.dataset;
    const detail = data.details[digest];
    pre.textContent = of === "code" ? detail.code : detail.texts[of];
    pre.dataset.filled = "1";
  };
  for (const details of all("details")) {
    details.addEventListener("toggle", () => all(":scope > pre[data-of]", details).forEach(fill));
  }
  window.addEventListener("beforeprint", () => {
    all("pre[data-of]").forEach(fill);
    all("details").forEach((details) => (details.open = true));
  });
  const json = document.getElementById("json");
  json?.addEventListener("toggle", () => {
    const pre = json.querySelector("pre");
    if (!pre.textContent) pre.textContent = JSON.stringify(data, null, 1);
  });

  // Pieces: a box shows the panel of its code; arrow keys go from box to box.
  const boxes = all(".boxes button");
  const panels = all(".panel[data-piece]");
  const choose = (box) => {
    boxes.forEach((other) => other.setAttribute("aria-pressed", String(other === box)));
    panels.forEach((panel) => (panel.hidden = panel.dataset.piece !== box.dataset.piece));
  };
  boxes.forEach((box, number) => {
    box.addEventListener("click", () => choose(box));
    box.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const next = step && boxes[number + step];
      if (next) { event.preventDefault(); next.focus(); }
    });
  });
  if (boxes.length) choose(boxes.find((box) => box.dataset.origin === "compiled") ?? boxes[0]);

  // The timeline: zoom in steps, by wheel with Ctrl, or with + and - on it; a bar says what it is below.
  const track = document.querySelector(".track");
  if (track) {
    const plot = track.querySelector(".plot"), readout = document.getElementById("readout");
    let zoom = 1;
    const setZoom = (wanted, at = track.clientWidth / 2) => {
      const place = (track.scrollLeft + at) / plot.offsetWidth;
      zoom = Math.min(Math.max(wanted, 1), 64);
      plot.style.width = `${100 * zoom}%`;
      track.scrollLeft = place * plot.offsetWidth - at;
      document.getElementById("zoom-level").textContent = `${zoom === 1 ? "whole start" : `${zoom.toFixed(zoom < 10 ? 1 : 0)}×`}`;
    };
    const steps = { "zoom-in": 2, "zoom-out": 0.5, "zoom-all": 0 };
    for (const [id, factor] of Object.entries(steps)) {
      document.getElementById(id).addEventListener("click", () => setZoom(zoom * factor));
    }
    track.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      setZoom(zoom * (event.deltaY < 0 ? 1.25 : 0.8), event.clientX - track.getBoundingClientRect().left);
    }, { passive: false });
    track.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "=") setZoom(zoom * 2);
      else if (event.key === "-") setZoom(zoom / 2);
      else if (event.key === "0") setZoom(1);
    });
    for (const bar of all(".lane button", track)) {
      const say = () => (readout.textContent = bar.getAttribute("aria-label"));
      bar.addEventListener("focus", say);
      bar.addEventListener("mouseenter", say);
      bar.addEventListener("click", say);
    }
  }

  for (const button of all("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const from = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(from.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(from);
        button.textContent = "Selected: press Ctrl+C";
      }
    });
  }
})();
