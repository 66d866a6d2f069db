"use strict";
// Shared by all reports. Texts of models and users only ever become text nodes, never HTML.

/** Return the data that the page holds. */
function readData() {
  return JSON.parse(document.getElementById("data").textContent);
}

/** Make an element: its attributes ("class", "title", "onclick"...), then its children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made[name] = value;
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Return nodes for a text in which the places that hold a search term are marked. */
function markedText(text, term) {
  if (!term) return [text];
  const nodes = [];
  const lower = text.toLowerCase();
  if (lower.length !== text.length) return [text]; // places would be off
  let from = 0;
  for (let at = lower.indexOf(term); at !== -1; at = lower.indexOf(term, from)) {
    nodes.push(text.slice(from, at), element("mark", {}, text.slice(at, at + term.length)));
    from = at + term.length;
  }
  nodes.push(text.slice(from));
  return nodes;
}

/** Call a function for a key, unless the key is typed into a field or has a modifier. */
function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape" && typing) event.target.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = actions[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });
}

/** Call a function once input has paused. */
function whenPaused(action, milliseconds = 120) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
}
