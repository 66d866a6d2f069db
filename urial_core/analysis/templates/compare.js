const data = readData();
const at = (id) => document.getElementById(id);
const places = Object.fromEntries(data.measures.map((measure, place) => [measure.name, place]));
const shown = data.methods.map(() => true);
let term = "";
let matching = data.questions;
let current = null;

const searchable = new Map(data.questions.map((question) => [question, [
  question.id,
  ...question.turns.flatMap((turn) => [turn.query, ...turn.answers.map((answer) => answer.text)]),
].join("\n").toLowerCase()]));

/** Return an answer's value of a measure, or null. */
function valueOf(answer, measure) {
  return answer.values[places[measure]] ?? null;
}

function hasMatch(question) {
  if (term && !searchable.get(question).includes(term)) return false;
  const filter = data.filters[at("filter").value];
  if (!filter) return true;
  const method = at("filter-method").value;
  return question.turns.some((turn) => turn.answers.some((answer, number) => {
    if (method !== "" && Number(method) !== number) return false;
    const value = valueOf(answer, filter.measure);
    return value !== null && value >= filter.low && value <= filter.high;
  }));
}

/** Write a value for readers, as the summary does. */
function written(value, measure) {
  if (measure.unit === "share") return `${(100 * value).toFixed(1)} %`;
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

function badges(answer) {
  const found = [];
  const badge = (text, kind = "") => found.push(element("span", { class: `badge ${kind}` }, text));
  if (answer.verdict) badge({ win: "win", loss: "loss", tie: "tie", failed: "judge failed" }[answer.verdict], { win: "good", loss: "bad" }[answer.verdict]);
  if (valueOf(answer, "ended") === 0) badge("cut at the limit", "bad");
  if (valueOf(answer, "forged_turns") === 1) badge("forged turn", "bad");
  if (valueOf(answer, "repetition") >= 0.2) badge("repetitive", "bad");
  if (valueOf(answer, "copied_from_prompt") > 0) badge("copies the prompt", "bad");
  if (valueOf(answer, "copied_from_replies") > 0) badge("copies a reply", "bad");
  if (valueOf(answer, "language_kept") === 0) badge("other language", "bad");
  if (valueOf(answer, "code_intact") === 0) badge("open code block", "bad");
  if (!answer.error) badge(`${valueOf(answer, "words")} words`);
  return found;
}

function reasons(answer) {
  const lines = [];
  const judge = answer.judge;
  if (judge?.error) lines.push(`Judge failed: ${judge.error}`);
  for (const [aspect, reason] of Object.entries(judge?.reasons ?? {})) {
    lines.push(`${aspect} ${valueOf(answer, aspect)}: ${reason}`);
  }
  (answer.verdict_reasons ?? []).forEach((reason, order) => lines.push(`Against the reference, order ${order + 1}: ${reason}`));
  if (!lines.length) return null;
  return element("div", { class: "reasons" }, ...lines.map((line) => element("p", {}, line)));
}

function answerCard(answer, number) {
  const values = element("dl");
  data.measures.forEach((measure, place) => {
    const value = answer.values[place];
    if (value === null) return;
    values.append(
      element("dt", { title: measure.explanation }, measure.title),
      element("dd", { "data-measure": measure.name }, written(value, measure)),
    );
  });
  const text = answer.error
    ? element("div", { class: "text bad" }, `Failed: ${answer.error}`)
    : element("div", { class: "text" }, ...markedText(answer.text || "(empty)", term));
  return element(
    "article", { class: "answer card", "data-method": data.methods[number] },
    element("h3", {}, data.methods[number], ...badges(answer)), text, reasons(answer), values,
  );
}

function questionView(question) {
  return element("section", { "data-question": question.id }, ...question.turns.map((turn, number) => element(
    "div", { class: "turn" },
    element("div", { class: "soft small" }, question.turns.length > 1 ? `${question.id}, turn ${number + 1}` : question.id),
    element("div", { class: "query-text" }, ...markedText(turn.query, term)),
    element("div", { class: "columns" }, ...turn.answers.map((answer, place) => shown[place] ? answerCard(answer, place) : null)),
  )));
}

/** Scroll the list, and nothing else, so that a button in it can be seen. */
function showInList(button) {
  const box = at("list");
  const top = button.offsetTop;
  if (top < box.scrollTop) box.scrollTop = top;
  const bottom = top + button.offsetHeight - box.clientHeight;
  if (bottom > box.scrollTop) box.scrollTop = bottom;
}

function select(question) {
  current = question;
  at("detail").replaceChildren(...(question ? [questionView(question)] : [element("p", { class: "soft" }, "No question matches.")]));
  for (const button of at("list").children) {
    const isCurrent = button.question === question;
    button.setAttribute("aria-current", String(isCurrent));
    if (isCurrent) showInList(button);
  }
  if (question) history.replaceState(null, "", `#q=${encodeURIComponent(question.id)}`);
}

function list() {
  term = at("search").value.trim().toLowerCase();
  matching = data.questions.filter(hasMatch);
  at("count").textContent = `${matching.length} of ${data.questions.length} questions`;
  at("list").replaceChildren(...matching.map((question) => {
    const button = element(
      "button", { type: "button", onclick: () => select(question) },
      element("span", { class: "query" }, element("span", { class: "id" }, question.id), question.turns[0].query.slice(0, 200)),
    );
    button.question = question;
    return button;
  }));
  select(matching.includes(current) ? current : matching[0] ?? null);
}

function step(by) {
  const place = matching.indexOf(current) + by;
  if (place < 0 || place >= matching.length) return;
  select(matching[place]);
  if (at("detail").getBoundingClientRect().top < 0) at("detail").scrollIntoView();
}

function toggle(number) {
  if (number >= shown.length) return;
  shown[number] = !shown[number];
  chips();
  select(current);
}

function chips() {
  at("methods").replaceChildren(...data.methods.map((method, number) => element(
    "button", { type: "button", "aria-pressed": String(shown[number]), onclick: () => toggle(number) },
    `${number + 1} ${method}`,
  )));
}

function start() {
  data.filters.forEach((filter, number) => at("filter").append(element("option", { value: number }, filter.title)));
  data.methods.forEach((method, number) => at("filter-method").append(element("option", { value: number }, `of ${method}`)));
  at("search").addEventListener("input", whenPaused(list));
  at("filter").addEventListener("change", list);
  at("filter-method").addEventListener("change", list);
  onKeys({
    j: () => step(1), k: () => step(-1),
    "/": () => at("search").focus(),
    m: () => at("answers").classList.toggle("with-measures"),
    ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map((digit) => [digit, () => toggle(digit - 1)])),
  });
  addEventListener("beforeprint", () => at("printed").replaceChildren(...matching.map(questionView)));
  addEventListener("afterprint", () => at("printed").replaceChildren());
  const wanted = () => {
    if (!location.hash.startsWith("#q=")) return null;
    const id = decodeURIComponent(location.hash.slice(3));
    return data.questions.find((question) => question.id === id) ?? null;
  };
  addEventListener("hashchange", () => wanted() && wanted() !== current && select(wanted()));
  const linked = wanted();
  current = linked;
  chips();
  list();
  if (linked) at("answers").scrollIntoView();
}

start();
