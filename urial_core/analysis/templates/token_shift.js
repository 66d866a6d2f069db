"use strict";
// A token is [text, rank, ‰, aligned rank, aligned ‰, KL * 100 or null, kind, base top, aligned top].
const { answers, texts, kinds } = readData();
const PER_PAGE = 20;
const CATEGORIES = ["unshifted", "marginal", "shifted"];
const ENDS = { delimiter: "", end_of_text: "", length: "cut at the length limit" };
const category = (token) => CATEGORIES[(token[1] > 1) + (token[1] > 3)];
const list = document.getElementById("answers");
const details = document.getElementById("details");

for (const answer of answers) {
  answer.text = answer.tokens.map((token) => texts[token[0]]).join("");
  answer.searched = `${answer.question}\n${answer.text}`.toLowerCase();
  answer.shifted = answer.tokens.filter((token) => token[1] > 3).length / answer.tokens.length;
}

/** Show white space and nothing as marks, so that a token of them can be seen. */
function visible(text) {
  if (text === "") return "∅";
  return text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ | $/g, "␣");
}

const share = (thousandths) => (thousandths ? `${(thousandths / 10).toFixed(1)} %` : "< 0.1 %");

let found = answers;
let page = 0;
let current = null;

/** Apply search and order, and show the first page. */
function filter() {
  const term = document.getElementById("search").value.trim().toLowerCase();
  found = term ? answers.filter((answer) => answer.searched.includes(term)) : [...answers];
  const order = document.getElementById("order").value;
  if (order) found.sort((a, b) => (order === "most" ? b.shifted - a.shifted : a.shifted - b.shifted));
  show(0);
}

function show(wanted) {
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  page = Math.min(Math.max(wanted, 0), pages - 1);
  current = null;
  list.replaceChildren(...found.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(card));
  document.getElementById("previous").disabled = page === 0;
  document.getElementById("next").disabled = page === pages - 1;
  document.getElementById("count").textContent =
    `${found.length} of ${answers.length} answers · page ${page + 1} of ${pages}`;
}

function card(answer) {
  const notes = [answer.id, answer.turn > 1 ? `turn ${answer.turn}` : "",
    `${(100 * answer.shifted).toFixed(1)} % of ${answer.tokens.length} tokens shifted`, ENDS[answer.end] ?? answer.end];
  return element("article", { class: "card answer" },
    element("h3", {}, answer.question, " ",
      element("span", { class: "soft small" }, notes.filter(Boolean).join(" · "))),
    element("div", { class: "tokens" }, ...answer.tokens.map((token, place) => {
      const kind = kinds[token[6]];
      const text = texts[token[0]];
      const span = element("span", { class: `t ${category(token)} ${kind}` },
        kind === "end" || text === "" ? visible(text) : text);
      span.token = token;
      span.place = place + 1;
      return span;
    })));
}

/** Make a token the current one: its details stay until another is chosen. */
function choose(span, scroll = true) {
  if (!span) return;
  current?.classList.remove("current");
  current = span;
  current.classList.add("current");
  if (scroll) current.scrollIntoView({ block: "nearest" });
  describe(span);
}

function describe(span) {
  const token = span.token;
  const rows = [];
  const [base, aligned] = [token[7], token[8]];
  const cells = (top, at) => [
    element("td", { class: `tok${top[at] === token[0] ? " same" : ""}`, title: top.length > at ? visible(texts[top[at]]) : "" },
      top.length > at ? visible(texts[top[at]]) : ""),
    element("td", {}, top.length > at ? (top[at + 1] / 10).toFixed(1) : "")];
  for (let at = 0; at < Math.max(base.length, aligned.length); at += 2) {
    rows.push(element("tr", {}, ...cells(base, at), ...cells(aligned, at)));
  }
  const facts = [["position", span.place], ["category", category(token)], ["kind", kinds[token[6]]],
    ["rank under the base", token[1]], ["probability under the base", share(token[2])],
    ["rank on the aligned side", token[3]], ["probability there", share(token[4])],
    ...(token[5] === null ? [] : [["KL, nats", (token[5] / 100).toFixed(2)]])];
  details.replaceChildren(
    element("div", { class: "chosen" }, visible(texts[token[0]])),
    element("dl", {}, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))])),
    element("table", { class: "tops" },
      element("thead", {}, element("tr", {}, element("th", {}, "base"), element("th", {}, "%"),
        element("th", {}, "aligned"), element("th", {}, "%"))),
      element("tbody", {}, ...rows)));
}

const spans = () => [...list.querySelectorAll(".t")];

/** Choose the next token, in either direction, that matches a selector. */
function move(step, selector = ".t") {
  const all = spans();
  const start = current ? all.indexOf(current) : step > 0 ? -1 : all.length;
  for (let at = start + step; at >= 0 && at < all.length; at += step) {
    if (all[at].matches(selector)) return choose(all[at]);
  }
}

function moveAnswer(step) {
  const cards = [...list.children];
  const at = current ? cards.indexOf(current.closest(".answer")) + step : 0;
  if (at < 0 || at >= cards.length) return;
  choose(cards[at].querySelector(".t"), false);
  cards[at].scrollIntoView({ block: "start" });
  window.scrollBy(0, -70);
}

if (list) {
  list.addEventListener("pointerover", (event) => {
    if (event.target.matches(".t")) describe(event.target);
  });
  list.addEventListener("pointerleave", () => current && describe(current));
  list.addEventListener("click", (event) => {
    if (event.target.matches(".t")) choose(event.target, false);
  });
  document.getElementById("search").addEventListener("input", whenPaused(filter));
  document.getElementById("order").addEventListener("change", filter);
  document.getElementById("previous").addEventListener("click", () => show(page - 1));
  document.getElementById("next").addEventListener("click", () => show(page + 1));
  addEventListener("beforeprint", () => list.replaceChildren(...found.map(card)));
  addEventListener("afterprint", () => show(page));
  onKeys({
    ArrowRight: () => move(1), ArrowLeft: () => move(-1),
    s: () => move(1, ".shifted"), S: () => move(-1, ".shifted"),
    j: () => moveAnswer(1), k: () => moveAnswer(-1),
    n: () => show(page + 1), p: () => show(page - 1),
    "/": () => document.getElementById("search").focus(),
  });
  filter();
}
for (const span of document.querySelectorAll("[data-token]")) span.textContent = visible(span.textContent);
