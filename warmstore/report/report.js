// The gallery: filters, overlays, and a viewer that is stepped through. Everything shown is on the page already.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const cards = [...document.querySelectorAll(".card")];
  const viewer = byId("viewer");
  if (!viewer) return;
  const [search, split, flag] = ["search", "split", "flag"].map(byId);
  const overlays = [...document.querySelectorAll(".overlays input")];
  const words = cards.map((card) =>
    [card.querySelector(".name"), ...card.querySelectorAll("title")].map((one) => one.textContent).join("\n").toLowerCase());
  let seen = cards;
  let current = null;

  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    cards.forEach((card, place) => {
      card.hidden = !(
        words[place].includes(wanted) &&
        (!split.value || card.dataset.split === split.value) &&
        (!flag.value || card.dataset.flags.split("|").includes(flag.value)));
    });
    seen = cards.filter((card) => !card.hidden);
    const all = seen.length === cards.length ? "" : ` of ${cards.length}`;
    byId("count").textContent = `${seen.length}${all} samples`;
  };

  const overlay = () => {
    document.body.dataset.show = overlays.filter((box) => box.checked).map((box) => box.value).join(" ");
  };

  const open = (card) => {
    if (card.hidden) { [search, split, flag].forEach((one) => { one.value = ""; }); filter(); }
    current = card;
    const picture = card.querySelector(".picture, .no-picture").cloneNode(true);
    byId("viewer-picture").replaceChildren(picture);
    byId("viewer-name").replaceChildren(...card.querySelector("figcaption").cloneNode(true).childNodes);
    byId("viewer-place").textContent = `${seen.indexOf(card) + 1} of ${seen.length}`;
    if (!viewer.open) viewer.showModal();
  };

  const step = (from, by) => seen[(seen.indexOf(from) + by + seen.length) % seen.length];
  const focus = (card) => {
    card.scrollIntoView({ block: "nearest" });
    card.querySelector("button")?.focus({ preventScroll: true });
  };

  const steps = { ArrowLeft: -1, ArrowRight: 1 };
  const toggles = { g: "regions", m: "prob_map", t: "thresh_map", p: "predictions" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input[type=search], select")) return;
    const card = document.activeElement.closest(".card");
    if (event.key in steps && (viewer.open || card)) {
      if (viewer.open) open(step(current, steps[event.key]));
      else focus(step(card, steps[event.key]));
    } else if (viewer.open && (event.key === "Home" || event.key === "End")) {
      open(seen.at(event.key === "Home" ? 0 : -1));
    } else if (event.key in toggles) {
      const box = overlays.find((one) => one.value === toggles[event.key]);
      box.checked = !box.checked;
      overlay();
    } else if (event.key === "/" && !viewer.open) {
      search.focus();
    } else return;
    event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest(".to-card");
    const card = link ? document.querySelector(link.hash) : event.target.closest(".card button")?.parentElement;
    if (!card) return;
    event.preventDefault();
    open(card);
  });
  byId("previous").addEventListener("click", () => open(step(current, -1)));
  byId("next").addEventListener("click", () => open(step(current, 1)));
  byId("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("close", () => focus(current));
  [search, split, flag].forEach((one) => one.addEventListener("input", filter));
  document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
  overlays.forEach((box) => box.addEventListener("change", overlay));
  filter();
  overlay();
})();
