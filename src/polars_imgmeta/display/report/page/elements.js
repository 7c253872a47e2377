"use strict";

// The data are untrusted. They become text nodes and values of attributes that are not
// executed, never markup.
const data = JSON.parse(document.getElementById("data").textContent);
const { summary, fields, locators, names } = data;
const total = locators.length;
const FAILURES_PAGE = 25;
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);

/** Complete an element. Strings among the children become text. */
function build(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const element = (name, attributes = {}, ...children) => build(document.createElement(name), attributes, children);
const drawing = (name, attributes = {}, ...children) => build(document.createElementNS(SVG, name), attributes, children);

/** Text that does not change the direction of its surroundings. */
const isolated = (text) => element("bdi", {}, text);

const whole = (number) => number.toLocaleString("en");
const counted = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;
