import { expect, test } from '@jest/globals';

import { DEFAULTS, LONGEST_INTERVAL_S, ORDERS, readSettings, SECTIONS, SHORTEST_INTERVAL_S } from '../../src/settings/settings';
import schema from '../../schema/plugin.json';

test('the schema names every setting, with the same default, and takes no other', () => {
  const defaults = Object.fromEntries(Object.entries(schema.properties).map(([name, property]) => [name, property.default]));
  expect(defaults).toEqual({ ...DEFAULTS });
  expect(schema.additionalProperties).toBe(false);
  expect(Object.values(schema.properties).every(({ title, description }) => title && description.endsWith('.'))).toBe(true);
});

test('the schema bounds what is read by the same numbers', () => {
  const { minimum, maximum } = schema.properties.refreshInterval;
  expect([minimum, maximum]).toEqual([SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S]);
});

test('what is wrong or missing is the default, and the rest stays', () => {
  const wrong = { statusBar: 'no', autoAttach: false, refreshInterval: 0, defaultModel: 'x\nimport os', confirmDestructive: null, more: 1 };
  expect(readSettings(wrong)).toEqual({ ...DEFAULTS, autoAttach: false });
  expect(readSettings({})).toEqual(DEFAULTS);
});

test('a model is one word as Ollama writes it', () => {
  const read = (model: unknown): string => readSettings({ defaultModel: model }).defaultModel;
  expect(['llama3.2:70b', 'hf.co/org/Model-GGUF:Q4_K_M'].map(read)).toEqual(['llama3.2:70b', 'hf.co/org/Model-GGUF:Q4_K_M']);
  expect(['--run', 'a b', '$x', 3].map(read)).toEqual(['', '', '', '']);
});

test('sections and orders that are not meant are left out', () => {
  expect(readSettings({ closedSections: ['running', 'x', 3, null, 'instances'] }).closedSections).toEqual(['running', 'instances']);
  for (const closedSections of [undefined, null, {}, 7, { length: 1 }]) {
    expect(readSettings({ closedSections }).closedSections).toEqual([]);
  }
  expect(readSettings({ instanceOrder: 'load' }).instanceOrder).toBe('load');
  for (const instanceOrder of ['x', 4, [], null]) {
    expect(readSettings({ instanceOrder }).instanceOrder).toBe('configured');
  }
});

test('the schema names every section and every order', () => {
  expect(schema.properties.closedSections.items.enum).toEqual([...SECTIONS]);
  expect(schema.properties.instanceOrder.enum).toEqual([...ORDERS]);
});
