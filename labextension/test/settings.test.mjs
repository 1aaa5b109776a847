import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { DEFAULTS, LONGEST_INTERVAL_S, ORDERS, readSettings, SECTIONS, SHORTEST_INTERVAL_S } from '../lib/settings/settings.js';

const schema = JSON.parse(readFileSync(new URL('../schema/plugin.json', import.meta.url)));

test('the schema names every setting, with the same default, and takes no other', () => {
  const defaults = Object.fromEntries(Object.entries(schema.properties).map(([name, property]) => [name, property.default]));
  assert.deepEqual(defaults, { ...DEFAULTS });
  assert.equal(schema.additionalProperties, false);
  assert.ok(Object.values(schema.properties).every(({ title, description }) => title && description.endsWith('.')));
});

test('the schema bounds what is read by the same numbers', () => {
  const { minimum, maximum } = schema.properties.refreshInterval;
  assert.deepEqual([minimum, maximum], [SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S]);
});

test('what is wrong or missing is the default, and the rest stays', () => {
  const wrong = { statusBar: 'no', autoAttach: false, refreshInterval: 0, defaultModel: 'x\nimport os', confirmDestructive: null, more: 1 };
  assert.deepEqual(readSettings(wrong), { ...DEFAULTS, autoAttach: false });
  assert.deepEqual(readSettings({}), DEFAULTS);
});

test('a model is one word as Ollama writes it', () => {
  const read = model => readSettings({ defaultModel: model }).defaultModel;
  assert.deepEqual(['llama3.2:70b', 'hf.co/org/Model-GGUF:Q4_K_M'].map(read), ['llama3.2:70b', 'hf.co/org/Model-GGUF:Q4_K_M']);
  assert.deepEqual(['--run', 'a b', '$x', 3].map(read), ['', '', '', '']);
});

test('sections and orders that are not meant are left out', () => {
  const read = values => readSettings(values);
  assert.deepEqual(read({ closedSections: ['running', 'x', 3, null, 'instances'] }).closedSections, ['running', 'instances']);
  assert.deepEqual([undefined, null, {}, 7, { length: 1 }].map(closedSections => read({ closedSections }).closedSections), [[], [], [], [], []]);
  assert.deepEqual(['load', 'x', 4, [], null].map(instanceOrder => read({ instanceOrder }).instanceOrder), [
    'load',
    'configured',
    'configured',
    'configured',
    'configured'
  ]);
  assert.deepEqual(schema.properties.closedSections.items.enum, [...SECTIONS]);
  assert.deepEqual(schema.properties.instanceOrder.enum, [...ORDERS]);
});
