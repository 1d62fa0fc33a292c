"use strict";

// Numbers, as they are computed and as they are written.

const MARGIN = 2 ** -24; // float32 tells a probability from 1 down to here

const logit = (probability, rest) => Math.log(Math.max(probability, MARGIN)) - Math.log(Math.max(rest, MARGIN));

function logOdds(prediction, label) {
  const all = Object.entries(prediction.probabilities);
  const rest = all.filter(([name]) => name !== label).reduce((sum, [, value]) => sum + value, 0);
  return logit(prediction.probabilities[label], rest);
}

const isCertain = (prediction, label) => {
  const probability = prediction.probabilities[label];
  return probability < MARGIN || 1 - probability < MARGIN;
};

// As many decimals as it takes to tell the probability from 0 and 1.
function percent(probability) {
  const away = 100 * Math.min(probability, 1 - probability);
  if (away <= 0) return `${Math.round(100 * probability)}%`;
  const decimals = Math.min(6, Math.max(1, -Math.floor(Math.log10(away))));
  return `${(100 * probability).toFixed(decimals)}%`;
}

function signed(value) {
  const size = Math.abs(value);
  if (size < 0.0005) return "0";
  return (value < 0 ? "\u2212" : "+") + size.toFixed(size < 0.005 ? 3 : 2);
}

// Seven digits are what float32 keeps, and what a person can read.
const rounded = (value) => Number(value.toPrecision(7));

// About a hundred steps or more from one end to the other.
const stepOf = ({ low, high }) => (high > low ? 10 ** Math.floor(Math.log10((high - low) / 90)) : 1);

const decimalsOf = (feature) => Math.max(0, -Math.round(Math.log10(stepOf(feature))));

// The least round number that holds all values.
function reach(values) {
  const most = Math.max(...values.map(Math.abs), 0.5);
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 5, 10].map((factor) => factor * power).find((end) => end >= most);
}

// A value from the spread of a feature in training.
function drawn(feature) {
  const { edges, counts, low, high } = feature;
  let place = Math.random() * counts.reduce((sum, count) => sum + count, 0);
  const bin = counts.findIndex((count) => (place -= count) < 0);
  const [from, to] = bin < 0 ? [low, high] : [edges[bin], edges[bin + 1]];
  const value = from + Math.random() * (to - from);
  return Number(Math.min(high, Math.max(low, value)).toFixed(decimalsOf(feature)));
}

// The outline of a histogram in a box of 100 by 20, with equal areas for equal counts.
function outline({ edges, counts }) {
  const heights = counts.map((count, bin) => count / Math.max(edges[bin + 1] - edges[bin], 1e-12));
  const most = Math.max(...heights);
  const [low, high] = [edges[0], edges[edges.length - 1]];
  if (!(high > low) || !(most > 0)) return "";
  const x = (edge) => (100 * (edge - low)) / (high - low);
  const tops = heights.map((height, bin) => `V${20 - (19 * height) / most}H${x(edges[bin + 1])}`);
  return `M0 20${tops.join("")}V20Z`;
}
